//! Why a call of the Docker Engine failed. Owns: sorting Docker's error texts, which go nowhere else.

use bollard::errors::Error;

use crate::domain::fleet::HostReadError;
use crate::failure::Failure;
use crate::hosts::error::HostError;

/// Why a call of the Docker Engine failed.
pub type EngineError = Failure<EngineErrorReason>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineErrorReason {
    /// The host or its engine cannot be reached.
    #[error(transparent)]
    Host(#[from] HostReadError),
    /// No such container, image, volume or network.
    #[error("It is not there")]
    NotFound,
    /// A container of this name exists. Docker gives the same status for an action that conflicts with a
    /// container's state.
    #[error("The container's name is taken")]
    NameTaken,
    /// A port of the host that the container publishes is taken.
    #[error("A port is taken")]
    PortTaken,
    #[error("The host's disk is full")]
    DiskFull,
    /// The image is not in the registry, or our account must not pull it.
    #[error("The image cannot be pulled")]
    ImageMissing,
    /// Any other refusal.
    #[error("Docker refused the request")]
    Refused,
}

impl EngineErrorReason {
    /// What an inspection reports for this reason.
    #[must_use]
    pub fn as_read_error(self) -> HostReadError {
        match self {
            Self::Host(HostReadError::ResponseTooLarge) => HostReadError::Protocol,
            Self::Host(reason) => reason,
            _ => HostReadError::DockerUnavailable,
        }
    }
}

impl From<HostError> for EngineError {
    fn from(error: HostError) -> Self {
        error.map_reason(EngineErrorReason::Host)
    }
}

impl From<HostReadError> for EngineError {
    fn from(reason: HostReadError) -> Self {
        Self::new(reason.into())
    }
}

/// Sorts an error of the engine by what can be done about it.
pub(super) fn classify(error: Error) -> EngineError {
    let error = match error {
        // The transport wraps errors of the connection in this variant.
        Error::IOError { err } => match err.downcast::<HostError>() {
            Ok(error) => return error.into(),
            Err(err) => Error::IOError { err },
        },
        error => error,
    };
    EngineError::new(reason(&error)).with_cause(error)
}

fn reason(error: &Error) -> EngineErrorReason {
    match error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => match status_code {
            404 => EngineErrorReason::NotFound,
            409 => EngineErrorReason::NameTaken,
            _ if message.contains("port is already allocated")
                || message.contains("address already in use") =>
            {
                EngineErrorReason::PortTaken
            }
            _ if message.contains("no space left") => EngineErrorReason::DiskFull,
            _ => EngineErrorReason::Refused,
        },
        Error::DockerStreamError { error } if error.contains("no space left") => {
            EngineErrorReason::DiskFull
        }
        Error::DockerStreamError { .. } => EngineErrorReason::Refused,
        Error::RequestTimeoutError => HostReadError::TimedOut.into(),
        _ => HostReadError::Protocol.into(),
    }
}

/// For a pull: a refusal means that the image is not to be had.
pub(super) fn classify_pull(error: Error) -> EngineError {
    classify(error).map_reason(|reason| match reason {
        EngineErrorReason::NotFound | EngineErrorReason::Refused => EngineErrorReason::ImageMissing,
        other => other,
    })
}

/// For a look-up: a missing object is an answer, not an error.
pub(super) fn exists<T>(found: Result<T, Error>) -> Result<bool, EngineError> {
    match found.map_err(classify) {
        Ok(_) => Ok(true),
        Err(error) if error.reason() == EngineErrorReason::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// For a removal, which can be repeated: an object that is already gone is no error.
pub(super) fn ignore_missing(removed: Result<(), Error>) -> Result<(), EngineError> {
    match removed.map_err(classify) {
        Err(error) if error.reason() == EngineErrorReason::NotFound => Ok(()),
        other => other,
    }
}
