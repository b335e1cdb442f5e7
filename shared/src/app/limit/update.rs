//! An operator changes the limits of an organization. Owns: that the audit log says what was changed, in the same
//! transaction.

use serde_json::{Map, Value, json};

use super::usage::{self, OrganizationUsage};
use crate::app::error::RequestError;
use crate::db;
use crate::db::Database;
use crate::db::identity::limits::LimitsChange;
use crate::db::requests::audit_log::AuditEntry;
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::limits::{LimitName, OrganizationLimits};

/// A new value of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewLimit {
    pub limit: LimitName,
    /// Within the limit's bounds; `None` for the default.
    pub value: Option<i32>,
}

/// Changes the limits that are named. What exceeds a lower one stays: only further requests are refused.
///
/// # Errors
/// [`RequestError::NotFound`] if there is no such organization.
pub async fn limit_update(
    pool: &Database,
    admin_id: UserId,
    organization_id: OrganizationId,
    new_limits: &[NewLimit],
) -> Result<OrganizationUsage, RequestError> {
    let mut tx = pool.begin().await?;
    let organizations =
        db::identity::organizations::organizations_lock(&mut tx, &[organization_id]).await?;
    if organizations.is_empty() {
        return Err(RequestError::ORGANIZATION_NOT_FOUND);
    }
    let before = db::identity::limits::limits_find(&mut tx, organization_id).await?;
    let mut after = before;
    for new in new_limits {
        after.set(new.limit, new.value);
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    let change = LimitsChange {
        updated_at: now,
        updated_by: admin_id,
    };
    db::identity::limits::limits_set(&mut tx, organization_id, after, change).await?;
    let action = AuditEntry {
        user_id: admin_id,
        action: "organization.limits",
        subject: &organization_id.to_string(),
        details: json!({"before": details(before), "after": details(after)}),
        result: "changed",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    let usage = usage::read(&mut tx, organization_id).await?;
    tx.commit().await?;
    Ok(usage)
}

/// What operators have set, by the names on the wire; null is the default.
fn details(limits: OrganizationLimits) -> Map<String, Value> {
    let all = LimitName::ALL.iter();
    all.map(|limit| (limit.as_str().to_owned(), json!(limits.value(*limit))))
        .collect()
}
