//! The statuses of an agent. Owns: the database's words for them, and which event leads from which status to which.
//! Does not own: when an event happens (`app`, `domain::fleet`).

use serde::{Serialize, Serializer};

/// `milady_sandboxes.status`. `Unknown` stands for a word of a newer version; nothing is done to such an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentStatus {
    Pending,
    Provisioning,
    Running,
    Stopped,
    Disconnected,
    Error,
    Unknown,
}

impl AgentStatus {
    /// Parses the database's word.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "pending" => Self::Pending,
            "provisioning" => Self::Provisioning,
            "running" => Self::Running,
            "stopped" => Self::Stopped,
            "disconnected" => Self::Disconnected,
            "error" => Self::Error,
            _ => Self::Unknown,
        }
    }

    /// The database's word, or `unknown` for [`AgentStatus::Unknown`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Provisioning => "provisioning",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Disconnected => "disconnected",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }

    /// The status after the event, or why the event cannot happen in this status.
    pub fn after(self, event: AgentEvent) -> Result<Self, StatusConflict> {
        TRANSITIONS
            .iter()
            .find(|(from, on, _)| *from == self && *on == event)
            .map(|(_, _, to)| *to)
            .ok_or_else(|| self.conflict(event))
    }

    fn conflict(self, event: AgentEvent) -> StatusConflict {
        StatusConflict(match (self, event) {
            (Self::Unknown, _) => "The agent has a status that this version does not know",
            (Self::Provisioning, _) => "Agent provisioning is in progress",
            (Self::Running, AgentEvent::StartRequested) => "Agent is already running",
            (Self::Disconnected, AgentEvent::StartRequested | AgentEvent::RestoreRequested) => {
                "The agent's host cannot be reached"
            }
            (Self::Pending, AgentEvent::RestoreRequested) => "Agent has not been started yet",
            (_, AgentEvent::StopRequested | AgentEvent::PairingRequested) => "Agent is not running",
            _ => "The agent's status has changed meanwhile",
        })
    }

    /// Whether the agent has, or may have, a container to stop. A failed start may have left a container behind, so
    /// for `Error` the row decides: `is_recorded` says whether it names a container on a host.
    #[must_use]
    pub fn expects_container(self, is_recorded: bool) -> bool {
        match self {
            Self::Running | Self::Provisioning | Self::Disconnected => true,
            Self::Error => is_recorded,
            Self::Pending | Self::Stopped | Self::Unknown => false,
        }
    }
}

impl Serialize for AgentStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What happens to an agent: its owner requests something, a job makes progress, or a refresh run observes its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentEvent {
    /// The owner requests a start (provision, resume).
    StartRequested,
    /// The owner requests that the agent be restored from a backup.
    RestoreRequested,
    /// The owner requests a stop (suspend).
    StopRequested,
    /// The owner requests the agent's deletion.
    DeleteRequested,
    /// The owner requests a pairing token.
    PairingRequested,
    /// A job begins to start the agent.
    StartBegun,
    /// The agent's container runs.
    StartFinished,
    /// The start job has used up its attempts.
    StartFailed,
    /// The agent's container was removed as requested.
    StopFinished,
    /// Two consecutive refresh runs could not read the agent's host.
    HostLost,
    /// A refresh run reads the agent's host again.
    HostRegained,
    /// Two consecutive refresh runs saw that the agent's container is gone.
    ContainerLost,
}

/// All transitions. Jobs carry out what an owner requests, so a request alone leaves the status as it is. A start
/// whose job is gone (`Provisioning` without a job) can be requested again, stopped and deleted.
#[rustfmt::skip]
const TRANSITIONS: &[(AgentStatus, AgentEvent, AgentStatus)] = {
    use AgentStatus::{Disconnected, Error, Pending, Provisioning, Running, Stopped};
    use AgentEvent::{
        ContainerLost, DeleteRequested, HostLost, HostRegained, PairingRequested, RestoreRequested,
        StartBegun, StartFailed, StartFinished, StartRequested, StopFinished, StopRequested,
    };
    &[
        (Pending,      StartRequested,   Pending),
        (Stopped,      StartRequested,   Stopped),
        (Error,        StartRequested,   Error),
        (Provisioning, StartRequested,   Provisioning),
        (Running,      RestoreRequested, Running),
        (Stopped,      RestoreRequested, Stopped),
        (Error,        RestoreRequested, Error),
        (Running,      StopRequested,    Running),
        (Disconnected, StopRequested,    Disconnected),
        (Error,        StopRequested,    Error),
        (Provisioning, StopRequested,    Provisioning),
        (Pending,      DeleteRequested,  Pending),
        (Provisioning, DeleteRequested,  Provisioning),
        (Running,      DeleteRequested,  Running),
        (Stopped,      DeleteRequested,  Stopped),
        (Disconnected, DeleteRequested,  Disconnected),
        (Error,        DeleteRequested,  Error),
        (Running,      PairingRequested, Running),
        (Pending,      StartBegun,       Provisioning),
        (Stopped,      StartBegun,       Provisioning),
        (Error,        StartBegun,       Provisioning),
        (Provisioning, StartBegun,       Provisioning),
        (Provisioning, StartFinished,    Running),
        (Provisioning, StartFailed,      Error),
        (Running,      StopFinished,     Stopped),
        (Disconnected, StopFinished,     Stopped),
        (Error,        StopFinished,     Stopped),
        (Provisioning, StopFinished,     Stopped),
        (Running,      HostLost,         Disconnected),
        (Disconnected, HostRegained,     Running),
        (Running,      ContainerLost,    Error),
        (Disconnected, ContainerLost,    Error),
    ]
};

