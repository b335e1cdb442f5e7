//! An agent's life as the database records it. Owns: the status words, and which may follow which.

use serde::{Serialize, Serializer};

/// `milady_sandboxes.status`. A word this version does not know is `Unknown` and never acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the database's own words")]
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
    /// Reads the database's word.
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

    /// The database's word; `unknown` stands for any that this version does not know.
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

    /// The status after this, if the table allows it.
    ///
    /// # Errors
    /// [`NotNow`] with the reason, for whoever asked.
    pub fn after(self, change: Change) -> Result<Self, NotNow> {
        TRANSITIONS
            .iter()
            .find(|(from, what, _)| *from == self && *what == change)
            .map(|(_, _, to)| *to)
            .ok_or_else(|| self.refusal(change))
    }

    fn refusal(self, change: Change) -> NotNow {
        NotNow(match (self, change) {
            (Self::Unknown, _) => "Agent is in a state this version does not know",
            (Self::Provisioning, _) => "Agent provisioning is in progress",
            (Self::Running, Change::AskStart) => "Agent is already running",
            (Self::Disconnected, Change::AskStart | Change::AskRestore) => {
                "The agent's host cannot be reached"
            }
            (Self::Pending, Change::AskRestore) => "Agent has not been started yet",
            (_, Change::AskStop | Change::AskPairing) => "Agent is not running",
            _ => "Agent is in another state by now",
        })
    }

    /// Whether there is, or may be, a container to stop. `recorded`: the row names a container on a
    /// node. An agent in error may have left one behind.
    #[must_use]
    pub fn expects_container(self, recorded: bool) -> bool {
        match self {
            Self::Running | Self::Provisioning | Self::Disconnected => true,
            Self::Error => recorded,
            Self::Pending | Self::Stopped | Self::Unknown => false,
        }
    }
}

impl Serialize for AgentStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What can happen to an agent: what its owner asks for, what a job does, what an inspection sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The owner asks for a start (provision, resume).
    AskStart,
    /// The owner asks for an earlier state.
    AskRestore,
    /// The owner asks for a stop (suspend).
    AskStop,
    /// The owner asks for its deletion.
    AskDelete,
    /// The owner asks for a pairing token.
    AskPairing,
    /// A job begins to start it.
    BeginStart,
    /// Its container runs.
    FinishStart,
    /// The start job gave up.
    FailStart,
    /// Its container is gone because it was asked to stop.
    FinishStop,
    /// Its host could not be read twice running.
    LoseHost,
    /// Its host is read again.
    RegainHost,
    /// Its container was seen gone twice running.
    LoseContainer,
}

/// Every transition there is. What an owner asks for is carried out by a job, so asking leaves the
/// status as it is. A start that nobody works on any more (`Provisioning` without a job) can be asked
/// for again, stopped and deleted.
#[rustfmt::skip]
const TRANSITIONS: &[(AgentStatus, Change, AgentStatus)] = {
    use AgentStatus::{Disconnected, Error, Pending, Provisioning, Running, Stopped};
    use Change::{
        AskDelete, AskPairing, AskRestore, AskStart, AskStop, BeginStart, FailStart, FinishStart,
        FinishStop, LoseContainer, LoseHost, RegainHost,
    };
    &[
        (Pending,      AskStart,      Pending),
        (Stopped,      AskStart,      Stopped),
        (Error,        AskStart,      Error),
        (Provisioning, AskStart,      Provisioning),
        (Running,      AskRestore,    Running),
        (Stopped,      AskRestore,    Stopped),
        (Error,        AskRestore,    Error),
        (Running,      AskStop,       Running),
        (Disconnected, AskStop,       Disconnected),
        (Error,        AskStop,       Error),
        (Provisioning, AskStop,       Provisioning),
        (Pending,      AskDelete,     Pending),
        (Provisioning, AskDelete,     Provisioning),
        (Running,      AskDelete,     Running),
        (Stopped,      AskDelete,     Stopped),
        (Disconnected, AskDelete,     Disconnected),
        (Error,        AskDelete,     Error),
        (Running,      AskPairing,    Running),
        (Pending,      BeginStart,    Provisioning),
        (Stopped,      BeginStart,    Provisioning),
        (Error,        BeginStart,    Provisioning),
        (Provisioning, BeginStart,    Provisioning),
        (Provisioning, FinishStart,   Running),
        (Provisioning, FailStart,     Error),
        (Running,      FinishStop,    Stopped),
        (Disconnected, FinishStop,    Stopped),
        (Error,        FinishStop,    Stopped),
        (Provisioning, FinishStop,    Stopped),
        (Running,      LoseHost,      Disconnected),
        (Disconnected, RegainHost,    Running),
        (Running,      LoseContainer, Error),
        (Disconnected, LoseContainer, Error),
    ]
};

