//! What operators may do with a container. Owns: the actions, and when each is refused: that nothing runs
//! which nobody is charged for, that nobody is charged for what does not run, and that no agent loses its
//! container (F26). Does not own: doing them.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::domain::agent::{AgentStatus, BillingStatus, NotNow};

/// A ghost must be older than this to be removed: what a job makes at this moment is younger.
pub const GHOST_AGE: TimeDelta = TimeDelta::minutes(15);

/// What can be done with a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Read what it wrote.
    Logs,
    /// Stop it and start it again.
    Restart,
    /// Stop it.
    Stop,
    /// Start it.
    Start,
    /// See it close up.
    Inspect,
    /// Pull its agent's image.
    PullImage,
    /// Remove it, for it is nobody's.
    RemoveGhost,
}

/// What the database knows of a container and of the agent it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// An agent's row claims it.
    pub claimed: bool,
    /// Where that agent is in its life, or the one that the container says it is of; none if there is no
    /// such agent.
    pub status: Option<AgentStatus>,
    /// Somebody has asked that agent to stop.
    pub stop_requested: bool,
    /// Its standing with billing.
    pub billing: Option<BillingStatus>,
    /// A job is under way for it.
    pub busy: bool,
}

impl Act {
    /// All of them, in the order of the API.
    pub const ALL: [Self; 7] = [
        Self::Logs,
        Self::Restart,
        Self::Stop,
        Self::Start,
        Self::Inspect,
        Self::PullImage,
        Self::RemoveGhost,
    ];

    /// Reads the API's word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|act| act.as_str() == word)
    }

    /// The API's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Inspect => "inspect",
            Self::PullImage => "pull-image",
            Self::RemoveGhost => "remove-ghost",
        }
    }

    /// Whether it only looks.
    #[must_use]
    pub fn is_look(self) -> bool {
        matches!(self, Self::Logs | Self::Inspect)
    }

    /// Whether it may be done now. `age`: the container's, by its host's clock, where that counts.
    ///
    /// # Errors
    /// Why not, for whoever asked.
    pub fn permitted(self, standing: Standing, age: Option<TimeDelta>) -> Result<(), NotNow> {
        let busy = "A job is under way for this container's agent";
        let refusals: &[(bool, &'static str)] = match self {
            Self::Logs | Self::Inspect => &[],
            Self::PullImage => &[(
                standing.status.is_none(),
                "No agent of this container is known",
            )],
            Self::Start | Self::Restart => &[
                (
                    !standing.claimed,
                    "No agent's row claims this container: nobody would pay for it",
                ),
                (standing.busy, busy),
                (
                    !standing.may_run(),
                    "The agent is not charged for running: resume it instead",
                ),
            ],
            Self::Stop => &[
                (standing.busy, busy),
                (
                    standing.claimed && !standing.is_still(),
                    "The agent would be charged on: suspend it instead",
                ),
            ],
            Self::RemoveGhost => &[
                (standing.claimed, "An agent's row claims this container"),
                (standing.busy, busy),
                (
                    age.is_none_or(|age| age <= GHOST_AGE),
                    "The container is not older than 15 minutes",
                ),
            ],
        };
        let refusal = refusals.iter().find(|(applies, _)| *applies);
        refusal.map_or(Ok(()), |(_, why)| Err(NotNow(why)))
    }
}

impl Standing {
    /// The agent is charged for running, or has it as a gift. One that is marked disconnected is not: its
    /// host was not read, and what runs there is not charged until it is.
    fn may_run(self) -> bool {
        self.status == Some(AgentStatus::Running)
            && !self.stop_requested
            && self
                .billing
                .is_some_and(|billing| billing != BillingStatus::Suspended)
    }

