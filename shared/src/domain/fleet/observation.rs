//! What one refresh run reads. Owns: the rows of hosts and agents without their addresses, what a host
//! reports, Docker's words for a container's state and health, and the reasons why a host is not read. Does
//! not own: reading (`hosts`, `db`), nor what follows from it (the other files of this folder).

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::isolation::AgentsNetwork;
use super::load::HostFacts;
use super::redact::Metadata;
use crate::domain::agent::AgentStatus;
use crate::domain::billing::OpenFindings;
use crate::domain::container::name;
use crate::domain::ids::{AgentId, AgentRef, HostId, OrganizationId, UserId};
use crate::domain::lane::Backlog;
use crate::domain::words::words;

/// What one refresh run read: every host as it was inspected, and the rows as they were after all inspections.
#[derive(Clone, Debug, Default)]
pub struct FleetReading {
    /// All registered hosts of the shard, enabled or not.
    pub hosts: Vec<InspectedHost>,
    /// All agents of the shard, with and without a host.
    pub agents: Vec<AgentRow>,
    /// The hosts of agents of other shards whose containers were observed in this one.
    pub hosts_elsewhere: HashMap<AgentId, String>,
    pub backlog: Backlog,
    /// What the audit of billing found and is not repaired.
    pub billing_findings: Vec<OpenFindings>,
    /// Why the roll-out of a new default image has paused by itself.
    pub paused_roll_out: Option<String>,
    /// Whether most of the fleet became unreadable in this run.
    pub own_fault: Option<OwnFault>,
}

/// Most of the hosts that could be read before became unreadable in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnFault {
    /// Hosts that became unreadable.
    pub unread_hosts: usize,
    /// These and the hosts that were read.
    pub hosts: usize,
}

#[derive(Clone, Debug)]
pub struct InspectedHost {
    pub row: HostRow,
    pub inspection: HostInspection,
}

/// A row of `docker_nodes` without the host's SSH coordinates.
#[derive(Clone, Debug)]
pub struct HostRow {
    pub id: HostId,
    pub node_id: String,
    pub capacity: i32,
    pub allocated_count: i32,
    pub enabled: bool,
    /// When the host was last inspected before this run.
    pub last_health_check: Option<DateTime<Utc>>,
    /// Not a column: until when the host is set aside, because starts on it failed (`placement::set_aside_hosts`).
    pub set_aside_until: Option<DateTime<Utc>>,
    /// Not a column: how many agents could not be moved away from the host and are in error since.
    pub failed_moves: i64,
    /// Not a column: whether an operator declared the host lost.
    pub is_lost: bool,
    pub metadata: Metadata,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A row of `milady_sandboxes` without the columns that hold the agent's addresses and secrets.
#[derive(Clone, Debug)]
pub struct AgentRow {
    pub id: AgentId,
    pub sandbox_id: Option<String>,
    pub agent_name: Option<String>,
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    pub node_id: Option<String>,
    pub container_name: Option<String>,
    pub status: AgentStatus,
    pub docker_image: Option<String>,
    /// Includes the heartbeats of this run.
    pub last_heartbeat_at: Option<DateTime<Utc>>,
    pub error_message: Option<String>,
    pub error_count: i32,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl AgentRow {
    #[must_use]
    pub fn agent_ref(&self) -> AgentRef {
        AgentRef {
            organization_id: self.organization_id,
            agent_id: self.id,
        }
    }

    /// The name in the row, or the name that a start would give the container.
    pub(super) fn expected_container_name(&self) -> String {
        let recorded = self.container_name.clone();
        recorded.unwrap_or_else(|| name(self.id))
    }

    /// Whether the row says that a container of the agent is, or may be, on its host.
    pub(super) fn expects_container(&self) -> bool {
        self.status.expects_container(self.container_name.is_some())
    }
}

/// The result of inspecting one host.
#[derive(Clone, Debug)]
pub enum HostInspection {
    /// The run ended before this host's turn, or during its inspection before the host's own time was up; or the
    /// host's key could not be pinned.
    NotInspected,
    /// The connection failed.
    Failed {
        at: DateTime<Utc>,
        error: HostReadError,
    },
    /// The connection succeeded.
    Observed(Box<HostObservation>),
}

#[derive(Clone, Debug)]
pub struct HostObservation {
    pub at: DateTime<Utc>,
    /// Milliseconds of one round trip to the SSH server, without opening a channel.
    pub latency_ms: u64,
    /// Whether this inspection pinned the host's key because none was pinned before.
    pub pinned_by_this_run: bool,
    pub facts: HostFacts,
    /// A failed Docker read does not discard the other fields (F19).
    pub engine: Result<EngineObservation, HostReadError>,
}

#[derive(Clone, Debug, Default)]
pub struct EngineObservation {
    pub version: Option<String>,
    /// All containers of the host, including stopped ones and those of other software.
    pub containers: Vec<ContainerObservation>,
    /// The networks of the agents, one as a rule. None if they were not read.
    pub networks: Vec<AgentsNetwork>,
}

impl HostInspection {
    /// When the host was inspected; `None` if it was not.
    #[must_use]
    pub fn inspected_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::NotInspected => None,
            Self::Failed { at, .. } => Some(*at),
            Self::Observed(observation) => Some(observation.at),
        }
    }

