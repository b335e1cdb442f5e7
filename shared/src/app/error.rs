//! Why a request of an owner or operator is not carried out. Owns: the reasons. Does not own: status
//! codes (`api::problem`).

use crate::domain::agent::NotNow;
use crate::domain::credit_gate::Refusal;
use crate::hosts::HostError;

use super::agent::state::StateError;
use super::host_access::OpenError;

/// Why nothing was done. The texts are for whoever asked.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is not there, or not the caller's.
    #[error("{0}")]
    NotFound(&'static str),
    /// The state does not allow it.
    #[error(transparent)]
    NotNow(#[from] NotNow),
    /// The state does not allow it; the text names what is in the way.
    #[error("{0}")]
    Conflict(String),
    /// A field holds what looked right and turned out not to be.
    #[error("{field} {message}")]
    Invalid {
        /// The field, as the client named it.
        field: &'static str,
        /// What is wrong with it.
        message: &'static str,
    },
    /// Not enough credit.
    #[error(transparent)]
    Credit(#[from] Refusal),
    /// The idempotency key belongs to another request.
    #[error("This Idempotency-Key was used for another request")]
    KeyReused,
    /// The first call with this idempotency key still runs.
    #[error("The first request with this Idempotency-Key is still running")]
    KeyBusy,
    /// The agent's host cannot be worked on now.
    #[error("{0}")]
    Away(String),
    /// The agent answered badly.
    #[error("{0}")]
    BadAgent(String),
    /// The database failed.
    #[error("the database did not answer")]
    Database(#[from] sqlx::Error),
}

impl RequestError {
    /// The caller's organization has no such agent.
    pub(crate) const NO_AGENT: Self = Self::NotFound("Agent not found");
    /// No such host is registered.
    pub(crate) const NO_NODE: Self = Self::NotFound("Node not found");
}

impl From<OpenError> for RequestError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Database(error) => error.into(),
            OpenError::Engine(error) => Self::Away(error.to_string()),
        }
    }
}

impl From<HostError> for RequestError {
    fn from(error: HostError) -> Self {
        Self::Away(error.to_string())
    }
}

impl From<StateError> for RequestError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Host(error) => error.into(),
            other => Self::BadAgent(other.to_string()),
        }
    }
}
