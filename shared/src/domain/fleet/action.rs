//! What operators can do to a container. Owns: the actions, and when each is refused, so that no container
//! runs unbilled, no agent is billed for a stopped container, and no agent loses its container (F26). Does
//! not own: carrying them out (`app::container`).

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::observation::{ContainerObservation, DockerHealth};
use crate::domain::agent::{AgentStatus, BillingStatus, StatusConflict};
use crate::domain::container::ResourceLimits;
use crate::domain::timestamp::Timestamp;
use crate::domain::words::words;

/// An unclaimed container can be removed once it is older than this. A younger one may be in the hands of a
/// job that is just creating it.
const UNCLAIMED_REMOVABLE_AFTER: TimeDelta = TimeDelta::minutes(15);

words! {
    /// In the order of the API's documentation.
    pub enum ContainerAction {
        Logs = "logs",
        Restart = "restart",
        Stop = "stop",
        Start = "start",
        Inspect = "inspect",
        /// Pulls the image of the container's agent.
        PullImage = "pull-image",
        /// Removes a container that no row claims.
        RemoveGhost = "remove-ghost",
    }
}

/// What the database says about a container and its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerContext {
    /// Whether an agent's row claims the container.
    pub is_claimed: bool,
    /// The status of the agent that claims the container or that its label names; `None` if there is no
    /// such agent.
    pub status: Option<AgentStatus>,
    /// Whether somebody asked that agent to stop.
    pub stop_requested: bool,
    pub billing: Option<BillingStatus>,
    /// Whether a job for that agent is waiting or running.
    pub has_active_job: bool,
}

impl ContainerAction {
    #[must_use]
    pub fn is_read_only(self) -> bool {
        matches!(self, Self::Logs | Self::Inspect)
    }

    /// Checks whether the action is allowed now. `age` is the container's age by its host's clock; only
    /// removal needs it. The error is the text for the operator.
    pub fn check_allowed(
        self,
        context: ContainerContext,
        age: Option<TimeDelta>,
    ) -> Result<(), StatusConflict> {
        let busy = "A job is under way for this container's agent";
        let refusals: &[(bool, &'static str)] = match self {
            Self::Logs | Self::Inspect => &[],
            Self::PullImage => &[(
                context.status.is_none(),
                "No agent is known for this container",
            )],
            Self::Start | Self::Restart => &[
                (
                    !context.is_claimed,
                    "No agent's row claims this container: nobody would pay for it",
                ),
                (context.has_active_job, busy),
                (
                    !context.is_billed_or_exempt(),
                    "The agent is not charged for running: resume it instead",
                ),
            ],
            Self::Stop => &[
                (context.has_active_job, busy),
                (
                    context.is_claimed && !context.is_at_rest(),
                    "The agent would still be charged: suspend it instead",
                ),
            ],
            Self::RemoveGhost => &[
                (context.is_claimed, "An agent's row claims this container"),
                (context.has_active_job, busy),
                (
                    age.is_none_or(|age| age <= UNCLAIMED_REMOVABLE_AFTER),
                    "The container is not older than 15 minutes",
                ),
            ],
        };
        let refusal = refusals.iter().find(|(applies, _)| *applies);
        refusal.map_or(Ok(()), |(_, reason)| Err(StatusConflict(reason)))
    }
}

impl ContainerContext {
    /// Whether the agent runs and is either charged for it or exempt. A disconnected agent is not charged: its
    /// host was not read.
    fn is_billed_or_exempt(self) -> bool {
        self.status == Some(AgentStatus::Running)
            && !self.stop_requested
            && self
                .billing
                .is_some_and(|billing| billing != BillingStatus::Suspended)
    }

    /// Whether the agent's row says that it neither runs nor is being started.
    fn is_at_rest(self) -> bool {
        use AgentStatus::{Error, Pending, Stopped};
        matches!(self.status, Some(Stopped | Pending | Error))
    }
}

/// The result of [`ContainerAction::Inspect`]: no environment, no directory of the host, no label of other
/// software.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerDetail {
    pub id: String,
    pub name: String,
    pub image: String,
    /// Docker's word for the state.
    pub state: String,
    /// Docker's status text.
    pub status: String,
    /// `None` if the container has no health check.
    pub health: Option<DockerHealth>,
    /// By the host's clock.
    pub created_at: Timestamp,
    /// How often Docker restarted the container by its restart policy.
    pub restart_count: i64,
    pub limits: ResourceLimits,
}

