//! Why a call of a Docker Engine failed. Owns: what the answers of engines mean, for whom in which words, and what a
//! start does next. The texts of engines go nowhere else.
//!
//! Sources of the phrases: moby's `daemon` and `libnetwork`, Podman's `pkg/api/handlers/compat` and `libpod`,
//! containers/storage, and the distribution registries.

use std::error::Error as _;

use bollard::errors::Error;

use crate::domain::fleet::HostReadError;
use crate::failure::Failure;
use crate::hosts::error::HostError;

/// Why a call of the Docker Engine failed.
pub type EngineError = Failure<EngineErrorReason>;

/// `Display` is what owners read; [`EngineErrorReason::operator_text`] what operators read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineErrorReason {
    /// The host or its engine cannot be reached.
    #[error(transparent)]
    Host(#[from] HostReadError),
    /// No such container, volume or network.
    #[error("It is not there")]
    NotFound,
    /// The image that a container needs is not on the host.
    #[error("The image is not on the host")]
    ImageGone,
    /// A container of this name exists.
    #[error("The container's name is taken")]
    NameTaken,
    /// The engine is removing the container.
    #[error("The container is still being removed")]
    BeingRemoved,
    /// A container uses the volume or the network.
    #[error("It is still in use")]
    InUse,
    /// The state of the container does not allow the call.
    #[error("The container is in a state that does not allow this")]
    StateConflict,
    /// A port of the host that the container publishes is taken.
    #[error("A port is taken")]
    PortTaken,
    #[error("The host's disk is full")]
    DiskFull,
    /// No addresses are left for the network of the agents.
    #[error("The host has no addresses left for a network")]
    NoNetwork,
    /// The image is not in the registry, or our account must not pull it.
    #[error("The image cannot be pulled")]
    ImageMissing,
    /// The registry wants an account, or refuses the one that we have.
    #[error("The image's registry requires an account that may pull it")]
    RegistryLogin,
    /// The registry allows no more pulls for now.
    #[error("The image's registry allows no more pulls for now")]
    RegistryBusy,
    /// The host cannot reach the registry.
    #[error("The image's registry cannot be reached")]
    RegistryUnreachable,
    /// The image is not made for the host's processor.
    #[error("The image is not made for the processor of our hosts")]
    WrongPlatform,
    /// The network of the agents exists, and lets them reach each other.
    #[error("The host's network for agents does not keep them apart")]
    NetworkNotIsolated,
    /// Any other refusal.
    #[error("Docker refused the request")]
    Refused,
}

/// What a start does after a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Pull the image and create the container once more.
    PullImage,
    /// Remove the agent's older container that has the name, and create the new one.
    ReplaceContainer,
    /// Create a container with other ports.
    OtherPorts,
    /// Create another container on the same host: engines were seen to refuse a good one without a reason.
    NewContainer,
    /// Nothing on this host. The attempt fails, and the next one goes to another host if there is one.
    LaterAttempt,
}

impl EngineErrorReason {
    /// Whether the host or its engine failed. Otherwise the image of the agent may be the cause: Docker also refuses
    /// images that it cannot start.
    #[must_use]
    pub fn is_hosts_fault(self) -> bool {
        match self {
            Self::Host(_)
            | Self::ImageGone
            | Self::NameTaken
            | Self::BeingRemoved
            | Self::InUse
            | Self::PortTaken
            | Self::DiskFull
            | Self::NoNetwork
            | Self::NetworkNotIsolated => true,
            Self::NotFound
            | Self::StateConflict
            | Self::ImageMissing
            | Self::RegistryLogin
            | Self::RegistryBusy
            | Self::RegistryUnreachable
            | Self::WrongPlatform
            | Self::Refused => false,
        }
    }

    /// What an inspection reports for this reason.
    #[must_use]
    pub fn as_read_error(self) -> HostReadError {
        match self {
            Self::Host(HostReadError::ResponseTooLarge) => HostReadError::Protocol,
            Self::Host(reason) => reason,
            _ => HostReadError::DockerUnavailable,
        }
    }

