//! One effect per idempotency key. Owns: when a key is claimed, completed and given back. A key is
//! claimed in a transaction of its own, completed in the transaction of the effect, and given back
//! when there was none; one whose call died is free after that invocation's deadline.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{PgConnection, PgPool};
use tracing::warn;
use uuid::Uuid;

use super::error::RequestError;
use crate::db;
use crate::db::requests::idempotency::{Claim, Scope};

/// A request that may carry a key.
#[derive(Clone, Debug, Default)]
pub struct Repeatable {
    /// What the key belongs to; none without a key.
    pub scope: Option<Scope>,
    /// How long this call can take at most: until then nobody else may run it.
    pub within: Duration,
}

/// How a call goes on.
#[derive(Debug)]
pub enum Begun<T> {
    /// It is the first one.
    First(Once),
    /// It was made before and ended like this.
    Again(T),
}

/// The right to carry a call out once.
#[derive(Debug)]
pub struct Once {
    claim: Option<(Scope, Uuid)>,
    completed: bool,
}

/// Claims the key, if there is one.
///
/// # Errors
/// The key belongs to another request or to a call that still runs; or the database failed.
pub async fn begin<T: DeserializeOwned>(
    pool: &PgPool,
    request: Repeatable,
) -> Result<Begun<T>, RequestError> {
    let first = |claim| {
        Begun::First(Once {
            claim,
            completed: false,
        })
    };
    let Some(scope) = request.scope else {
        return Ok(first(None));
    };
    let within = i32::try_from(request.within.as_millis()).unwrap_or(i32::MAX);
    let mut conn = pool.acquire().await?;
    match db::requests::idempotency::key_claim(&mut conn, &scope, within).await? {
        Claim::Ours(claim) => Ok(first(Some((scope, claim)))),
        Claim::Taken(digest, _) if digest != scope.digest => Err(RequestError::KeyReused),
        Claim::Taken(_, None) => Err(RequestError::KeyBusy),
        Claim::Taken(_, Some(outcome)) => serde_json::from_value(outcome)
            .map(Begun::Again)
            // Written by a version that answered in another form.
            .map_err(|_| RequestError::KeyReused),
    }
}

impl Once {
    /// Records the outcome in the transaction of the effect.
    ///
    /// # Errors
    /// The key was lost to another call, or the database failed: the transaction must not commit.
    pub async fn complete(
        &mut self,
        conn: &mut PgConnection,
        outcome: &impl Serialize,
    ) -> Result<(), RequestError> {
        let Some((scope, claim)) = &self.claim else {
            return Ok(());
        };
        let outcome = serde_json::to_value(outcome)
            .map_err(|error| RequestError::Database(sqlx::Error::Encode(Box::new(error))))?;
        if !db::requests::idempotency::key_complete(conn, scope, *claim, &outcome).await? {
            return Err(RequestError::KeyBusy);
        }
        self.completed = true;
        Ok(())
    }

    /// Records that more came of the call than was known when its effect was committed. Should this be
    /// lost, a repetition is told what was known then.
    pub async fn amend(&self, pool: &PgPool, outcome: &impl Serialize) {
        let Some((scope, claim)) = &self.claim else {
            return;
        };
        let amended = async {
            let outcome = serde_json::to_value(outcome)
                .map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
            let mut conn = pool.acquire().await?;
            db::requests::idempotency::key_complete(&mut conn, scope, *claim, &outcome).await
        };
        if let Err(error) = amended.await {
            warn!(
                error = db::error_class(&error),
                "the final answer of an idempotency key was not kept"
            );
        }
    }

    /// Gives the key back if the call had no effect, so that it can be made again with the same key.
    /// After a failure of the database nobody knows whether it had: then the key is left alone.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn settle<T>(
        &self,
        pool: &PgPool,
        result: Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        let unknown = matches!(result, Err(RequestError::Database(_)));
        if let (Some((scope, claim)), false) = (&self.claim, self.completed || unknown) {
            let released = async {
                let mut conn = pool.acquire().await?;
                db::requests::idempotency::key_release(&mut conn, scope, *claim).await
            };
            if let Err(error) = released.await {
                warn!(
                    error = db::error_class(&error),
                    "an idempotency key was not given back; it is free after the deadline"
                );
            }
        }
        result
    }
}
