//! An agent's life as the database records it. Owns: the status words and what they imply.

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
