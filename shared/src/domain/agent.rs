//! The statuses of an agent. Owns: the database's words for them, and which event leads from which status to which.
//! Does not own: when an event happens (`app`, `domain::fleet`).

use super::words::words;

words! {
    /// `milady_sandboxes.status`. `Unknown` stands for a word of a newer version; nothing is done to such an agent.
    pub enum AgentStatus {
        Pending = "pending",
        Provisioning = "provisioning",
        Running = "running",
        Stopped = "stopped",
        Disconnected = "disconnected",
        Error = "error",
        Unknown = "unknown",
    }
}

impl AgentStatus {
    /// Parses the database's word.
    #[must_use]
    pub fn parse_or_unknown(word: &str) -> Self {
        Self::parse(word).unwrap_or(Self::Unknown)
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
    /// An operator declared the agent's host lost.
    HostDeclaredLost,
}

/// All transitions. Jobs carry out what an owner requests, so a request alone leaves the status as it is. A start
/// whose job is gone (`Provisioning` without a job) can be requested again, stopped and deleted.
#[rustfmt::skip]
const TRANSITIONS: &[(AgentStatus, AgentEvent, AgentStatus)] = {
    use AgentStatus::{Disconnected, Error, Pending, Provisioning, Running, Stopped};
    use AgentEvent::{
        ContainerLost, DeleteRequested, HostDeclaredLost, HostLost, HostRegained, PairingRequested,
        RestoreRequested, StartBegun, StartFailed, StartFinished, StartRequested, StopFinished,
        StopRequested,
    };
    &[
        (Pending,      StartRequested,   Pending),
        (Stopped,      StartRequested,   Stopped),
        (Error,        StartRequested,   Error),
        (Provisioning, StartRequested,   Provisioning),
        (Running,      RestoreRequested, Running),
        (Stopped,      RestoreRequested, Stopped),
        (Error,        RestoreRequested, Error),
        (Pending,      StopRequested,    Pending),
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
        (Pending,      StopFinished,     Stopped),
        (Running,      StopFinished,     Stopped),
        (Disconnected, StopFinished,     Stopped),
        (Error,        StopFinished,     Stopped),
        (Provisioning, StopFinished,     Stopped),
        (Running,      HostLost,         Disconnected),
        (Disconnected, HostRegained,     Running),
        (Running,      ContainerLost,    Error),
        (Disconnected, ContainerLost,    Error),
        (Pending,      HostDeclaredLost, Pending),
        (Provisioning, HostDeclaredLost, Stopped),
        (Running,      HostDeclaredLost, Stopped),
        (Disconnected, HostDeclaredLost, Stopped),
        (Stopped,      HostDeclaredLost, Stopped),
        (Error,        HostDeclaredLost, Error),
    ]
};

/// The status of an agent (or of what else a request names) does not allow what was requested. The text is for the
/// caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StatusConflict(pub &'static str);

words! {
    /// `milady_sandboxes.database_status`. `Unknown` stands for a word of a newer version.
    pub enum DatabaseStatus {
        None = "none",
        Provisioning = "provisioning",
        Ready = "ready",
        Error = "error",
        Unknown = "unknown",
    }
}

words! {
    /// `milady_sandboxes.billing_status`. A check constraint of the table allows these words only.
    pub enum BillingStatus {
        /// The agent has no debt, and the organization's credit is not low.
        Active = "active",
        /// The agent has no debt, but the organization's credit is low.
        Warning = "warning",
        /// The agent has a debt, and its shutdown is scheduled.
        ShutdownPending = "shutdown_pending",
        /// The agent was stopped because of its debt.
        Suspended = "suspended",
        /// An operator lets the agent run for free: it is never metered, charged, warned about or suspended.
        Exempt = "exempt",
    }
}

words! {
    /// `milady_sandboxes.stop_reason`: who stopped the agent, or what did. Null if nobody did, or another application. A
    /// start clears it.
    pub enum StopReason {
        Owner = "owner",
        /// Billing stopped the agent because of its debt. It is started again after a top-up.
        Billing = "billing",
        /// The agent exceeded a limit.
        Limit = "limit",
        Operator = "operator",
        /// The agent is moved to another host, or restarted with another image: it is started again.
        Drain = "drain",
        /// The agent's start failed, or its container or its host was lost.
        Failure = "failure",
    }
}

/// Who stops an agent, or what does, and what its owner is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopCause<'a> {
    pub reason: StopReason,
    /// What an operator wrote for the owner.
    pub note: Option<&'a str>,
}

impl From<StopReason> for StopCause<'static> {
    fn from(reason: StopReason) -> Self {
        Self { reason, note: None }
    }
}

impl BillingStatus {
    /// The status after an operator said whether the agent is exempt.
    #[must_use]
    pub fn exempted(self, exempt: bool) -> Self {
        match (exempt, self) {
            (true, _) => Self::Exempt,
            (false, Self::Exempt) => Self::Active,
            (false, other) => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_reverses_as_str() {
        for status in AgentStatus::ALL.iter().copied() {
            assert_eq!(AgentStatus::parse_or_unknown(status.as_str()), status);
        }
        assert_eq!(
            AgentStatus::parse_or_unknown("sleeping"),
            AgentStatus::Unknown
        );
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
    fn a_container_is_expected_by_the_status_or_for_a_failed_agent_by_the_row() {
        for (status, when_recorded, otherwise) in [
            (AgentStatus::Pending, false, false),
            (AgentStatus::Provisioning, true, true),
            (AgentStatus::Running, true, true),
            (AgentStatus::Stopped, false, false),
            (AgentStatus::Disconnected, true, true),
            (AgentStatus::Error, true, false),
            (AgentStatus::Unknown, false, false),
        ] {
            let expected = [true, false].map(|recorded| status.expects_container(recorded));
            assert_eq!(expected, [when_recorded, otherwise], "{status:?}");
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
                AgentStatus::Stopped,
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
