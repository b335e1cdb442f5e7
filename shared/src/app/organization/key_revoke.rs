//! An operator revokes an API key. Owns: that operators cannot lock themselves out.

use serde_json::json;

use crate::app::error::RequestError;
use crate::db;
use crate::db::Database;
use crate::db::requests::audit_log::AuditEntry;
use crate::domain::ids::{ApiKeyId, OrganizationId, UserId};

#[derive(Clone, Copy, Debug)]
pub struct Revocation {
    pub admin_id: UserId,
    /// The key with which the operator asks; `None` for one without a key.
    pub own_key_id: Option<ApiKeyId>,
    pub organization_id: OrganizationId,
    pub key_id: ApiKeyId,
}

/// Ends a key and its sessions.
///
/// # Errors
/// [`RequestError::Conflict`] for the key with which the operator asks: somebody with another key has to revoke it, so
/// one that works is always left. The same if that key is revoked by now. [`RequestError::NotFound`] if the organization
/// has no such key, or no more.
pub async fn key_revoke(pool: &Database, request: Revocation) -> Result<(), RequestError> {
    let Revocation {
        admin_id,
        own_key_id,
        organization_id,
        key_id,
    } = request;
    if own_key_id == Some(key_id) {
        let text = "You are using this API key; revoke it with another one";
        return Err(RequestError::Conflict(text.to_owned()));
    }
    let mut tx = pool.begin().await?;
    if let Some(own_key_id) = own_key_id {
        // Both keys: if two operators revoke each other's keys at the same time, the later one finds its own revoked.
        let key_ids = [own_key_id, key_id];
        let active =
            db::identity::api_keys::api_keys_lock_of_any_organization(&mut tx, &key_ids).await?;
        if !active.contains(&own_key_id) {
            let text = "The API key that you are using has been revoked";
            return Err(RequestError::Conflict(text.to_owned()));
        }
    }
    let user_id = db::identity::api_keys::api_key_revoke(&mut tx, organization_id, key_id).await?;
    let user_id = user_id.ok_or(RequestError::NotFound("API key not found"))?;
    let action = AuditEntry {
        user_id: admin_id,
        action: "api_key.revoke",
        subject: &organization_id.to_string(),
        details: json!({"apiKeyId": key_id, "userId": user_id}),
        result: "revoked",
    };
    let now = db::clock::billing_clock(&mut tx).await?;
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    tx.commit().await?;
    Ok(())
}
