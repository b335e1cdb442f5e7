//! Why a call of the engine did not work. Owns: reading Docker's texts, which go nowhere else.

use bollard::errors::Error;

use super::error::HostError;

/// Why a call of the engine did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// On the way to it.
    #[error(transparent)]
    Host(#[from] HostError),
    /// There is no such container, image or volume.
    #[error("It is not there")]
    NotFound,
    /// A container of that name is there.
    #[error("The container's name is taken")]
    NameTaken,
    /// A port of the host is taken.
    #[error("A port is taken")]
    PortTaken,
    /// The host's disk is full.
    #[error("The host's disk is full")]
    DiskFull,
    /// The image is not in the registry, or we may not have it.
    #[error("The image cannot be pulled")]
    ImageMissing,
    /// Anything else the engine refused.
    #[error("Docker refused the request")]
    Refused,
}

pub(super) fn pull_kind(error: &Error) -> EngineError {
    match kind(error) {
        EngineError::NotFound | EngineError::Refused => EngineError::ImageMissing,
        other => other,
    }
}

/// Sorts an error of the engine by what can be done about it.
pub(super) fn kind(error: &Error) -> EngineError {
    match error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => match status_code {
            404 => EngineError::NotFound,
            409 => EngineError::NameTaken,
            _ if message.contains("port is already allocated")
                || message.contains("address already in use") =>
            {
                EngineError::PortTaken
            }
            _ if message.contains("no space left") => EngineError::DiskFull,
            _ => EngineError::Refused,
        },
        Error::DockerStreamError { error } if error.contains("no space left") => {
            EngineError::DiskFull
        }
        Error::DockerStreamError { .. } => EngineError::Refused,
        Error::RequestTimeoutError => HostError::TimedOut.into(),
        Error::IOError { err } => {
            let inner = err
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<HostError>());
            inner.copied().unwrap_or(HostError::Protocol).into()
        }
        _ => HostError::Protocol.into(),
    }
}