impl ContainerDetail {
    #[must_use]
    pub fn of(container: ContainerObservation, restart_count: i64, limits: ResourceLimits) -> Self {
        Self {
            health: container.health(),
            id: container.id,
            name: container.name,
            image: container.image,
            state: container.state,
            status: container.status,
            created_at: Timestamp(container.created_at),
            restart_count,
            limits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Option<TimeDelta> = Some(TimeDelta::hours(1));

    /// A container that a running, paying agent claims.
    fn billed() -> ContainerContext {
        ContainerContext {
            is_claimed: true,
            status: Some(AgentStatus::Running),
            stop_requested: false,
            billing: Some(BillingStatus::Active),
            has_active_job: false,
        }
    }

    fn is_allowed(action: ContainerAction, context: ContainerContext) -> bool {
        action.check_allowed(context, OLD).is_ok()
    }

    #[test]
    fn every_action_parses_from_its_own_word() {
        for action in ContainerAction::ALL.iter().copied() {
            assert_eq!(ContainerAction::parse(action.as_str()), Some(action));
            assert_eq!(
                serde_json::json!(action),
                serde_json::json!(action.as_str())
            );
        }
        for word in ["", "LOGS", "remove", "exec", "logs "] {
            assert_eq!(ContainerAction::parse(word), None, "{word}");
        }
    }

    #[test]
    fn start_and_restart_need_a_claimed_container_of_an_agent_that_is_billed() {
        for action in [ContainerAction::Start, ContainerAction::Restart] {
            assert!(is_allowed(action, billed()));
            let unclaimed = ContainerContext {
                is_claimed: false,
                ..billed()
            };
            let stopping = ContainerContext {
                stop_requested: true,
                ..billed()
            };
            let busy = ContainerContext {
                has_active_job: true,
                ..billed()
            };
            for context in [unclaimed, stopping, busy] {
                assert!(!is_allowed(action, context), "{action:?} {context:?}");
            }
            for status in AgentStatus::ALL.iter().copied() {
                let status = Some(status);
                let context = ContainerContext { status, ..billed() };
                let runs = status == Some(AgentStatus::Running);
                assert_eq!(is_allowed(action, context), runs, "{action:?} {status:?}");
            }
            for (billing, allowed) in [
                (Some(BillingStatus::Active), true),
                (Some(BillingStatus::Warning), true),
                (Some(BillingStatus::ShutdownPending), true),
                (Some(BillingStatus::Exempt), true),
                (Some(BillingStatus::Suspended), false),
                (None, false),
            ] {
                let context = ContainerContext {
                    billing,
                    ..billed()
                };
                assert_eq!(
                    is_allowed(action, context),
                    allowed,
                    "{action:?} {billing:?}"
                );
            }
        }
    }

    #[test]
    fn stop_is_refused_while_the_agent_is_billed() {
        for status in AgentStatus::ALL.iter().copied() {
            let status = Some(status);
            let claimed = ContainerContext { status, ..billed() };
            let at_rest = [
                AgentStatus::Stopped,
                AgentStatus::Pending,
                AgentStatus::Error,
            ];
            let at_rest = status.is_some_and(|status| at_rest.contains(&status));
            assert_eq!(
                is_allowed(ContainerAction::Stop, claimed),
                at_rest,
                "{status:?}"
            );
            // The container of an agent that lives on another host.
            let unclaimed = ContainerContext {
                is_claimed: false,
                ..claimed
            };
            assert!(is_allowed(ContainerAction::Stop, unclaimed), "{status:?}");
            let busy = ContainerContext {
                has_active_job: true,
                ..unclaimed
            };
            assert!(!is_allowed(ContainerAction::Stop, busy), "{status:?}");
        }
    }

    #[test]
    fn remove_ghost_needs_an_old_unclaimed_container_without_active_job() {
        let unclaimed = ContainerContext {
            is_claimed: false,
            status: None,
            billing: None,
            ..billed()
        };
        let second = TimeDelta::seconds(1);
        for (age, allowed) in [
            (None, false),
            (Some(-second), false),
            (Some(TimeDelta::zero()), false),
            (Some(UNCLAIMED_REMOVABLE_AFTER - second), false),
            (Some(UNCLAIMED_REMOVABLE_AFTER), false),
            (Some(UNCLAIMED_REMOVABLE_AFTER + second), true),
        ] {
            let result = ContainerAction::RemoveGhost.check_allowed(unclaimed, age);
            assert_eq!(result.is_ok(), allowed, "{age:?}");
        }
        for status in AgentStatus::ALL.iter().copied().map(Some) {
            let unclaimed = ContainerContext {
                is_claimed: false,
                status,
                ..billed()
            };
            assert!(
                is_allowed(ContainerAction::RemoveGhost, unclaimed),
                "{status:?}"
            );
            let busy = ContainerContext {
                has_active_job: true,
                ..unclaimed
            };
            assert!(
                !is_allowed(ContainerAction::RemoveGhost, busy),
                "{status:?}"
            );
            // No status of the agent allows removing a claimed container.
            let claimed = ContainerContext { status, ..billed() };
            assert!(
                !is_allowed(ContainerAction::RemoveGhost, claimed),
                "{status:?}"
            );
        }
    }

    #[test]
    fn reading_is_always_allowed_and_pulling_needs_an_agent() {
        let nobody = ContainerContext {
            is_claimed: false,
            status: None,
            billing: None,
            has_active_job: true,
            ..billed()
        };
        assert!(
            is_allowed(ContainerAction::Logs, nobody)
                && is_allowed(ContainerAction::Inspect, nobody)
        );
        assert!(!is_allowed(ContainerAction::PullImage, nobody));
        assert!(is_allowed(ContainerAction::PullImage, billed()));
        let read_only = ContainerAction::ALL
            .iter()
            .copied()
            .filter(|action| action.is_read_only());
        assert_eq!(
            read_only.collect::<Vec<_>>(),
            [ContainerAction::Logs, ContainerAction::Inspect]
        );
    }
}