    /// What the host reported, or why the connection failed.
    pub fn observation(&self) -> Result<&HostObservation, HostReadError> {
        match self {
            Self::NotInspected => Err(HostReadError::NotInspected),
            Self::Failed { error, .. } => Err(*error),
            Self::Observed(observation) => Ok(observation),
        }
    }

    /// Whether the host's containers were read. `None` if the run says nothing about the host, because the cause is on
    /// our side.
    #[must_use]
    pub fn was_read(&self) -> Option<bool> {
        use HostReadError::{NoKey, NotInspected, NotRegistered};
        match self.engine() {
            Ok(_) => Some(true),
            Err(NotInspected | NoKey | NotRegistered) => None,
            Err(_) => Some(false),
        }
    }

    /// What the host's Docker Engine reported, or why it was not read.
    pub fn engine(&self) -> Result<&EngineObservation, HostReadError> {
        self.observation()?.engine.as_ref().map_err(|error| *error)
    }
}

/// One container in the list of a Docker Engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerObservation {
    /// Docker's id.
    pub id: String,
    /// The name without Docker's leading slash.
    pub name: String,
    pub image: String,
    /// Docker's word for the state: `running`.
    pub state: String,
    /// Docker's status text: `Up 3 minutes (healthy)`.
    pub status: String,
    /// Docker's health field.
    pub health: Option<String>,
    /// By the host's clock.
    pub created_at: DateTime<Utc>,
    /// The value of our label, whatever it holds.
    pub label: Option<String>,
    /// The attempt of the job that created the container. `None` if an older deployment created it.
    pub attempt: Option<i32>,
    /// The directory of the host that is mounted at `/app/data`. `None` if a volume is.
    pub data_bind: Option<String>,
}

impl ContainerObservation {
    #[must_use]
    pub fn state(&self) -> ContainerState {
        ContainerState::parse(&self.state, &self.status)
    }

    #[must_use]
    pub fn health(&self) -> Option<DockerHealth> {
        DockerHealth::read(self.health.as_deref(), &self.status)
    }

    #[must_use]
    pub(super) fn condition(&self) -> ContainerCondition {
        ContainerCondition {
            state: self.state(),
            health: self.health(),
            created_at: self.created_at,
        }
    }

    /// Whether this product made the container: it has our label, or exactly the name that we give.
    /// Containers of an older deployment have the name only.
    #[must_use]
    pub fn is_agent_container(&self) -> bool {
        self.label.is_some() || self.agent_in_name().is_some()
    }

    /// Whether the row of an agent on this host claims the container: the names match, and the label does not
    /// name another agent. `recorded_name` is `milady_sandboxes.container_name`.
    #[must_use]
    pub fn is_claimed_by(&self, agent_id: AgentId, recorded_name: Option<&str>) -> bool {
        let name_matches =
            recorded_name.map_or_else(|| self.name == name(agent_id), |name| self.name == name);
        name_matches && (self.label.is_none() || self.agent_id() == Some(agent_id))
    }

    /// The agent that the container belongs to by its label, or without a label by its name. The label wins
    /// because anybody can choose a name.
    #[must_use]
    pub fn agent_id(&self) -> Option<AgentId> {
        match &self.label {
            Some(label) => label.parse().ok(),
            None => self.agent_in_name(),
        }
    }

    fn agent_in_name(&self) -> Option<AgentId> {
        let agent_id = self.name.strip_prefix("milady-")?.parse().ok()?;
        (name(agent_id) == self.name).then_some(agent_id)
    }
}

/// The part of a [`ContainerObservation`] that an agent's health depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerCondition {
    pub state: ContainerState,
    /// `None` if the container has no health check.
    pub health: Option<DockerHealth>,
    /// By the host's clock.
    pub created_at: DateTime<Utc>,
}

/// What a run observed in the place where an agent's container should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentObservation {
    /// The agent's row names no host.
    NoHost,
    /// The host's containers were not read, so nothing is known about the agent's container.
    HostNotRead(HostReadError),
    /// The host's containers were read, and the agent's is not among them.
    NoContainer,
    Container(ContainerCondition),
}

/// Docker's state of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    Created,
    Running,
    Paused,
    Restarting,
    /// Podman's word for a container that is being stopped.
    Stopping,
    Removing,
    Exited,
    Dead,
    /// A word that this version does not know.
    Unknown,
}

impl ContainerState {
    /// Parses Docker's or Podman's word. Where an engine omits the word, the beginning of its status text decides.
    #[must_use]
    pub fn parse(word: &str, status: &str) -> Self {
        match word {
            "created" | "configured" | "initialized" => Self::Created,
            "running" => Self::Running,
            "paused" => Self::Paused,
            "restarting" => Self::Restarting,
            "stopping" => Self::Stopping,
            "removing" => Self::Removing,
            "exited" | "stopped" => Self::Exited,
            "dead" => Self::Dead,
            "" => Self::parse_status(status),
            _ => Self::Unknown,
        }
    }

