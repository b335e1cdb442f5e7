//! The health of an agent's container. Owns: the verdict on what the database expects against what a run
//! observed, and its reason in plain words. Does not own: observing (`observation`), nor what follows from
//! the verdict.

use chrono::{DateTime, TimeDelta, Utc};

use super::observation::{AgentObservation, ContainerCondition, ContainerState, DockerHealth};
use super::severity::Severity;
use crate::domain::agent::AgentStatus;
use crate::domain::words::words;

/// The limit for a container's first heartbeat, and for the time between two of them. Every refresh run
/// asks for a heartbeat, once a minute: five in a row are missing.
pub const HEARTBEAT_LATE_AFTER: TimeDelta = TimeDelta::minutes(5);
/// A heartbeat of this age no longer counts as a sign of life.
pub const HEARTBEAT_STALE_AFTER: TimeDelta = TimeDelta::minutes(15);

/// Since when an agent is silent: it should run, and its heartbeat is late. `None` if it is not silent, or has never had
/// a heartbeat.
#[must_use]
pub fn silent_since(
    status: AgentStatus,
    last_heartbeat_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let is_late = |at: &DateTime<Utc>| now - *at >= HEARTBEAT_LATE_AFTER;
    last_heartbeat_at.filter(|at| status == AgentStatus::Running && is_late(at))
}

words! {
    pub enum Health {
        /// The container does not recover on its own.
        Failed = "failed",
        /// Nothing is known about the container.
        Unknown = "unknown",
        /// The container does not run, and should not.
        Stopped = "stopped",
        /// The container is being started.
        Warming = "warming",
        /// The container should be on its host and is not.
        Missing = "missing",
        /// The container exists and something is wrong with it.
        Degraded = "degraded",
        /// The container runs and its agent does not answer.
        Stale = "stale",
        Healthy = "healthy",
    }
}

/// What the database says about an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedState {
    pub status: AgentStatus,
    /// Whether the row names a container.
    pub has_container_name: bool,
    /// When the agent's health endpoint last answered, by the database's clock.
    pub last_heartbeat_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub health: Health,
    pub severity: Severity,
    /// Why, in plain words for operators.
    pub reason: String,
}

/// The time since `at`, or zero if a clock that runs ahead puts `at` into the future.
#[must_use]
pub fn age(at: DateTime<Utc>, now: DateTime<Utc>) -> TimeDelta {
    (now - at).max(TimeDelta::zero())
}

/// The verdict at `now`. The order of the rules matters: the first one that applies decides.
#[must_use]
pub fn classify(
    expected: &ExpectedState,
    observation: AgentObservation,
    now: DateTime<Utc>,
) -> Verdict {
    use AgentStatus::{Disconnected, Error, Running, Stopped, Unknown};
    let status = expected.status;
    match (status, observation) {
        (Unknown, _) => unknown("The agent has a status that this version does not know"),
        (Error, _) => critical(Health::Failed, "The agent is in error"),
        (_, AgentObservation::HostNotRead(error))
            if status.expects_container(expected.has_container_name) =>
        {
            unknown(format!("Nothing is known of the container. {error}"))
        }
        (Running | Disconnected, AgentObservation::NoHost) => {
            unknown("Nothing is known of the container. The agent's row names no host")
        }
        (
            _,
            AgentObservation::NoHost
            | AgentObservation::HostNotRead(_)
            | AgentObservation::NoContainer,
        ) => without_container(status),
        (_, AgentObservation::Container(container))
            if container.state == ContainerState::Unknown =>
        {
            unknown("The container is in a state this version does not know")
        }
        (Stopped, AgentObservation::Container(container)) => stopped_agent(container.state),
        (_, AgentObservation::Container(container)) => with_container(expected, container, now),
    }
}

fn without_container(status: AgentStatus) -> Verdict {
    match status {
        AgentStatus::Stopped => info(Health::Stopped, "The agent is stopped"),
        AgentStatus::Pending => info(Health::Warming, "The agent waits to be started"),
        AgentStatus::Provisioning => info(Health::Warming, "The agent gets its container"),
        _ => critical(Health::Missing, "The container is not on its host"),
    }
}

