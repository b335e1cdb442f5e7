//! `idempotency_keys`. Owns: that one call at a time holds a key, and the outcome that is stored with it.

use serde_json::Value;

use crate::db::session::Connection;
use crate::domain::ids::{ClaimId, OrganizationId, UserId};

/// A key, and what it is valid for.
#[derive(Clone, Debug)]
pub struct KeyScope {
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    /// The function that the request calls.
    pub route: &'static str,
    /// The key as the client chose it.
    pub key: String,
    /// SHA-256 of the request.
    pub digest: Vec<u8>,
}

/// The result of an attempt to claim a key.
#[derive(Clone, Debug)]
pub enum KeyClaim {
    /// The caller holds the key until the deadline.
    Claimed(ClaimId),
    Used {
        /// The digest of the request that used the key.
        digest: Vec<u8>,
        /// `None` while that request runs.
        outcome: Option<Value>,
    },
}

/// Claims a key for `running_ms` milliseconds. A key can be claimed again when it is older than a day, or when its
/// deadline has passed without an outcome: then its call died.
pub async fn idempotency_key_claim(
    conn: &mut Connection,
    scope: &KeyScope,
    running_ms: i32,
) -> sqlx::Result<KeyClaim> {
    let claim_id = sqlx::query_scalar!(
        "INSERT INTO cloud.idempotency_keys AS k (organization_id, user_id, route, key, request_digest,
            created_at, running_until)
        SELECT $1, $2, $3, $4, $5, now, now + $6::int * interval '1 millisecond' FROM cloud.billing_clock() AS now
        ON CONFLICT (organization_id, user_id, route, key) DO UPDATE
        SET claim = gen_random_uuid(), request_digest = excluded.request_digest, outcome = NULL,
            created_at = excluded.created_at, running_until = excluded.running_until
        WHERE k.created_at < excluded.created_at - interval '24 hours'
            OR (k.outcome IS NULL AND k.running_until < excluded.created_at)
        RETURNING claim",
        scope.organization_id.uuid(),
        scope.user_id.uuid(),
        scope.route,
        scope.key,
        scope.digest,
        running_ms
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(claim_id) = claim_id {
        return Ok(KeyClaim::Claimed(claim_id));
    }
    let used = sqlx::query!(
        "SELECT request_digest, outcome FROM cloud.idempotency_keys
        WHERE organization_id = $1 AND user_id = $2 AND route = $3 AND key = $4",
        scope.organization_id.uuid(),
        scope.user_id.uuid(),
        scope.route,
        scope.key
    )
    .fetch_optional(conn)
    .await?;
    // A key that was released between the two statements: the client is told the same as while it is held.
    Ok(used.map_or_else(
        || KeyClaim::Used {
            digest: scope.digest.clone(),
            outcome: None,
        },
        |used| KeyClaim::Used {
            digest: used.request_digest,
            outcome: used.outcome,
        },
    ))
}

/// Stores the outcome, in the transaction of the effect. Returns `false` if another call has claimed the key: then
/// the transaction must not commit.
pub async fn idempotency_key_complete(
    conn: &mut Connection,
    scope: &KeyScope,
    claim_id: ClaimId,
    outcome: &Value,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE cloud.idempotency_keys SET outcome = $6
        WHERE organization_id = $1 AND user_id = $2 AND route = $3 AND key = $4 AND claim = $5",
        scope.organization_id.uuid(),
        scope.user_id.uuid(),
        scope.route,
        scope.key,
        claim_id.uuid(),
        outcome
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Releases the key of a call that had no effect.
pub async fn idempotency_key_release(
    conn: &mut Connection,
    scope: &KeyScope,
    claim_id: ClaimId,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.idempotency_keys
        WHERE organization_id = $1 AND user_id = $2 AND route = $3 AND key = $4 AND claim = $5",
        scope.organization_id.uuid(),
        scope.user_id.uuid(),
        scope.route,
        scope.key,
        claim_id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes keys older than a day, at most a thousand, so that the statement stays short. Returns how many.
pub async fn idempotency_keys_expire_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "DELETE FROM cloud.idempotency_keys WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM cloud.idempotency_keys
            WHERE created_at < cloud.billing_clock() - interval '24 hours'
            ORDER BY created_at LIMIT 1000 FOR UPDATE SKIP LOCKED))"
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}
