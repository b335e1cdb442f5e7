//! `idempotency_keys`. Owns: that one call at a time holds a key, and what it ended with.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// What a key belongs to.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The caller's organization.
    pub organization_id: Uuid,
    /// The caller.
    pub user_id: Uuid,
    /// The function.
    pub route: &'static str,
    /// The key, as the client chose it.
    pub key: String,
    /// SHA-256 of the request.
    pub digest: Vec<u8>,
}

/// What became of a claim.
#[derive(Clone, Debug)]
pub enum Claim {
    /// The key is ours until the deadline, under this id.
    Ours(Uuid),
    /// It was used: for this request digest, with this outcome (none: still running).
    Taken(Vec<u8>, Option<Value>),
}

/// Claims a key. One whose call died (no outcome, deadline past) or that is older than a day is free.
///
/// # Errors
/// Database errors.
pub async fn key_claim(
    conn: &mut PgConnection,
    scope: &Scope,
    running_ms: i32,
) -> sqlx::Result<Claim> {
    let claimed = sqlx::query_scalar!(
        "INSERT INTO idempotency_keys AS k (organization_id, user_id, route, key, request_digest,
            created_at, running_until)
        SELECT $1, $2, $3, $4, $5, now, now + $6::int * interval '1 millisecond' FROM billing_clock() AS now
        ON CONFLICT (organization_id, user_id, route, key) DO UPDATE
        SET claim = gen_random_uuid(), request_digest = excluded.request_digest, outcome = NULL,
            created_at = excluded.created_at, running_until = excluded.running_until
        WHERE k.created_at < excluded.created_at - interval '24 hours'
            OR (k.outcome IS NULL AND k.running_until < excluded.created_at)
        RETURNING claim",
        scope.organization_id,
        scope.user_id,
        scope.route,
        scope.key,
        scope.digest,
        running_ms
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(claim) = claimed {
        return Ok(Claim::Ours(claim));
    }
    let taken = sqlx::query!(
        "SELECT request_digest, outcome FROM idempotency_keys
        WHERE organization_id = $1 AND user_id = $2 AND route = $3 AND key = $4",
        scope.organization_id,
        scope.user_id,
        scope.route,
        scope.key
    )
    .fetch_optional(conn)
    .await?;
    // Given back at this very moment: for the client the same as one that still runs.
    Ok(taken.map_or_else(
        || Claim::Taken(scope.digest.clone(), None),
        |taken| Claim::Taken(taken.request_digest, taken.outcome),
    ))
}

/// Records the outcome, in the transaction of the effect. False if the claim was lost: then the
/// transaction must not commit.
///
/// # Errors
/// Database errors.
pub async fn key_complete(
    conn: &mut PgConnection,
    scope: &Scope,
    claim: Uuid,
    outcome: &Value,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE idempotency_keys SET outcome = $6
        WHERE organization_id = $1 AND user_id = $2 AND route = $3 AND key = $4 AND claim = $5",
        scope.organization_id,
        scope.user_id,
        scope.route,
        scope.key,
        claim,
        outcome
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives a key back whose call had no effect.
///
/// # Errors
/// Database errors.
pub async fn key_release(conn: &mut PgConnection, scope: &Scope, claim: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM idempotency_keys
        WHERE organization_id = $1 AND user_id = $2 AND route = $3 AND key = $4 AND claim = $5",
        scope.organization_id,
        scope.user_id,
        scope.route,
        scope.key,
        claim
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets keys older than a day, a thousand at most.
///
/// # Errors
/// Database errors.
pub async fn keys_forget(conn: &mut PgConnection) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM idempotency_keys
            WHERE created_at < billing_clock() - interval '24 hours'
            ORDER BY created_at LIMIT 1000 FOR UPDATE SKIP LOCKED))"
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
