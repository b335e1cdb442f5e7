//! An operator makes an API key for a user. Owns: that only keys of super admins may be used for the routes of operators.

use serde_json::json;

use crate::app::error::RequestError;
use crate::db;
use crate::db::Database;
use crate::db::identity::api_keys::{NewApiKey, api_key_insert, key_text};
use crate::db::requests::audit_log::AuditEntry;
use crate::domain::access::{Permission, Permissions};
use crate::domain::ids::{ApiKeyId, OrganizationId, UserId};
use crate::domain::redacted::debug_without_secrets;

#[derive(Clone)]
pub struct KeyRequest {
    pub admin_id: UserId,
    pub organization_id: OrganizationId,
    /// Whose key it becomes.
    pub user_id: UserId,
    pub name: String,
    pub permissions: Permissions,
    /// 32 random bytes.
    pub secret: [u8; 32],
}

debug_without_secrets!(KeyRequest: admin_id, organization_id, user_id, permissions);

#[derive(Clone)]
pub struct CreatedKey {
    pub id: ApiKeyId,
    /// Shown only once: the database holds its digest.
    pub api_key: String,
}

debug_without_secrets!(CreatedKey: id);

/// Without an idempotency key: its outcome would hold the API key. A repeated request makes another key.
///
/// # Errors
/// [`RequestError::NotFound`] if there is no such organization, or if it has no such user; [`RequestError::Conflict`] if
/// the key of a user who is no super admin is to permit `admin`.
pub async fn key_create(pool: &Database, request: &KeyRequest) -> Result<CreatedKey, RequestError> {
    let (organization_id, user_id) = (request.organization_id, request.user_id);
    let mut tx = pool.begin().await?;
    let organizations =
        db::identity::organizations::organizations_lock(&mut tx, &[organization_id]).await?;
    if organizations.is_empty() {
        return Err(RequestError::ORGANIZATION_NOT_FOUND);
    }
    let is_super_admin =
        db::identity::users::is_super_admin(&mut tx, organization_id, user_id).await?;
    let is_super_admin = is_super_admin.ok_or(RequestError::NotFound("User not found"))?;
    if request.permissions.contains(Permission::Admin) && !is_super_admin {
        let text = "Only the key of a super admin can permit admin";
        return Err(RequestError::Conflict(text.to_owned()));
    }
    let api_key = key_text(request.secret);
    let key = NewApiKey {
        organization_id,
        user_id,
        name: &request.name,
        text: &api_key,
        permissions: &request.permissions,
    };
    let id = api_key_insert(&mut tx, &key).await?;
    let action = AuditEntry {
        user_id: request.admin_id,
        action: "api_key.create",
        subject: &organization_id.to_string(),
        details: json!({
            "apiKeyId": id, "userId": user_id, "permissions": request.permissions.to_column(),
        }),
        result: "created",
    };
    let now = db::clock::billing_clock(&mut tx).await?;
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    tx.commit().await?;
    Ok(CreatedKey { id, api_key })
}
