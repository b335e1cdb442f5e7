//! Why a step of a job fails. Owns: turning errors of hosts and services into texts for the owner, with the cause kept
//! for the log.

use std::fmt::Display;

use crate::agent_databases::DatabaseError;
use crate::app::agent_state::StateError;
use crate::app::host_access::{AccountsUnreadable, OpenError};
use crate::app::host_image::ImageError;
use crate::app::state_store::StoreError;
use crate::db;
use crate::domain::agent::StatusConflict;
use crate::domain::fleet::HostReadError;
use crate::domain::job::JobFailure;
use crate::encryption::EncryptionError;
use crate::failure::Failure;
use crate::hosts::{EngineError, EngineErrorReason, HostError};

/// Why a step ended without success. `Display` is the error that the job's owner sees.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Failure(Failure<JobFailure>),
    /// The job's fence was raised: another worker has the job, or something else took its place.
    #[error("The worker lost the job")]
    Lost,
    #[error("The function's time is used up; the next attempt goes on")]
    OutOfTime,
    #[error("The image was not pulled in the time that was left; the next attempt pulls it again")]
    PullUnfinished,
    /// The volume of an agent that is moved cannot be copied in time. The next attempt starts the agent where the volume is.
    #[error("{0}")]
    CopyRefused(String),
    #[error("The database request failed")]
    Database(#[from] sqlx::Error),
}

impl StepError {
    /// A host or a service failed for this reason, which the owner may see.
    pub(super) fn external(text: impl Into<String>) -> Self {
        JobFailure::External(text.into()).into()
    }

    /// The same failure with another text for the owner.
    pub(super) fn external_with_cause<R>(text: &str, failure: Failure<R>) -> Self {
        Self::Failure(failure.map_reason(|_| JobFailure::External(text.to_owned())))
    }

    /// The failure of the host that the agent leaves.
    pub(super) fn former_host(error: impl Into<Self>) -> Self {
        match error.into() {
            Self::Failure(failure) => Self::Failure(failure.map_reason(|reason| match reason {
                JobFailure::Host(text) | JobFailure::External(text) => JobFailure::FormerHost(text),
                other => other,
            })),
            other => other,
        }
    }

    /// Whether the host that the agent leaves failed.
    pub(super) fn is_former_hosts_fault(&self) -> bool {
        match self {
            Self::Failure(failure) => matches!(failure.reason_ref(), JobFailure::FormerHost(_)),
            _ => false,
        }
    }

    /// Whether another attempt may succeed. A database that fails now may answer again by then.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Failure(failure) => failure.reason_ref().is_retryable(),
            Self::Lost => false,
            Self::OutOfTime | Self::PullUnfinished | Self::CopyRefused(_) | Self::Database(_) => {
                true
            }
        }
    }

    /// Whether the host failed, and not perhaps the agent or another system.
    pub(super) fn is_hosts_fault(&self) -> bool {
        match self {
            Self::Failure(failure) => matches!(failure.reason_ref(), JobFailure::Host(_)),
            Self::Lost
            | Self::OutOfTime
            | Self::PullUnfinished
            | Self::CopyRefused(_)
            | Self::Database(_) => false,
        }
    }

    /// What kind of error lies beneath, for logs. `None` if there is no other error.
    pub(super) fn cause(&self) -> Option<String> {
        match self {
            Self::Failure(failure) => failure.cause(),
            Self::Lost | Self::OutOfTime | Self::PullUnfinished | Self::CopyRefused(_) => None,
            Self::Database(error) => Some(db::error_class(error)),
        }
    }
}

impl From<JobFailure> for StepError {
    fn from(reason: JobFailure) -> Self {
        Self::Failure(reason.into())
    }
}

impl From<StatusConflict> for StepError {
    fn from(conflict: StatusConflict) -> Self {
        JobFailure::StatusConflict(conflict.0).into()
    }
}

impl From<OpenError> for StepError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Engine(error) => error.into(),
            OpenError::Database(error) => error.into(),
        }
    }
}

impl From<EngineError> for StepError {
    fn from(error: EngineError) -> Self {
        Self::Failure(error.map_reason(|reason| {
            if reason.is_hosts_fault() {
                JobFailure::Host(reason.to_string())
            } else {
                JobFailure::External(reason.to_string())
            }
        }))
    }
}

impl From<HostError> for StepError {
    fn from(error: HostError) -> Self {
        Self::Failure(error.map_reason(|reason| JobFailure::Host(reason.to_string())))
    }
}

impl From<StateError> for StepError {
    fn from(error: StateError) -> Self {
        external_failure(error)
    }
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::State(error) => error.into(),
            StoreError::Database(error) => error.into(),
        }
    }
}

impl From<DatabaseError> for StepError {
    fn from(error: DatabaseError) -> Self {
        external_failure(error)
    }
}

impl From<Failure<AccountsUnreadable>> for StepError {
    fn from(error: Failure<AccountsUnreadable>) -> Self {
        external_failure(error)
    }
}

impl From<ImageError> for StepError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Engine(error) => error.into(),
            ImageError::Pull(error) => pull_error(error),
            ImageError::Accounts(error) => error.into(),
            ImageError::OutOfTime => Self::OutOfTime,
            ImageError::PullUnfinished => Self::PullUnfinished,
        }
    }
}

/// A pull that stalls may be due to the image's registry, so it does not count against the host.
fn pull_error(error: EngineError) -> StepError {
    match error.reason() {
        EngineErrorReason::Host(reason @ HostReadError::TimedOut) => {
            StepError::external_with_cause(&reason.to_string(), error)
        }
        _ => error.into(),
    }
}

impl From<EncryptionError> for StepError {
    fn from(error: EncryptionError) -> Self {
        external_failure(error)
    }
}

fn external_failure<R: Display>(failure: Failure<R>) -> StepError {
    StepError::Failure(failure.map_reason(|reason| JobFailure::External(reason.to_string())))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_owner_sees_the_reason_and_the_log_the_kind_of_its_cause() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "10.0.0.7:22 refused");
        let error = HostError::new(HostReadError::Unreachable).with_cause(refused);
        let error = StepError::from(EngineError::from(error));
        assert_eq!(error.to_string(), "The host cannot be reached");
        assert_eq!(error.cause().as_deref(), Some("connection refused"));
        assert!(error.is_retryable());
        assert!(error.is_hosts_fault());
    }

    #[test]
    fn only_failures_that_may_pass_are_retried() {
        for (error, is_retryable) in [
            (JobFailure::Malformed.into(), false),
            (JobFailure::Credit("no credit".to_owned()).into(), false),
            (StepError::external("The host is full"), true),
            (sqlx::Error::PoolTimedOut.into(), true),
            (StepError::OutOfTime, true),
            (StepError::PullUnfinished, true),
            (StepError::CopyRefused("too large".to_owned()), true),
            (
                StepError::former_host(HostError::new(HostReadError::TimedOut)),
                true,
            ),
            (StepError::Lost, false),
        ] {
            assert_eq!(error.is_retryable(), is_retryable, "{error:?}");
        }
    }
}
