//! One effect per idempotency key. Owns: when a key is claimed, completed and released.
//!
//! - A key is claimed in a transaction of its own, so that a second call sees the claim at once.
//! - It is completed in the transaction of the effect, so that the stored outcome and the effect exist
//!   together or not at all.
//! - It is released if the call had no effect. The key of a call that died becomes free when the time that
//!   the call could take at most is over.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use super::error::RequestError;
use crate::db;
use crate::db::requests::idempotency::{KeyClaim, KeyScope};
use crate::db::{Connection, Database};
use crate::domain::ids::ClaimId;
use crate::failure::Cause;

/// The idempotency key of a request. Without a key (`default()`) the request has its effect each time.
#[derive(Clone, Debug, Default)]
pub struct IdempotencyKey {
    /// The key and what it is valid for; `None` if the request has no key.
    pub scope: Option<KeyScope>,
    /// How long this call can take at most. No other call can claim the key before that.
    pub max_duration: Duration,
}

/// What became of an attempt to claim a key.
enum ClaimOutcome<T> {
    /// This call may have its effect.
    Claimed(IdempotencyGuard),
    /// An earlier call had its effect, with this outcome.
    Replayed(T),
}

/// The right to have the effect of a request once.
#[derive(Debug)]
pub struct IdempotencyGuard {
    /// `None` if the request has no key.
    claim: Option<(KeyScope, ClaimId)>,
    is_completed: bool,
}

/// Runs a request at most once per idempotency key. A repeated request gets the outcome of the first one.
///
/// `effect` must call [`IdempotencyGuard::complete`] in the transaction of its effect. The key is released if
/// `effect` returns without that, whether it succeeds or fails: the client may then repeat the request with
/// the same key. After a database error nobody knows whether the transaction committed, so the key stays
/// claimed until its deadline.
///
/// # Errors
/// Those of `effect`. [`RequestError::IdempotencyKeyReused`] if another request used the key, and
/// [`RequestError::IdempotencyKeyInUse`] if the first request still runs.
pub async fn run_once<T, F>(
    pool: &Database,
    key: IdempotencyKey,
    effect: F,
) -> Result<T, RequestError>
where
    T: Serialize + DeserializeOwned,
    F: AsyncFnOnce(&mut IdempotencyGuard) -> Result<T, RequestError>,
{
    let mut guard = match claim(pool, key).await? {
        ClaimOutcome::Replayed(outcome) => return Ok(outcome),
        ClaimOutcome::Claimed(guard) => guard,
    };
    let result = effect(&mut guard).await;
    let has_unknown_effect = matches!(result, Err(RequestError::Database(_)));
    if !guard.is_completed && !has_unknown_effect {
        guard.release(pool).await;
    }
    result
}

async fn claim<T: DeserializeOwned>(
    pool: &Database,
    key: IdempotencyKey,
) -> Result<ClaimOutcome<T>, RequestError> {
    let Some(scope) = key.scope else {
        return Ok(ClaimOutcome::Claimed(IdempotencyGuard::new(None)));
    };
    let max_duration_ms = i32::try_from(key.max_duration.as_millis()).unwrap_or(i32::MAX);
    let mut conn = pool.statements();
    match db::requests::idempotency::idempotency_key_claim(&mut conn, &scope, max_duration_ms)
        .await?
    {
        KeyClaim::Claimed(claim_id) => {
            let guard = IdempotencyGuard::new(Some((scope, claim_id)));
            Ok(ClaimOutcome::Claimed(guard))
        }
        KeyClaim::Used { digest, .. } if digest != scope.digest => {
            Err(RequestError::IdempotencyKeyReused)
        }
        KeyClaim::Used { outcome: None, .. } => Err(RequestError::IdempotencyKeyInUse),
        KeyClaim::Used {
            outcome: Some(outcome),
            ..
        } => match serde_json::from_value(outcome) {
            Ok(outcome) => Ok(ClaimOutcome::Replayed(outcome)),
            // Another version stored the outcome in another form.
            Err(error) => {
                let error = error.class();
                warn!(
                    error,
                    "stored outcome of an idempotency key not readable; repeated request refused"
                );
                Err(RequestError::IdempotencyKeyReused)
            }
        },
    }
}

impl IdempotencyGuard {
    fn new(claim: Option<(KeyScope, ClaimId)>) -> Self {
        Self {
            claim,
            is_completed: false,
        }
    }

    /// Stores the outcome. `conn` must be in the transaction of the effect.
    ///
    /// # Errors
    /// [`RequestError::IdempotencyKeyInUse`] if another call claimed the key meanwhile. After any error the transaction
    /// must not commit.
    pub async fn complete(
        &mut self,
        conn: &mut Connection,
        outcome: &impl Serialize,
    ) -> Result<(), RequestError> {
        let Some((scope, claim_id)) = &self.claim else {
            return Ok(());
        };
        let outcome = serde_json::to_value(outcome).map_err(encode_error)?;
        if !db::requests::idempotency::idempotency_key_complete(conn, scope, *claim_id, &outcome)
            .await?
        {
            return Err(RequestError::IdempotencyKeyInUse);
        }
        self.is_completed = true;
        Ok(())
    }

    /// Replaces the stored outcome after the effect was committed and more is known about it. If this fails,
    /// a repeated request gets the outcome that was known at the commit.
    pub async fn amend(&self, pool: &Database, outcome: &impl Serialize) {
        let Some((scope, claim_id)) = &self.claim else {
            return;
        };
        let amended = async {
            let outcome = serde_json::to_value(outcome).map_err(encode_error)?;
            let mut conn = pool.statements();
            db::requests::idempotency::idempotency_key_complete(
                &mut conn, scope, *claim_id, &outcome,
            )
            .await
        };
        if let Err(error) = amended.await {
            warn!(
                error = db::error_class(&error),
                "final outcome of an idempotency key not stored; a repeated request gets an earlier one"
            );
        }
    }

    async fn release(&self, pool: &Database) {
        let Some((scope, claim_id)) = &self.claim else {
            return;
        };
        let released = async {
            let mut conn = pool.statements();
            db::requests::idempotency::idempotency_key_release(&mut conn, scope, *claim_id).await
        };
        if let Err(error) = released.await {
            warn!(
                error = db::error_class(&error),
                "idempotency key not released; it is free after the deadline of this call"
            );
        }
    }
}

fn encode_error(error: serde_json::Error) -> sqlx::Error {
    sqlx::Error::Encode(Box::new(error))
}
