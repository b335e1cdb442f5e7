//! Why a request of an owner or operator fails. Owns: the reasons, and that their texts can be shown to the
//! caller. Does not own: status codes (`api::problem`).

use chrono::TimeDelta;

use crate::domain::agent::StatusConflict;
use crate::domain::credit_gate::Refusal;
use crate::domain::fleet::HostReadError;
use crate::domain::limits::LimitReached;
use crate::encryption::EncryptionError;
use crate::failure::Failure;
use crate::hosts::{EngineError, EngineErrorReason, HostError};

use super::agent_state::{StateError, StateErrorReason};
use super::host_access::{AccountsUnreadable, FindAgentError, OpenError};
use super::state_store::StoreError;

/// The texts are shown to the caller. Unless a variant says otherwise, nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It does not exist, or it belongs to another organization.
    #[error("{0}")]
    NotFound(&'static str),
    /// The status of the agent, or of what else the request names, does not allow the request.
    #[error(transparent)]
    StatusConflict(#[from] StatusConflict),
    /// Other rows do not allow the request.
    #[error("{0}")]
    Conflict(String),
    /// A field was well-formed, but its value turned out to be wrong.
    #[error("{field} {message}")]
    Invalid {
        /// The field's name on the wire.
        field: &'static str,
        message: &'static str,
    },
    #[error(transparent)]
    Credit(#[from] Refusal),
    #[error(transparent)]
    LimitReached(#[from] LimitReached),
    /// The same was requested a moment ago.
    #[error("The limit {limit} of 1 is reached; please try again later")]
    TooSoon {
        /// The limit's name.
        limit: &'static str,
        /// After this the request is allowed.
        retry_after: TimeDelta,
    },
    #[error("This Idempotency-Key was used for another request")]
    IdempotencyKeyReused,
    #[error("The first request with this Idempotency-Key is still running")]
    IdempotencyKeyInUse,
    /// The agent's host or its Docker Engine cannot be used now.
    #[error(transparent)]
    HostUnavailable(EngineError),
    /// The host could be used, but the work on it failed. What was done before the failure stays.
    #[error(transparent)]
    AgentFault(#[from] AgentFault),
    /// A secret cannot be stored, or a stored one cannot be read.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    /// A commit may have succeeded all the same.
    #[error("the database request failed")]
    Database(#[from] sqlx::Error),
}

/// What failed on a host that could be used.
#[derive(Debug, thiserror::Error)]
pub enum AgentFault {
    #[error(transparent)]
    State(StateError),
    /// Operators alone work with the engine itself.
    #[error("{}", .0.reason().operator_text())]
    Engine(EngineError),
    #[error(transparent)]
    Registry(#[from] Failure<AccountsUnreadable>),
    /// Docker keeps the layers that it has pulled.
    #[error(
        "The image could not be pulled within 25 seconds; repeat the request to continue the pull"
    )]
    PullTimedOut,
    #[error("The container could not be removed")]
    NotRemoved,
}

impl RequestError {
    pub(crate) const AGENT_NOT_FOUND: Self = Self::NotFound("Agent not found");
    pub(crate) const ORGANIZATION_NOT_FOUND: Self = Self::NotFound("Organization not found");
    /// The organization was deactivated after its caller was authenticated, or before a worker began its job.
    pub(crate) const ORGANIZATION_INACTIVE: Self =
        Self::StatusConflict(StatusConflict("The organization is not active"));
    pub(crate) const NODE_NOT_FOUND: Self = Self::NotFound("Node not found");
    pub(crate) const CONTAINER_NOT_FOUND: Self = Self::NotFound("Container not found");

    /// What kind of error lies beneath, for logs. `None` if there is no other error.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        match self {
            Self::HostUnavailable(error) | Self::AgentFault(AgentFault::Engine(error)) => {
                error.cause()
            }
            Self::AgentFault(AgentFault::State(error)) => error.cause(),
            Self::AgentFault(AgentFault::Registry(error)) => error.cause(),
            _ => None,
        }
    }
}

impl From<OpenError> for RequestError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Database(error) => error.into(),
            OpenError::Engine(error) => Self::HostUnavailable(error),
        }
    }
}

impl From<FindAgentError> for RequestError {
    fn from(error: FindAgentError) -> Self {
        match error {
            FindAgentError::NoAgent => Self::AGENT_NOT_FOUND,
            FindAgentError::Database(error) => error.into(),
        }
    }
}

impl From<HostError> for RequestError {
    fn from(error: HostError) -> Self {
        Self::HostUnavailable(error.into())
    }
}

impl From<HostReadError> for RequestError {
    fn from(reason: HostReadError) -> Self {
        Self::HostUnavailable(reason.into())
    }
}

impl From<StoreError> for RequestError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::State(error) => error.into(),
            StoreError::Database(error) => error.into(),
        }
    }
}

impl From<StateError> for RequestError {
    fn from(error: StateError) -> Self {
        match error.reason() {
            StateErrorReason::Host(reason) => {
                Self::HostUnavailable(error.map_reason(|_| EngineErrorReason::Host(reason)))
            }
            _ => AgentFault::State(error).into(),
        }
    }
}