/// The table does not allow it; the text is for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotNow(pub &'static str);

/// `milady_sandboxes.billing_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BillingStatus {
    /// Nothing is owed and credit is not low.
    Active,
    /// Nothing is owed by this agent; the organization's credit is low.
    Warning,
    /// Something is owed; a shutdown is scheduled.
    ShutdownPending,
    /// Stopped for debt.
    Suspended,
    /// An operator's gift: never metered, charged, warned or suspended.
    Exempt,
}

impl BillingStatus {
    /// Reads the database's word; none but these five can stand there.
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
mod tests {
    use super::*;

    const ALL: [AgentStatus; 7] = [
        AgentStatus::Pending,
        AgentStatus::Provisioning,
        AgentStatus::Running,
        AgentStatus::Stopped,
        AgentStatus::Disconnected,
        AgentStatus::Error,
        AgentStatus::Unknown,
    ];

    #[test]
    fn the_words_are_read_as_they_are_written() {
        for status in ALL {
            assert_eq!(AgentStatus::parse(status.as_str()), status);
        }
        assert_eq!(AgentStatus::parse("sleeping"), AgentStatus::Unknown);
    }

    #[test]
    fn a_change_has_one_outcome_and_nothing_leads_from_or_to_the_unknown() {
        for (at, (from, change, to)) in TRANSITIONS.iter().enumerate() {
            let twice = TRANSITIONS[..at]
                .iter()
                .any(|(other, what, _)| other == from && what == change);
            assert!(!twice, "{from:?} {change:?}");
            assert!(*from != AgentStatus::Unknown && *to != AgentStatus::Unknown);
        }
    }

    #[test]
    fn running_comes_only_from_a_finished_start_or_a_host_that_is_back() {
        for (from, change, to) in TRANSITIONS {
            if *to == AgentStatus::Running && from != to {
                assert!(matches!(change, Change::FinishStart | Change::RegainHost));
            }
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_refused_with_a_reason() {
        for (from, change, reason) in [
            (
                AgentStatus::Running,
                Change::AskStart,
                "Agent is already running",
            ),
            (
                AgentStatus::Stopped,
                Change::AskPairing,
                "Agent is not running",
            ),
            (
                AgentStatus::Pending,
                Change::AskStop,
                "Agent is not running",
            ),
            (
                AgentStatus::Pending,
                Change::AskRestore,
                "Agent has not been started yet",
            ),
            (
                AgentStatus::Provisioning,
                Change::AskRestore,
                "Agent provisioning is in progress",
            ),
            (
                AgentStatus::Disconnected,
                Change::AskStart,
                "The agent's host cannot be reached",
            ),
            (
                AgentStatus::Unknown,
                Change::AskDelete,
                "Agent is in a state this version does not know",
            ),
            (
                AgentStatus::Stopped,
                Change::FinishStart,
                "Agent is in another state by now",
            ),
        ] {
            assert_eq!(from.after(change), Err(NotNow(reason)));
        }
    }
}