fn stopped_agent(state: ContainerState) -> Verdict {
    match state {
        ContainerState::Running | ContainerState::Restarting | ContainerState::Stopping => warning(
            Health::Degraded,
            "The agent is stopped and its container still runs",
        ),
        _ => info(
            Health::Stopped,
            "The agent is stopped; its container is still on the host and does not run",
        ),
    }
}

fn with_container(
    expected: &ExpectedState,
    container: ContainerCondition,
    now: DateTime<Utc>,
) -> Verdict {
    match container.state {
        ContainerState::Exited => critical(Health::Failed, "The container has exited"),
        ContainerState::Dead => critical(Health::Failed, "The container is dead"),
        ContainerState::Restarting => {
            warning(Health::Degraded, "Docker starts the container again")
        }
        ContainerState::Paused => warning(Health::Degraded, "The container is paused"),
        ContainerState::Stopping => warning(Health::Degraded, "The container is being stopped"),
        ContainerState::Removing => warning(Health::Degraded, "The container is being removed"),
        ContainerState::Created => info(Health::Warming, "The container was not started yet"),
        ContainerState::Running | ContainerState::Unknown => running(expected, container, now),
    }
}

fn running(expected: &ExpectedState, container: ContainerCondition, now: DateTime<Utc>) -> Verdict {
    use AgentStatus::{Disconnected, Pending, Provisioning};
    match (container.health, expected.status) {
        (Some(DockerHealth::Unhealthy), _) => {
            critical(Health::Failed, "Docker reports the container unhealthy")
        }
        (Some(DockerHealth::Starting), _) => {
            info(Health::Warming, "Docker's first health check is under way")
        }
        (_, Pending | Provisioning) => info(Health::Warming, "The agent is starting"),
        (_, Disconnected) => warning(
            Health::Degraded,
            "The agent is marked disconnected and its container runs",
        ),
        _ => match expected.last_heartbeat_at {
            None => without_heartbeat(age(container.created_at, now)),
            Some(at) => with_heartbeat(age(at, now), container.health),
        },
    }
}

fn without_heartbeat(container_age: TimeDelta) -> Verdict {
    if container_age < HEARTBEAT_LATE_AFTER {
        return info(Health::Warming, "The first heartbeat is awaited");
    }
    let minutes = container_age.num_minutes();
    warning(
        Health::Degraded,
        format!("There was no heartbeat in the container's {minutes} minutes"),
    )
}

fn with_heartbeat(heartbeat_age: TimeDelta, health: Option<DockerHealth>) -> Verdict {
    let minutes = heartbeat_age.num_minutes();
    if heartbeat_age >= HEARTBEAT_STALE_AFTER && health == Some(DockerHealth::Healthy) {
        warning(
            Health::Stale,
            format!("No heartbeat for {minutes} minutes; Docker reports the container healthy"),
        )
    } else if heartbeat_age >= HEARTBEAT_STALE_AFTER {
        critical(
            Health::Stale,
            format!("No heartbeat for {minutes} minutes, and no other sign of life"),
        )
    } else if heartbeat_age >= HEARTBEAT_LATE_AFTER {
        warning(
            Health::Degraded,
            format!("The last heartbeat is {minutes} minutes old"),
        )
    } else {
        info(Health::Healthy, "The agent answers")
    }
}

fn critical(health: Health, reason: impl Into<String>) -> Verdict {
    verdict(health, Severity::Critical, reason)
}

fn warning(health: Health, reason: impl Into<String>) -> Verdict {
    verdict(health, Severity::Warning, reason)
}

fn info(health: Health, reason: impl Into<String>) -> Verdict {
    verdict(health, Severity::Info, reason)
}

fn unknown(reason: impl Into<String>) -> Verdict {
    warning(Health::Unknown, reason)
}

fn verdict(health: Health, severity: Severity, reason: impl Into<String>) -> Verdict {
    Verdict {
        health,
        severity,
        reason: reason.into(),
    }
}

#[cfg(test)]
mod cases;
