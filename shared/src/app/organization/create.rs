//! An operator adds an organization and its first owner. Owns: that both exist, or neither.

use serde::{Deserialize, Serialize};
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
pub struct OrganizationRequest {
    pub admin_id: UserId,
    pub name: String,
    pub slug: String,
    /// In lower case.
    pub owner_email: String,
    pub owner_name: Option<String>,
}

debug_without_secrets!(OrganizationRequest: admin_id, name, slug);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreatedOrganization {
    pub organization_id: OrganizationId,
    pub owner_id: UserId,
}

/// Adds an organization without credit, and its owner.
///
/// # Errors
/// [`RequestError::Conflict`] if the slug or the mail address is taken.
pub async fn organization_create(
    pool: &Database,
    request: &OrganizationRequest,
    key: IdempotencyKey,
) -> Result<CreatedOrganization, RequestError> {
    run_once(pool, key, async |guard| create(pool, request, guard).await).await
}

async fn create(
    pool: &Database,
    request: &OrganizationRequest,
    guard: &mut IdempotencyGuard,
) -> Result<CreatedOrganization, RequestError> {
    let (name, slug) = (&request.name, &request.slug);
    let mut tx = pool.begin().await?;
    let organization_id =
        db::identity::organizations::organization_insert(&mut tx, name, slug).await?;
    let taken = || RequestError::Conflict(format!("The slug {slug} is taken; choose another one"));
    let organization_id = organization_id.ok_or_else(taken)?;
    let owner = NewUser {
        organization_id,
        email: &request.owner_email,
        name: request.owner_name.as_deref(),
        role: Role::Owner,
    };
    let owner_id = new_user::insert(&mut tx, &owner).await?;
    db::billing::accounts::account_open(&mut tx, organization_id).await?;
    let action = AuditEntry {
        user_id: request.admin_id,
        action: "organization.create",
        subject: &organization_id.to_string(),
        details: json!({"name": name, "slug": slug, "ownerId": owner_id}),
        result: "created",
    };
    let now = db::clock::billing_clock(&mut tx).await?;
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    let created = CreatedOrganization {
        organization_id,
        owner_id,
    };
    guard.complete(&mut tx, &created).await?;
    tx.commit().await?;
    Ok(created)
}
