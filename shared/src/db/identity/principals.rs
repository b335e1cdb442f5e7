//! `api_keys`, `users`, `organizations` and `admin_users` read as one: the user that a credential stands for. Owns:
//! the look-ups, how requests are counted, sessions that were signed out, and recording that a key was used.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::db::session::Connection;
use crate::domain::access::{Permissions, Role};
use crate::domain::ids::{ApiKeyId, OrganizationId, SessionId, UserId};
use crate::domain::limits::DEFAULT_REQUESTS_PER_MINUTE;

/// The user that a credential stands for, as the database says now.
#[derive(Clone, Debug)]
pub struct Principal {
    pub user_id: UserId,
    /// `None` for a user without an organization.
    pub organization_id: Option<OrganizationId>,
    /// Whether the user and the organization are active.
    pub active: bool,
    pub role: Role,
    /// The highest active admin role of the user.
    pub admin_role: Option<String>,
    /// The time of billing's clock, by which credentials expire.
    pub now: DateTime<Utc>,
    /// Requests of the key in this minute, or of the user if there is no key; this one included.
    pub requests: i32,
    /// `None` for a caller without an API key.
    pub key: Option<ApiKey>,
}

#[derive(Clone, Debug)]
pub struct ApiKey {
    pub id: ApiKeyId,
    /// SHA-256 of the key, in hex. It changes when the key is rotated.
    pub hash: String,
    /// Whether the key is active and has not expired.
    pub valid: bool,
    pub permissions: Permissions,
    /// Requests that the key may make per minute: its own limit, or the default one if that is not positive.
    pub rate_limit: i32,
    /// Whether the use is to be recorded. That happens at most once a minute.
    pub touch_due: bool,
}

/// Finds the user of a key by the SHA-256 of the key, in hex. Counts the request.
pub async fn principal_by_key_hash(
    conn: &mut Connection,
    key_hash: &str,
) -> sqlx::Result<Option<Principal>> {
    principal_by_key(conn, Some(key_hash), None).await
}

/// A session as its cookie describes it.
#[derive(Clone, Debug)]
pub struct SessionOfKey {
    pub id: SessionId,
    pub key_id: ApiKeyId,
    /// [`key_version`] of the key that the session began with.
    pub key_version: String,
    pub expires_at: DateTime<Utc>,
}

/// Tells a key from the one that replaced it under the same id.
#[must_use]
pub fn key_version(key_hash: &str) -> String {
    let digest = Sha256::digest(key_hash);
    hex::encode(&digest[..8])
}

/// Finds the user of a session by the key that it began with. `None` if the session has expired or was signed out, or
/// if the key was rotated. Counts the request.
pub async fn principal_by_session(
    conn: &mut Connection,
    session: &SessionOfKey,
) -> sqlx::Result<Option<Principal>> {
    principal_by_key(conn, None, Some(session)).await
}