    /// What operators read: also what they can do about it.
    #[must_use]
    pub fn operator_text(self) -> String {
        let text = match self {
            Self::Host(reason) => return reason.to_string(),
            Self::NotFound => "Docker has no such object; it was removed meanwhile",
            Self::ImageGone => {
                "The image is not on the host; a clean-up such as docker image prune removes images in use by no \
                 container"
            }
            Self::NameTaken => {
                "Another container has the name; if no list shows it, restart Docker on the host"
            }
            Self::BeingRemoved => {
                "Docker is removing the container; if that does not end, restart Docker on the host"
            }
            Self::InUse => "A container uses the volume or network; remove the container first",
            Self::StateConflict => {
                "Docker refuses this action while the container is in this state"
            }
            Self::PortTaken => {
                "A process on the host listens on the port, or Docker has not freed it"
            }
            Self::DiskFull => "Docker's disk is full; remove unused images and volumes",
            Self::NoNetwork => {
                "Docker has no addresses left for a network; remove unused networks or add address pools"
            }
            Self::ImageMissing => {
                "The registry does not have the image, or refuses it to our account"
            }
            Self::RegistryLogin => "The registry refuses our account; check REGISTRY_ACCOUNTS",
            Self::RegistryBusy => {
                "The registry limits how often images are pulled; use an account or a mirror"
            }
            Self::RegistryUnreachable => {
                "The host cannot reach the registry; check its DNS, route and firewall"
            }
            Self::WrongPlatform => "The image has no variant for the host's processor",
            Self::NetworkNotIsolated => {
                "The network milady-agents lets agents reach each other; remove it while no container uses it"
            }
            Self::Refused => {
                "Docker refused the request for a reason that this version does not know"
            }
        };
        text.to_owned()
    }

    /// What a start does next.
    #[must_use]
    pub fn next_step(self) -> NextStep {
        match self {
            Self::ImageGone => NextStep::PullImage,
            Self::NameTaken => NextStep::ReplaceContainer,
            Self::PortTaken => NextStep::OtherPorts,
            Self::Refused | Self::BeingRemoved => NextStep::NewContainer,
            Self::Host(_)
            | Self::NotFound
            | Self::InUse
            | Self::StateConflict
            | Self::DiskFull
            | Self::NoNetwork
            | Self::NetworkNotIsolated
            | Self::ImageMissing
            | Self::RegistryLogin
            | Self::RegistryBusy
            | Self::RegistryUnreachable
            | Self::WrongPlatform => NextStep::LaterAttempt,
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

/// Phrases in the answers of engines, in lower case. They decide before the status, because engines and versions send
/// the same phrase with different statuses. The first one that an answer contains counts.
const PHRASES: &[(&str, EngineErrorReason)] = &[
    ("port is already allocated", EngineErrorReason::PortTaken),
    ("address already in use", EngineErrorReason::PortTaken),
    ("ports are not available", EngineErrorReason::PortTaken),
    ("no space left", EngineErrorReason::DiskFull),
    ("disk quota exceeded", EngineErrorReason::DiskFull),
    // Two versions of Docker say so with two statuses, one of them 404 (F83).
    ("address pool", EngineErrorReason::NoNetwork),
    ("removal of container", EngineErrorReason::BeingRemoved),
    ("marked for removal", EngineErrorReason::BeingRemoved),
    ("as it is being removed", EngineErrorReason::BeingRemoved),
    // Podman says so with status 500.
    ("container state improper", EngineErrorReason::StateConflict),
    ("is already in use by", EngineErrorReason::NameTaken),
    ("that name is already in use", EngineErrorReason::NameTaken),
    ("volume is in use", EngineErrorReason::InUse),
    ("volume is being used", EngineErrorReason::InUse),
    ("has active endpoints", EngineErrorReason::InUse),
    ("network is being used", EngineErrorReason::InUse),
    ("no such image", EngineErrorReason::ImageGone),
    ("image not known", EngineErrorReason::ImageGone),
    ("exec format error", EngineErrorReason::WrongPlatform),
];

/// Phrases in the answers to a pull.
const PULL_PHRASES: &[(&str, EngineErrorReason)] = &[
    ("toomanyrequests", EngineErrorReason::RegistryBusy),
    ("too many requests", EngineErrorReason::RegistryBusy),
    ("rate limit", EngineErrorReason::RegistryBusy),
    ("no matching manifest", EngineErrorReason::WrongPlatform),
    (
        "no image found in image index",
        EngineErrorReason::WrongPlatform,
    ),
    (
        "does not match the specified platform",
        EngineErrorReason::WrongPlatform,
    ),
    // Docker Hub says so of an image that does not exist, too.
    ("pull access denied", EngineErrorReason::ImageMissing),
    ("manifest unknown", EngineErrorReason::ImageMissing),
    ("unauthorized", EngineErrorReason::RegistryLogin),
    (
        "no basic auth credentials",
        EngineErrorReason::RegistryLogin,
    ),
    ("authentication required", EngineErrorReason::RegistryLogin),
    ("connection refused", EngineErrorReason::RegistryUnreachable),
    ("connection reset", EngineErrorReason::RegistryUnreachable),
    ("no such host", EngineErrorReason::RegistryUnreachable),
    ("no route to host", EngineErrorReason::RegistryUnreachable),
    (
        "network is unreachable",
        EngineErrorReason::RegistryUnreachable,
    ),
    ("server misbehaving", EngineErrorReason::RegistryUnreachable),
    ("i/o timeout", EngineErrorReason::RegistryUnreachable),
    ("handshake timeout", EngineErrorReason::RegistryUnreachable),
    ("request canceled", EngineErrorReason::RegistryUnreachable),
    ("deadline exceeded", EngineErrorReason::RegistryUnreachable),
    ("unexpected eof", EngineErrorReason::RegistryUnreachable),
];

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
        } => find_phrase(PHRASES, message).unwrap_or(match status_code {
            404 => EngineErrorReason::NotFound,
            409 => EngineErrorReason::StateConflict,
            _ => EngineErrorReason::Refused,
        }),
        Error::DockerStreamError { error } => {
            find_phrase(PHRASES, error).unwrap_or(EngineErrorReason::Refused)
        }
        Error::RequestTimeoutError => HostReadError::TimedOut.into(),
        _ => HostReadError::Protocol.into(),
    }
}

