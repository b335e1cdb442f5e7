//! An operator adds a user to an organization.

use serde_json::json;

use super::new_user;
use crate::app::error::RequestError;
use crate::app::idempotency::{IdempotencyGuard, IdempotencyKey, run_once};
use crate::db;
use crate::db::Database;
use crate::db::identity::users::NewUser;
use crate::db::requests::audit_log::AuditEntry;
use crate::domain::access::Role;
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::redacted::debug_without_secrets;

#[derive(Clone)]
pub struct UserRequest {
    pub admin_id: UserId,
    pub organization_id: OrganizationId,
    /// In lower case.
    pub email: String,
    pub name: Option<String>,
    pub role: Role,
}

debug_without_secrets!(UserRequest: admin_id, organization_id, role);

/// # Errors
/// [`RequestError::NotFound`] if there is no such organization, [`RequestError::Conflict`] if the mail address is taken.
pub async fn user_create(
    pool: &Database,
    request: &UserRequest,
    key: IdempotencyKey,
) -> Result<UserId, RequestError> {
    run_once(pool, key, async |guard| create(pool, request, guard).await).await
}

async fn create(
    pool: &Database,
    request: &UserRequest,
    guard: &mut IdempotencyGuard,
) -> Result<UserId, RequestError> {
    let organization_id = request.organization_id;
    let mut tx = pool.begin().await?;
    let organizations =
        db::identity::organizations::organizations_lock(&mut tx, &[organization_id]).await?;
    if organizations.is_empty() {
        return Err(RequestError::ORGANIZATION_NOT_FOUND);
    }
    let user = NewUser {
        organization_id,
        email: &request.email,
        name: request.name.as_deref(),
        role: request.role,
    };
    let user_id = new_user::insert(&mut tx, &user).await?;
    let action = AuditEntry {
        user_id: request.admin_id,
        action: "user.create",
        subject: &organization_id.to_string(),
        details: json!({"userId": user_id, "role": request.role}),
        result: "created",
    };
    let now = db::clock::billing_clock(&mut tx).await?;
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    guard.complete(&mut tx, &user_id).await?;
    tx.commit().await?;
    Ok(user_id)
}
