//! What an inspection sees of one container. Owns: Docker's words for a container's state and health,
//! and why a host was not read. Does not own: asking (`hosts`), nor what follows from it (`health`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What was seen where an agent's container should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The agent's row names no host.
    NoHost,
    /// The host's containers were not read in this pass: nothing is known of any of them.
    NotRead(Unread),
    /// They were read: the agent's container, or none if it is not among them.
    Read(Option<Seen>),
}

/// One container as Docker tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it does.
    pub state: ContainerState,
    /// What its own check says; none if it has none.
    pub health: Option<DockerHealth>,
    /// When it was made, by the host's clock.
    pub created_at: DateTime<Utc>,
}

/// A container's state. A word this version does not know is `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are Docker's own words")]
pub enum ContainerState {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
    Unknown,
}

impl ContainerState {
    /// Reads Docker's word; where an engine leaves it out, the beginning of its status text
    /// (`Up 3 minutes`).
    #[must_use]
    pub fn read(word: &str, status: &str) -> Self {
        match word {
            "created" => Self::Created,
            "running" => Self::Running,
            "paused" => Self::Paused,
            "restarting" => Self::Restarting,
            "removing" => Self::Removing,
            "exited" => Self::Exited,
            "dead" => Self::Dead,
            "" => Self::of_status(status),
            _ => Self::Unknown,
        }
    }

    fn of_status(status: &str) -> Self {
        if status.starts_with("Up ") && status.ends_with("(Paused)") {
            return Self::Paused;
        }
        let beginnings = [
            ("Up ", Self::Running),
            ("Exited ", Self::Exited),
            ("Restarting ", Self::Restarting),
            ("Removal ", Self::Removing),
            ("Created", Self::Created),
            ("Dead", Self::Dead),
        ];
        let found = beginnings
            .into_iter()
            .find(|(text, _)| status.starts_with(text));
        found.map_or(Self::Unknown, |(_, state)| state)
    }

    /// Docker's word; `unknown` stands for any that this version does not know.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it is over: what is left is a record on the host's disk.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Exited | Self::Dead)
    }
}

/// What a container's own check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the variants are Docker's own words")]
pub enum DockerHealth {
    Starting,
    Healthy,
    Unhealthy,
}

impl DockerHealth {
    /// Reads what Docker says: its health field where the engine has one (`none` = there is no check),
    /// else the brackets at the end of the status text of older ones: `Up 3 minutes (unhealthy)`,
    /// `Up 2 seconds (health: starting)`. A word this version does not know says nothing.
    #[must_use]
    pub fn read(field: Option<&str>, status: &str) -> Option<Self> {
        let word = field.filter(|word| !word.is_empty()).or_else(|| {
            let (_, brackets) = status.strip_suffix(')')?.rsplit_once('(')?;
            Some(brackets.strip_prefix("health: ").unwrap_or(brackets))
        })?;
        match word {
            "starting" => Some(Self::Starting),
            "healthy" => Some(Self::Healthy),
            "unhealthy" => Some(Self::Unhealthy),
            _ => None,
        }
    }
}

/// Why a host, or Docker on it, was not read in this pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unread {
    /// Nobody listens there, or no route leads there.
    Unreachable,
    /// It said nothing in time.
    TimedOut,
    /// It does not take our key.
    AuthFailed,
    /// It is not the host it was: nothing was sent to it.
    HostKeyMismatch,
    /// Its address is not one that may be used.
    AddressRefused,
    /// There is no key to log in with.
    NoKey,
    /// It answered something that is not what we speak, or more than is read.
    Protocol,
    /// It is there and does not let us reach Docker.
    ForwardingRefused,
    /// It is there and Docker is not.
    DockerUnavailable,
    /// The pass was over before it was its turn.
    Deadline,
    /// The row names a host that is not registered.
    NotRegistered,
}

impl Unread {
    /// The same in plain words, for operators.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Unreachable => "The host cannot be reached",
            Self::TimedOut => "The host did not answer in time",
            Self::AuthFailed => "The host refused our key",
            Self::HostKeyMismatch => "The host's key is not the one we know",
            Self::AddressRefused => "The host's address is not allowed",
            Self::NoKey => "No SSH key is set up",
            Self::Protocol => "The host answered something that is not understood",
            Self::ForwardingRefused => "The host refuses to forward connections",
            Self::DockerUnavailable => "Docker does not answer on the host",
            Self::Deadline => "The host was not inspected in time",
            Self::NotRegistered => "The host is not registered",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_as_docker_writes_them() {
        for state in [
            ContainerState::Created,
            ContainerState::Running,
            ContainerState::Paused,
            ContainerState::Restarting,
            ContainerState::Removing,
            ContainerState::Exited,
            ContainerState::Dead,
        ] {
            assert_eq!(ContainerState::read(state.as_str(), "Up 1 second"), state);
        }
        for (word, status, state) in [
            ("hibernated", "Up 1 second", ContainerState::Unknown),
            ("", "Up 3 minutes (healthy)", ContainerState::Running),
            ("", "Up 3 minutes (Paused)", ContainerState::Paused),
            ("", "Exited (137) 2 hours ago", ContainerState::Exited),
            (
                "",
                "Restarting (1) 4 seconds ago",
                ContainerState::Restarting,
            ),
            ("", "Removal In Progress", ContainerState::Removing),
            ("", "Created", ContainerState::Created),
            ("", "Dead", ContainerState::Dead),
            ("", "", ContainerState::Unknown),
        ] {
            assert_eq!(
                ContainerState::read(word, status),
                state,
                "{word:?} {status:?}"
            );
        }
    }

    #[test]
    fn health_is_read_from_the_field_or_from_the_text_of_old_engines() {
        use DockerHealth::{Healthy, Starting, Unhealthy};
        for (field, status, health) in [
            (Some("healthy"), "Up 3 minutes (unhealthy)", Some(Healthy)),
            (Some("unhealthy"), "", Some(Unhealthy)),
            (Some("starting"), "", Some(Starting)),
            (Some("none"), "Up 3 minutes (healthy)", None),
            (Some("sleepy"), "", None),
            (Some(""), "Up 3 minutes (unhealthy)", Some(Unhealthy)),
            (None, "Up 3 minutes (unhealthy)", Some(Unhealthy)),
            (None, "Up 3 minutes (healthy)", Some(Healthy)),
            (None, "Up 2 seconds (health: starting)", Some(Starting)),
            (None, "Up 3 minutes (Paused)", None),
            (None, "Up 3 minutes", None),
            (None, "Exited (1) 2 hours ago", None),
            (None, "", None),
        ] {
            assert_eq!(
                DockerHealth::read(field, status),
                health,
                "{field:?} {status:?}"
            );
        }
    }
}