fn find_phrase(phrases: &[(&str, EngineErrorReason)], text: &str) -> Option<EngineErrorReason> {
    let text = text.to_lowercase();
    let mut phrases = phrases.iter();
    let found = phrases.find(|(phrase, _)| text.contains(phrase));
    found.map(|(_, reason)| *reason)
}

/// For a pull: what the registry said counts, and any other refusal means that the image is not to be had.
pub(super) fn classify_pull(error: Error) -> EngineError {
    let registry = match &error {
        Error::DockerResponseServerError { message, .. } => find_phrase(PULL_PHRASES, message),
        Error::DockerStreamError { error } => find_phrase(PULL_PHRASES, error),
        _ => None,
    };
    classify(error).map_reason(|reason| match (reason, registry) {
        (EngineErrorReason::DiskFull | EngineErrorReason::Host(_), _) => reason,
        (_, Some(registry)) => registry,
        (
            EngineErrorReason::NotFound | EngineErrorReason::ImageGone | EngineErrorReason::Refused,
            None,
        ) => EngineErrorReason::ImageMissing,
        (other, None) => other,
    })
}

/// The id of the container that has the name, if the engine said it when it refused the name.
#[must_use]
pub fn name_holder(refusal: &EngineError) -> Option<String> {
    let cause = refusal.source()?.downcast_ref::<Error>()?;
    let Error::DockerResponseServerError { message, .. } = cause else {
        return None;
    };
    let mut words = message.split(|c: char| !c.is_ascii_hexdigit());
    words.find(|word| word.len() == 64).map(str::to_owned)
}

/// Whether the object that the call named is not there.
pub(super) fn is_missing(reason: EngineErrorReason) -> bool {
    matches!(
        reason,
        EngineErrorReason::NotFound | EngineErrorReason::ImageGone
    )
}

/// For a look-up: a missing object is an answer, not an error.
pub(super) fn exists<T>(found: Result<T, Error>) -> Result<bool, EngineError> {
    match found {
        // The object is there, in a form that this version does not know.
        Ok(_) | Err(Error::JsonDataError { .. }) => Ok(true),
        Err(error) => {
            let error = classify(error);
            if is_missing(error.reason()) {
                Ok(false)
            } else {
                Err(error)
            }
        }
    }
}

/// For a removal, which can be repeated: an object that is already gone is no error.
pub(super) fn ignore_missing(removed: Result<(), Error>) -> Result<(), EngineError> {
    match removed.map_err(classify) {
        Err(error) if is_missing(error.reason()) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_can_cause_is_not_the_hosts_fault() {
        use EngineErrorReason::{
            DiskFull, Host, ImageGone, ImageMissing, NetworkNotIsolated, NoNetwork, NotFound,
            Refused, RegistryBusy, WrongPlatform,
        };
        for (reason, expected) in [
            (Host(HostReadError::Unreachable), true),
            (NoNetwork, true),
            (NetworkNotIsolated, true),
            (DiskFull, true),
            (ImageGone, true),
            (NotFound, false),
            (ImageMissing, false),
            (RegistryBusy, false),
            (WrongPlatform, false),
            (Refused, false),
        ] {
            assert_eq!(reason.is_hosts_fault(), expected, "{reason:?}");
        }
    }
}
