//! `api_keys`, with the user and organization each stands for. Owns: the look-up by hash.

use sqlx::PgConnection;
use uuid::Uuid;

/// A key that exists, and whom it stands for.
#[derive(Clone, Debug)]
pub struct KeyOwner {
    /// The key.
    pub key_id: Uuid,
    /// The key is active and has not expired.
    pub key_valid: bool,
    /// Who calls.
    pub user_id: Uuid,
    /// For which organization; none for a user without one.
    pub organization_id: Option<Uuid>,
    /// User and organization are active.
    pub owner_active: bool,
    /// The user's wallet, lower case, which admin roles go by.
    pub wallet_address: Option<String>,
    /// The key's last use is recorded at most once a minute; it is due now.
    pub touch_due: bool,
}

/// Finds a key by the SHA-256 of its text, in hex. The organization is the user's.
///
/// # Errors
/// Database errors.
pub async fn key_find(conn: &mut PgConnection, key_hash: &str) -> sqlx::Result<Option<KeyOwner>> {
    let row = sqlx::query!(
        r#"SELECT k.id, k.is_active AND (k.expires_at IS NULL OR k.expires_at > now.utc)
                AS "key_valid!",
            u.id AS user_id, o.id AS "organization_id?",
            u.is_active AND coalesce(o.is_active, true) AS "owner_active!",
            lower(u.wallet_address) AS wallet_address,
            k.last_used_at IS NULL OR k.last_used_at < now.utc - interval '1 minute'
                AS "touch_due!"
        FROM (SELECT billing_clock() AT TIME ZONE 'UTC' AS utc) AS now
        JOIN api_keys k ON k.key_hash = $1
        JOIN users u ON u.id = k.user_id
        LEFT JOIN organizations o ON o.id = u.organization_id"#,
        key_hash
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| KeyOwner {
        key_id: row.id,
        key_valid: row.key_valid,
        user_id: row.user_id,
        organization_id: row.organization_id,
        owner_active: row.owner_active,
        wallet_address: row.wallet_address,
        touch_due: row.touch_due,
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
