//! `api_keys`, `users`, `organizations` and `admin_users` read as one: the user that a credential stands for. Owns:
//! the look-ups, and recording that a key was used.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::{ApiKeyId, OrganizationId, UserId};

/// The user that a credential stands for, as the database says now.
#[derive(Clone, Debug)]
pub struct Principal {
    pub user_id: UserId,
    /// `None` for a user without an organization.
    pub organization_id: Option<OrganizationId>,
    /// Whether the user and the organization are active.
    pub active: bool,
    /// The active admin role of the user's wallet.
    pub admin_role: Option<String>,
    /// The time of billing's clock, by which credentials expire.
    pub now: DateTime<Utc>,
    /// `None` for a caller without an API key.
    pub key: Option<ApiKey>,
}

#[derive(Clone, Copy, Debug)]
pub struct ApiKey {
    pub id: ApiKeyId,
    /// Whether the key is active and has not expired.
    pub valid: bool,
    /// Whether the use is to be recorded. That happens at most once a minute.
    pub touch_due: bool,
}

/// Finds the user of a key by the SHA-256 of the key, in hex.
pub async fn principal_by_key_hash(
    conn: &mut Connection,
    key_hash: &str,
) -> sqlx::Result<Option<Principal>> {
    principal_by_key(conn, Some(key_hash), None).await
}

/// Finds the user of a key by the key's id.
pub async fn principal_by_key_id(
    conn: &mut Connection,
    key_id: ApiKeyId,
) -> sqlx::Result<Option<Principal>> {
    principal_by_key(conn, None, Some(key_id)).await
}

/// Finds the user of the key with this hash or this id. The organization is the user's, not the key's.
async fn principal_by_key(
    conn: &mut Connection,
    key_hash: Option<&str>,
    key_id: Option<ApiKeyId>,
) -> sqlx::Result<Option<Principal>> {
    let row = sql!(query!(
        r#"SELECT k.id, k.is_active AND (k.expires_at IS NULL OR k.expires_at > clock.utc)
                AS "valid!",
            k.last_used_at IS NULL OR k.last_used_at < clock.utc - interval '1 minute'
                AS "touch_due!",
            clock.now AS "now!", "#
            + PRINCIPAL_COLUMNS
            + "
        FROM (SELECT now, now AT TIME ZONE 'UTC' AS utc FROM cloud.billing_clock() AS now) AS clock
        JOIN public.api_keys k ON k.key_hash = $1 OR k.id = $2
        JOIN public.users u ON u.id = k.user_id
        LEFT JOIN public.organizations o ON o.id = u.organization_id",
        key_hash,
        key_id.map(ApiKeyId::uuid)
    ))
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Principal {
        user_id: row.user_id,
        organization_id: row.organization_id,
        active: row.active,
        admin_role: row.admin_role,
        now: row.now,
        key: Some(ApiKey {
            id: row.id,
            valid: row.valid,
            touch_due: row.touch_due,
        }),
    }))
}

/// Finds a user by their id at Privy.
pub async fn principal_by_privy_id(
    conn: &mut Connection,
    privy_user_id: &str,
) -> sqlx::Result<Option<Principal>> {
    let row = sql!(query!(
        r#"SELECT cloud.billing_clock() AS "now!", "#
            + PRINCIPAL_COLUMNS
            + "
        FROM public.users u LEFT JOIN public.organizations o ON o.id = u.organization_id
        WHERE u.privy_user_id = $1",
        privy_user_id
    ))
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Principal {
        user_id: row.user_id,
        organization_id: row.organization_id,
        active: row.active,
        admin_role: row.admin_role,
        now: row.now,
        key: None,
    }))
}

/// Records that a key was used. Skips a locked row: the request does not wait for it.
pub async fn api_key_touch(conn: &mut Connection, key_id: ApiKeyId) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.api_keys SET last_used_at = cloud.billing_clock() AT TIME ZONE 'UTC',
            usage_count = usage_count + 1
        WHERE id = (SELECT id FROM public.api_keys WHERE id = $1 FOR UPDATE SKIP LOCKED)",
        key_id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}
