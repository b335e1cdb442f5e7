//! What alerts and incidents are about. Owns: the codes and their texts: each severity has its own (F31).

use serde::{Deserialize, Serialize};

use crate::domain::health::Severity;
use crate::domain::observation::Unread;

/// Nobody misses a host that is disabled and on which no agent is expected.
pub(super) const UNUSED: &str = "The host is disabled and empty, and was not read";

/// What an alert or an incident is about, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "`Code::headline` says what each means")]
pub enum Code {
    // The host was not read.
    Unreachable,
    TimedOut,
    AuthFailed,
    HostKeyMismatch,
    AddressRefused,
    NoKey,
    Protocol,
    ForwardingRefused,
    DockerUnavailable,
    NotInspected,
    // The host was not read for long.
    LastCheck,
    // The host has too much to do.
    Saturation,
    Disk,
    Memory,
    IoPressure,
    Load,
    // Something to clear up.
    Drift,
    Pinned,
    GhostRunning,
    GhostNotRunning,
    SecondContainer,
    // An agent's container; `domain::health` says what each means.
    ContainerFailed,
    ContainerUnknown,
    ContainerMissing,
    ContainerDegraded,
    ContainerStale,
    // The whole fleet.
    NoHosts,
    NoHostRead,
    NoFreeSlot,
    FewFreeSlots,
}

impl Code {
    /// Whether it says that the host's containers are not known in this pass.
    #[must_use]
    pub fn is_down(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::TimedOut
                | Self::AuthFailed
                | Self::HostKeyMismatch
                | Self::AddressRefused
                | Self::NoKey
                | Self::Protocol
                | Self::ForwardingRefused
                | Self::DockerUnavailable
                | Self::NotInspected
        )
    }

    /// Whether at its worst it says that the host takes no more agents.
    #[must_use]
    pub fn is_load(self) -> bool {
        matches!(
            self,
            Self::Saturation | Self::Disk | Self::Memory | Self::IoPressure | Self::Load
        )
    }

    /// What it means, without figures. No two severities that a code has share a text.
    #[must_use]
    pub fn headline(self, severity: Severity) -> &'static str {
        let graded = |critical, other| match severity {
            Severity::Critical => critical,
            Severity::Warning | Severity::Info => other,
        };
        let unread = |why: Unread| match severity {
            Severity::Critical | Severity::Warning => why.sentence(),
            Severity::Info => UNUSED,
        };
        match self {
            Self::Unreachable => unread(Unread::Unreachable),
            Self::TimedOut => unread(Unread::TimedOut),
            Self::AuthFailed => unread(Unread::AuthFailed),
            Self::HostKeyMismatch => unread(Unread::HostKeyMismatch),
            Self::AddressRefused => unread(Unread::AddressRefused),
            Self::NoKey => unread(Unread::NoKey),
            Self::Protocol => unread(Unread::Protocol),
            Self::ForwardingRefused => unread(Unread::ForwardingRefused),
            Self::DockerUnavailable => unread(Unread::DockerUnavailable),
            Self::NotInspected => unread(Unread::Deadline),
            Self::LastCheck => graded(
                "The host was not checked for long",
                "The host's check is late",
            ),
            Self::Saturation => graded("All slots are taken", "Few slots are left"),
            Self::Disk => graded("The disk is almost full", "The disk is filling up"),
            Self::Memory => graded("The memory is almost used up", "The memory is running low"),
            Self::IoPressure => graded("The disk cannot keep up", "The disk is busy"),
            Self::Load => graded("The processors are overloaded", "The processors are busy"),
            Self::Drift => graded(
                "Containers do not match the database",
                "One container does not match the database",
            ),
            Self::Pinned => "The host's key was pinned at its first connection",
            Self::GhostRunning => "A container that nobody claims runs",
            Self::GhostNotRunning => "A container that nobody claims is left over",
            Self::SecondContainer => "An agent has a second container",
            Self::ContainerFailed => "has failed",
            Self::ContainerUnknown => "is not known of",
            Self::ContainerMissing => "is missing",
            Self::ContainerDegraded => "is degraded",
            Self::ContainerStale => graded("is silent", "is silent, its container is healthy"),
            Self::NoHosts => "No host is enabled",
            Self::NoHostRead => "No host was read",
            Self::NoFreeSlot => "No agent can be placed",
            Self::FewFreeSlots => "The fleet is filling up",
        }
    }
}

impl From<Unread> for Code {
    fn from(why: Unread) -> Self {
        match why {
            Unread::Unreachable => Self::Unreachable,
            Unread::TimedOut => Self::TimedOut,
            Unread::AuthFailed => Self::AuthFailed,
            Unread::HostKeyMismatch => Self::HostKeyMismatch,
            Unread::AddressRefused => Self::AddressRefused,
            Unread::NoKey => Self::NoKey,
            Unread::Protocol => Self::Protocol,
            Unread::ForwardingRefused => Self::ForwardingRefused,
            Unread::DockerUnavailable => Self::DockerUnavailable,
            Unread::Deadline | Unread::NotRegistered => Self::NotInspected,
        }
    }
}
