//! `api_keys`, `users`, `organizations` and `admin_users` read as one: whom a credential stands for.
//! Owns: the look-ups, and recording a key's use.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// Whom a credential stands for, as the database says at this moment.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The user.
    pub user_id: Uuid,
    /// The user's organization; none for a user without one.
    pub organization_id: Option<Uuid>,
    /// User and organization are active.
    pub active: bool,
    /// The user's wallet, lower case, which admin roles go by.
    pub wallet_address: Option<String>,
    /// The wallet's admin role, if it has an active one.
    pub admin_role: Option<String>,
    /// What time it is for billing, which is the time credentials expire by.
    pub now: DateTime<Utc>,
    /// The key, for callers that have one.
    pub key: Option<Key>,
}

/// An API key that exists.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Which.
    pub id: Uuid,
    /// It is active and has not expired.
    pub valid: bool,
    /// Its last use is recorded at most once a minute; it is due now.
    pub touch_due: bool,
}

/// Finds a key, by the SHA-256 of its text in hex or by its id. The organization is the user's.
///
/// # Errors
/// Database errors.
pub async fn principal_by_key(
    conn: &mut PgConnection,
    key_hash: Option<&str>,
    key_id: Option<Uuid>,
) -> sqlx::Result<Option<Principal>> {
    let row = sqlx::query!(
        r#"SELECT k.id, k.is_active AND (k.expires_at IS NULL OR k.expires_at > clock.utc)
                AS "valid!",
            k.last_used_at IS NULL OR k.last_used_at < clock.utc - interval '1 minute'
                AS "touch_due!",
            u.id AS user_id, o.id AS "organization_id?", clock.now AS "now!",
            u.is_active AND coalesce(o.is_active, true) AS "active!",
            lower(u.wallet_address) AS wallet_address,
            (SELECT a.role::text FROM admin_users a
                WHERE lower(a.wallet_address) = lower(u.wallet_address)
                    AND a.is_active AND a.revoked_at IS NULL LIMIT 1) AS admin_role
        FROM (SELECT now, now AT TIME ZONE 'UTC' AS utc FROM billing_clock() AS now) AS clock
        JOIN api_keys k ON k.key_hash = $1 OR k.id = $2
        JOIN users u ON u.id = k.user_id
        LEFT JOIN organizations o ON o.id = u.organization_id"#,
        key_hash,
        key_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Principal {
        user_id: row.user_id,
        organization_id: row.organization_id,
        active: row.active,
        wallet_address: row.wallet_address,
        admin_role: row.admin_role,
        now: row.now,
        key: Some(Key {
            id: row.id,
            valid: row.valid,
            touch_due: row.touch_due,
        }),
    }))
}

/// Finds a user by the id that Privy knows them by.
///
/// # Errors
/// Database errors.
pub async fn principal_by_privy_id(
    conn: &mut PgConnection,
    privy_user_id: &str,
) -> sqlx::Result<Option<Principal>> {
    let row = sqlx::query!(
        r#"SELECT u.id AS user_id, o.id AS "organization_id?", billing_clock() AS "now!",
            u.is_active AND coalesce(o.is_active, true) AS "active!",
            lower(u.wallet_address) AS wallet_address,
            (SELECT a.role::text FROM admin_users a
                WHERE lower(a.wallet_address) = lower(u.wallet_address)
                    AND a.is_active AND a.revoked_at IS NULL LIMIT 1) AS admin_role
        FROM users u LEFT JOIN organizations o ON o.id = u.organization_id
        WHERE u.privy_user_id = $1"#,
        privy_user_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Principal {
        user_id: row.user_id,
        organization_id: row.organization_id,
        active: row.active,
        wallet_address: row.wallet_address,
        admin_role: row.admin_role,
        now: row.now,
        key: None,
    }))
}

/// Records a key's use. A row that is locked is left alone: the request does not wait for it.
///
/// # Errors
/// Database errors.
pub async fn key_touch(conn: &mut PgConnection, key_id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE api_keys SET last_used_at = billing_clock() AT TIME ZONE 'UTC',
            usage_count = usage_count + 1
        WHERE id = (SELECT id FROM api_keys WHERE id = $1 FOR UPDATE SKIP LOCKED)",
        key_id
    )
    .execute(conn)
    .await?;
    Ok(())
}