    fn parse_status(status: &str) -> Self {
        if status.starts_with("Up ") && status.ends_with("(Paused)") {
            return Self::Paused;
        }
        let prefixes = [
            ("Up ", Self::Running),
            ("Exited ", Self::Exited),
            ("Restarting ", Self::Restarting),
            ("Removal ", Self::Removing),
            ("Created", Self::Created),
            ("Dead", Self::Dead),
        ];
        let matching = prefixes
            .into_iter()
            .find(|(prefix, _)| status.starts_with(prefix));
        matching.map_or(Self::Unknown, |(_, state)| state)
    }

    /// Docker's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the container has ended and only its record is left on the host.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Exited | Self::Dead)
    }
}

words! {
    /// The result of a container's own health check.
    pub enum DockerHealth {
        Starting = "starting",
        Healthy = "healthy",
        Unhealthy = "unhealthy",
    }
}

impl DockerHealth {
    /// Reads Docker's health field (`none` means that there is no check). Where the engine has no such
    /// field, the brackets at the end of the status text decide: `Up 3 minutes (unhealthy)`, `Up 2 seconds
    /// (health: starting)`. `None` for a word that this version does not know.
    #[must_use]
    pub fn read(field: Option<&str>, status: &str) -> Option<Self> {
        let word = field.filter(|word| !word.is_empty()).or_else(|| {
            let (_, brackets) = status.strip_suffix(')')?.rsplit_once('(')?;
            Some(brackets.strip_prefix("health: ").unwrap_or(brackets))
        })?;
        Self::parse(word)
    }
}

/// Why a host, or the Docker Engine on it, was not read. The sentences are shown to operators: they hold no
/// address, no name and no text of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum HostReadError {
    /// Nothing listens on the address, or no route leads there.
    #[error("The host cannot be reached")]
    Unreachable,
    #[error("The host did not answer in time")]
    TimedOut,
    #[error("The host refused our key")]
    AuthFailed,
    /// The host showed another key than the pinned one. Nothing was sent to it.
    #[error("The host's key is not the one we know")]
    HostKeyMismatch,
    /// The address policy excludes the host's address.
    #[error("The host's address is not allowed")]
    AddressRefused,
    /// No SSH key is configured to log in with.
    #[error("No SSH key is set up")]
    NoKey,
    /// The answer is not valid SSH, HTTP or Docker API.
    #[error("The host answered something that is not understood")]
    Protocol,
    /// The answer exceeds the limit of what is read. An alert shows it as `Protocol`.
    #[error("The answer is too long")]
    #[serde(rename = "too_long")]
    ResponseTooLarge,
    /// The SSH server does not forward connections to the Docker socket or to a port.
    #[error("The host refuses to forward connections")]
    ForwardingRefused,
    /// SSH works, the Docker Engine does not answer.
    #[error("Docker does not answer on the host")]
    DockerUnavailable,
    /// See [`HostInspection::NotInspected`].
    #[error("The host was not inspected in time")]
    NotInspected,
    /// An agent's row names a host that is not registered.
    #[error("The host is not registered")]
    NotRegistered,
}

impl HostReadError {
    /// Whether the error is about the host. Otherwise its cause is this run or its configuration.
    #[must_use]
    pub fn is_about_host(self) -> bool {
        !matches!(self, Self::NotInspected | Self::NoKey | Self::NotRegistered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_parsed_from_dockers_word_or_its_status_text() {
        for state in [
            ContainerState::Created,
            ContainerState::Running,
            ContainerState::Paused,
            ContainerState::Restarting,
            ContainerState::Stopping,
            ContainerState::Removing,
            ContainerState::Exited,
            ContainerState::Dead,
        ] {
            assert_eq!(ContainerState::parse(state.as_str(), "Up 1 second"), state);
        }
        for (word, status, state) in [
            ("hibernated", "Up 1 second", ContainerState::Unknown),
            ("stopped", "", ContainerState::Exited),
            ("configured", "", ContainerState::Created),
            ("initialized", "", ContainerState::Created),
            ("", "Up 3 minutes (healthy)", ContainerState::Running),
            ("", "Up 3 minutes (Paused)", ContainerState::Paused),
            ("", "Exited (137) 2 hours ago", ContainerState::Exited),
            ("", "Restarting (1) 2 days ago", ContainerState::Restarting),
            ("", "Removal In Progress", ContainerState::Removing),
            ("", "Created", ContainerState::Created),
            ("", "Dead", ContainerState::Dead),
            ("", "", ContainerState::Unknown),
        ] {
            assert_eq!(
                ContainerState::parse(word, status),
                state,
                "{word:?} {status:?}"
            );
        }
    }

    #[test]
    fn health_is_parsed_from_the_field_or_from_the_status_text_of_old_engines() {
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