    /// The agent's row does not say that it runs, nor that it soon will.
    fn is_still(self) -> bool {
        use AgentStatus::{Error, Pending, Stopped};
        matches!(self.status, Some(Stopped | Pending | Error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUSES: [AgentStatus; 7] = [
        AgentStatus::Pending,
        AgentStatus::Provisioning,
        AgentStatus::Running,
        AgentStatus::Stopped,
        AgentStatus::Disconnected,
        AgentStatus::Error,
        AgentStatus::Unknown,
    ];
    const OLD: Option<TimeDelta> = Some(TimeDelta::hours(1));

    /// A container that an agent which runs and pays claims.
    fn paid() -> Standing {
        Standing {
            claimed: true,
            status: Some(AgentStatus::Running),
            stop_requested: false,
            billing: Some(BillingStatus::Active),
            busy: false,
        }
    }

    fn may(act: Act, standing: Standing) -> bool {
        act.permitted(standing, OLD).is_ok()
    }

    #[test]
    fn every_word_is_read_as_it_is_written() {
        for act in Act::ALL {
            assert_eq!(Act::parse(act.as_str()), Some(act));
            assert_eq!(serde_json::json!(act), serde_json::json!(act.as_str()));
        }
        for word in ["", "LOGS", "remove", "exec", "logs "] {
            assert_eq!(Act::parse(word), None, "{word}");
        }
    }

    #[test]
    fn nothing_is_started_that_nobody_is_charged_for() {
        for act in [Act::Start, Act::Restart] {
            assert!(may(act, paid()));
            let unclaimed = Standing {
                claimed: false,
                ..paid()
            };
            let stopping = Standing {
                stop_requested: true,
                ..paid()
            };
            let busy = Standing {
                busy: true,
                ..paid()
            };
            for standing in [unclaimed, stopping, busy] {
                assert!(!may(act, standing), "{act:?} {standing:?}");
            }
            for status in STATUSES {
                let status = Some(status);
                let standing = Standing { status, ..paid() };
                let runs = status == Some(AgentStatus::Running);
                assert_eq!(may(act, standing), runs, "{act:?} {status:?}");
            }
            for (billing, allowed) in [
                (Some(BillingStatus::Active), true),
                (Some(BillingStatus::Warning), true),
                (Some(BillingStatus::ShutdownPending), true),
                (Some(BillingStatus::Exempt), true),
                (Some(BillingStatus::Suspended), false),
                (None, false),
            ] {
                let standing = Standing { billing, ..paid() };
                assert_eq!(may(act, standing), allowed, "{act:?} {billing:?}");
            }
        }
    }

    #[test]
    fn nothing_is_stopped_that_somebody_is_charged_for() {
        for status in STATUSES {
            let status = Some(status);
            let claimed = Standing { status, ..paid() };
            let still = [
                AgentStatus::Stopped,
                AgentStatus::Pending,
                AgentStatus::Error,
            ];
            let still = status.is_some_and(|status| still.contains(&status));
            assert_eq!(may(Act::Stop, claimed), still, "{status:?}");
            // Its agent lives elsewhere.
            let unclaimed = Standing {
                claimed: false,
                ..claimed
            };
            assert!(may(Act::Stop, unclaimed), "{status:?}");
            let busy = Standing {
                busy: true,
                ..unclaimed
            };
            assert!(!may(Act::Stop, busy), "{status:?}");
        }
    }

    #[test]
    fn a_ghost_is_removed_only_if_it_is_old_and_nobodys_and_nobody_works_on_its_agent() {
        let ghost = Standing {
            claimed: false,
            status: None,
            billing: None,
            ..paid()
        };
        let second = TimeDelta::seconds(1);
        for (age, allowed) in [
            (None, false),
            (Some(-second), false),
            (Some(TimeDelta::zero()), false),
            (Some(GHOST_AGE - second), false),
            (Some(GHOST_AGE), false),
            (Some(GHOST_AGE + second), true),
        ] {
            let permitted = Act::RemoveGhost.permitted(ghost, age);
            assert_eq!(permitted.is_ok(), allowed, "{age:?}");
        }
        for status in STATUSES.map(Some) {
            let elsewhere = Standing {
                claimed: false,
                status,
                ..paid()
            };
            assert!(may(Act::RemoveGhost, elsewhere), "{status:?}");
            let busy = Standing {
                busy: true,
                ..elsewhere
            };
            assert!(!may(Act::RemoveGhost, busy), "{status:?}");
            // Whatever state it is in: what a row claims is left alone.
            let claimed = Standing { status, ..paid() };
            assert!(!may(Act::RemoveGhost, claimed), "{status:?}");
        }
    }

    #[test]
    fn looking_is_always_allowed_and_an_image_is_pulled_for_an_agent_only() {
        let nobody = Standing {
            claimed: false,
            status: None,
            billing: None,
            busy: true,
            ..paid()
        };
        assert!(may(Act::Logs, nobody) && may(Act::Inspect, nobody));
        assert!(!may(Act::PullImage, nobody));
        assert!(may(Act::PullImage, paid()));
        let looks = Act::ALL.into_iter().filter(|act| act.is_look());
        assert_eq!(looks.collect::<Vec<_>>(), [Act::Logs, Act::Inspect]);
    }
}