/// The status of an agent (or of what else a request names) does not allow what was requested. The text is for the
/// caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StatusConflict(pub &'static str);

/// `milady_sandboxes.billing_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BillingStatus {
    /// The agent has no debt, and the organization's credit is not low.
    Active,
    /// The agent has no debt, but the organization's credit is low.
    Warning,
    /// The agent has a debt, and its shutdown is scheduled.
    ShutdownPending,
    /// The agent was stopped because of its debt.
    Suspended,
    /// An operator lets the agent run for free: it is never metered, charged, warned about or suspended.
    Exempt,
}

impl BillingStatus {
    /// Parses the database's word. A check constraint of the table allows these five only.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::Active,
            Self::Warning,
            Self::ShutdownPending,
            Self::Suspended,
            Self::Exempt,
        ]
        .into_iter()
        .find(|status| status.as_str() == word)
    }

    /// The database's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Warning => "warning",
            Self::ShutdownPending => "shutdown_pending",
            Self::Suspended => "suspended",
            Self::Exempt => "exempt",
        }
    }
}

impl Serialize for BillingStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
impl AgentStatus {
    pub(crate) const ALL: [Self; 7] = [
        Self::Pending,
        Self::Provisioning,
        Self::Running,
        Self::Stopped,
        Self::Disconnected,
        Self::Error,
        Self::Unknown,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_reverses_as_str() {
        for status in AgentStatus::ALL {
            assert_eq!(AgentStatus::parse(status.as_str()), status);
        }
        assert_eq!(AgentStatus::parse("sleeping"), AgentStatus::Unknown);
    }

    #[test]
    fn each_event_has_one_outcome_per_status_and_unknown_has_no_transition() {
        for (index, (from, event, to)) in TRANSITIONS.iter().enumerate() {
            let is_duplicate = TRANSITIONS[..index]
                .iter()
                .any(|(other_from, other_event, _)| other_from == from && other_event == event);
            assert!(!is_duplicate, "{from:?} {event:?}");
            assert!(*from != AgentStatus::Unknown && *to != AgentStatus::Unknown);
        }
    }

    #[test]
    fn only_a_finished_start_or_a_regained_host_leads_to_running() {
        for (from, event, to) in TRANSITIONS {
            if *to == AgentStatus::Running && from != to {
                assert!(matches!(
                    event,
                    AgentEvent::StartFinished | AgentEvent::HostRegained
                ));
            }
        }
    }

    #[test]
    fn an_event_without_a_transition_is_refused_with_a_reason() {
        for (from, event, reason) in [
            (
                AgentStatus::Running,
                AgentEvent::StartRequested,
                "Agent is already running",
            ),
            (
                AgentStatus::Stopped,
                AgentEvent::PairingRequested,
                "Agent is not running",
            ),
            (
                AgentStatus::Pending,
                AgentEvent::StopRequested,
                "Agent is not running",
            ),
            (
                AgentStatus::Pending,
                AgentEvent::RestoreRequested,
                "Agent has not been started yet",
            ),
            (
                AgentStatus::Provisioning,
                AgentEvent::RestoreRequested,
                "Agent provisioning is in progress",
            ),
            (
                AgentStatus::Disconnected,
                AgentEvent::StartRequested,
                "The agent's host cannot be reached",
            ),
            (
                AgentStatus::Unknown,
                AgentEvent::DeleteRequested,
                "The agent has a status that this version does not know",
            ),
            (
                AgentStatus::Stopped,
                AgentEvent::StartFinished,
                "The agent's status has changed meanwhile",
            ),
        ] {
            assert_eq!(from.after(event), Err(StatusConflict(reason)));
        }
    }
}