/// Finds the user of the key with this hash, or of this session. The organization is the user's, not the key's. Counts
/// the request only if the credential is valid, so that nobody uses up somebody else's limit, and only up to the limit,
/// so that those above it wait for no lock.
async fn principal_by_key(
    conn: &mut Connection,
    key_hash: Option<&str>,
    session: Option<&SessionOfKey>,
) -> sqlx::Result<Option<Principal>> {
    let row = sql!(query!(
        r#"WITH clock AS (
            SELECT now, now AT TIME ZONE 'UTC' AS utc FROM cloud.billing_clock() AS now
        ), k AS (
            SELECT a.*, a.is_active AND (a.expires_at IS NULL OR a.expires_at > clock.utc) AS valid,
                CASE WHEN a.rate_limit > 0 THEN a.rate_limit ELSE $6 END AS max
            FROM clock, public.api_keys a
            WHERE (a.key_hash = $1 OR a.id = $2)
                AND NOT EXISTS (SELECT FROM cloud.ended_sessions WHERE session_id = $3)
                AND ($4::text IS NULL OR left(encode(sha256(convert_to(a.key_hash, 'UTF8')), 'hex'), 16) = $4)
                AND ($5::timestamptz IS NULL OR $5 > clock.now)
        ), counted AS (
            INSERT INTO cloud.request_counts AS c (subject, minute, requests)
            SELECT id, date_trunc('minute', clock_timestamp()), 1 FROM k WHERE valid AND NOT EXISTS (
                SELECT FROM cloud.request_counts f WHERE f.subject = k.id AND f.requests > k.max
                    AND f.minute = date_trunc('minute', clock_timestamp()))
            "#
            + COUNT_REQUEST
            + r#"
        )
        SELECT k.id AS "key_id!: ApiKeyId", k.key_hash AS "key_hash!", k.permissions AS "permissions!",
            k.max AS "rate_limit!", k.valid AS "valid!",
            k.last_used_at IS NULL OR k.last_used_at < clock.utc - interval '1 minute'
                AS "touch_due!",
            coalesce((SELECT requests FROM counted),
                (SELECT requests FROM cloud.request_counts WHERE subject = k.id), 0) AS "requests!",
            clock.now AS "now!", "#
            + PRINCIPAL_COLUMNS
            + "
        FROM clock
        CROSS JOIN k
        JOIN public.users u ON u.id = k.user_id "
            + PRINCIPAL_JOINS,
        key_hash,
        session.map(|session| session.key_id.uuid()),
        session.map(|session| session.id.uuid()),
        session.map(|session| session.key_version.as_str()),
        session.map(|session| session.expires_at),
        DEFAULT_REQUESTS_PER_MINUTE
    ))
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Principal {
        user_id: row.user_id,
        organization_id: row.organization_id,
        active: row.active,
        role: role(&row.role),
        admin_role: row.admin_role,
        now: row.now,
        requests: row.requests,
        key: Some(ApiKey {
            id: row.key_id,
            hash: row.key_hash,
            valid: row.valid,
            permissions: Permissions::of_key(&row.permissions),
            rate_limit: row.rate_limit,
            touch_due: row.touch_due,
        }),
    }))
}

/// Finds a user by their id at Privy. Counts the request if the token is valid until then.
pub async fn principal_by_privy_id(
    conn: &mut Connection,
    privy_user_id: &str,
    valid_until: Option<DateTime<Utc>>,
) -> sqlx::Result<Option<Principal>> {
    let row = sql!(query!(
        r#"WITH counted AS (
            INSERT INTO cloud.request_counts AS c (subject, minute, requests)
            SELECT id, date_trunc('minute', clock_timestamp()), 1 FROM public.users
            WHERE privy_user_id = $1 AND $2::timestamptz > cloud.billing_clock() AND NOT EXISTS (
                SELECT FROM cloud.request_counts f WHERE f.subject = id AND f.requests > $3
                    AND f.minute = date_trunc('minute', clock_timestamp()))
            "# + COUNT_REQUEST + r#"
        )
        SELECT cloud.billing_clock() AS "now!", coalesce((SELECT requests FROM counted),
                (SELECT requests FROM cloud.request_counts WHERE subject = u.id), 0) AS "requests!", "#
            + PRINCIPAL_COLUMNS
            + " FROM public.users u "
            + PRINCIPAL_JOINS
            + " WHERE u.privy_user_id = $1",
        privy_user_id,
        valid_until,
        DEFAULT_REQUESTS_PER_MINUTE
    ))
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Principal {
        user_id: row.user_id,
        organization_id: row.organization_id,
        active: row.active,
        role: role(&row.role),
        admin_role: row.admin_role,
        now: row.now,
        requests: row.requests,
        key: None,
    }))
}

fn role(word: &str) -> Role {
    Role::parse(word).unwrap_or(Role::Viewer)
}

/// Ends a session before its cookie expires, and forgets sessions whose cookies have expired.
pub async fn session_end(
    conn: &mut Connection,
    session_id: SessionId,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH forgotten AS (
            DELETE FROM cloud.ended_sessions WHERE session_id IN (SELECT session_id FROM cloud.ended_sessions
                WHERE expires_at < cloud.billing_clock() ORDER BY expires_at LIMIT 100)
        )
        INSERT INTO cloud.ended_sessions (session_id, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        session_id.uuid(),
        expires_at
    )
    .execute(conn)
    .await?;
    Ok(())
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
