//! Why a request of an owner or operator is not carried out. Owns: the reasons. Does not own: status
//! codes (`api::problem`).

use crate::domain::agent::NotNow;
use crate::domain::credit_gate::Refusal;

/// Why nothing was done. The texts are for whoever asked.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is not there, or not the caller's.
    #[error("{0}")]
    NotFound(&'static str),
    /// The state does not allow it.
    #[error(transparent)]
    NotNow(#[from] NotNow),
    /// Not enough credit.
    #[error(transparent)]
    Credit(#[from] Refusal),
    /// The idempotency key belongs to another request.
    #[error("This Idempotency-Key was used for another request")]
    KeyReused,
    /// The first call with this idempotency key still runs.
    #[error("The first request with this Idempotency-Key is still running")]
    KeyBusy,
    /// The database failed.
    #[error("the database did not answer")]
    Database(#[from] sqlx::Error),
}

impl RequestError {
    /// The caller's organization has no such agent.
    pub(crate) const NO_AGENT: Self = Self::NotFound("Agent not found");
}
