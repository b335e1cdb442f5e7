//! `api_keys` as operators manage them. Owns: the form of a key, and what is stored of it: its digest and its beginning.
//! Does not own: looking up whom a key stands for (`principals`).

use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::db::session::Connection;
use crate::domain::access::Permissions;
use crate::domain::ids::{ApiKeyId, OrganizationId, UserId};
use crate::domain::redacted::debug_without_secrets;

/// How many keys of a user are listed.
pub const MAX_LISTED_KEYS: i64 = 100;
/// So much of a key is stored, so that its holder recognizes it.
const PREFIX_CHARS: usize = 12;

/// The key that these random bytes make.
#[must_use]
pub fn key_text(secret: [u8; 32]) -> String {
    format!("eliza_{}", hex::encode(secret))
}

pub struct NewApiKey<'a> {
    pub organization_id: OrganizationId,
    /// A user of the organization.
    pub user_id: UserId,
    pub name: &'a str,
    /// [`key_text`].
    pub text: &'a str,
    pub permissions: &'a Permissions,
}

debug_without_secrets!(NewApiKey<'_>: organization_id, user_id, permissions);

pub async fn api_key_insert(conn: &mut Connection, key: &NewApiKey<'_>) -> sqlx::Result<ApiKeyId> {
    sqlx::query_scalar!(
        // The column `key` of an existing deployment must not be null. Nobody learns what is written here.
        "INSERT INTO public.api_keys (name, key, key_hash, key_prefix, organization_id, user_id, permissions)
        VALUES ($1, gen_random_uuid()::text, $2, $3, $4, $5, $6) RETURNING id",
        key.name,
        hex::encode(Sha256::digest(key.text)),
        &key.text[..PREFIX_CHARS],
        key.organization_id.uuid(),
        key.user_id.uuid(),
        key.permissions.to_column()
    )
    .fetch_one(conn)
    .await
}

/// Locks those of these keys that are not switched off, in the order of their ids, and returns them.
pub async fn api_keys_lock_of_any_organization(
    conn: &mut Connection,
    key_ids: &[ApiKeyId],
) -> sqlx::Result<Vec<ApiKeyId>> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id!: ApiKeyId" FROM public.api_keys WHERE id = ANY($1) AND is_active
        ORDER BY id FOR NO KEY UPDATE"#,
        key_ids as &[ApiKeyId]
    )
    .fetch_all(conn)
    .await
}

/// Switches a key off, and with it the sessions that it began. Returns its user; `None` if no user of the organization has
/// such a key, or if it is switched off already.
pub async fn api_key_revoke(
    conn: &mut Connection,
    organization_id: OrganizationId,
    key_id: ApiKeyId,
) -> sqlx::Result<Option<UserId>> {
    sqlx::query_scalar!(
        // A key opens the organization of its user, whatever its own column says.
        r#"UPDATE public.api_keys k SET is_active = false, updated_at = now() AT TIME ZONE 'UTC'
        FROM public.users u
        WHERE k.id = $1 AND k.is_active AND u.id = k.user_id AND u.organization_id = $2
        RETURNING k.user_id AS "user_id!: UserId""#,
        key_id.uuid(),
        organization_id.uuid()
    )
    .fetch_optional(conn)
    .await
}

/// A key that can be used, as operators see it.
#[derive(Clone, Debug)]
pub struct ApiKeyRecord {
    pub id: ApiKeyId,
    pub user_id: UserId,
    pub name: String,
    /// The beginning of the key.
    pub key_prefix: String,
    pub permissions: Value,
    pub expires_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

/// The keys of these users of an organization that can be used, newest first: of each user the newest
/// [`MAX_LISTED_KEYS`].
pub async fn api_keys_of_users(
    conn: &mut Connection,
    organization_id: OrganizationId,
    user_ids: &[UserId],
) -> sqlx::Result<Vec<ApiKeyRecord>> {
    sqlx::query_as!(
        ApiKeyRecord,
        r#"SELECT k.id AS "id!: ApiKeyId", k.user_id AS "user_id!: UserId", k.name AS "name!",
            k.key_prefix AS "key_prefix!", k.permissions AS "permissions!",
            k.expires_at AT TIME ZONE 'UTC' AS expires_at, k.last_used_at AT TIME ZONE 'UTC' AS last_used_at,
            k.created_at AT TIME ZONE 'UTC' AS "created_at!"
        FROM (
            SELECT a.id, a.user_id, a.name, a.key_prefix, a.permissions, a.expires_at, a.last_used_at, a.created_at,
                row_number() OVER (PARTITION BY a.user_id ORDER BY a.created_at DESC, a.id DESC) AS place
            FROM public.api_keys a JOIN public.users u ON u.id = a.user_id
            WHERE u.organization_id = $1 AND u.id = ANY($2) AND a.is_active
                AND (a.expires_at IS NULL OR a.expires_at > cloud.billing_clock() AT TIME ZONE 'UTC')
        ) AS k
        WHERE k.place <= $3 ORDER BY k.created_at DESC, k.id DESC"#,
        organization_id.uuid(),
        user_ids as &[UserId],
        MAX_LISTED_KEYS
    )
    .fetch_all(conn)
    .await
}
