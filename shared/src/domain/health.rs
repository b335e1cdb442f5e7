//! How an agent's container fares. Owns: the verdict on what the database expects against what was seen,
//! and its reason. Does not own: what was seen (`observation`), nor what is done about it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::agent::AgentStatus;
use super::observation::{ContainerState, DockerHealth, Observation, Seen};

/// A container may take this long until its first heartbeat, and a heartbeat may be this old.
pub const LATE_AFTER: TimeDelta = TimeDelta::minutes(5);
/// From this age on, a heartbeat no longer says anything.
pub const STALE_AFTER: TimeDelta = TimeDelta::minutes(15);

/// How a container fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It will not recover on its own.
    Failed,
    /// Nothing is known of it.
    Unknown,
    /// It does not run, and should not.
    Stopped,
    /// It is being started.
    Warming,
    /// It should be there and is not.
    Missing,
    /// It is there and something is wrong.
    Degraded,
    /// It runs, and its agent has been silent for too long.
    Stale,
    /// It is as it should be.
    Healthy,
}

/// How much it matters. The worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Somebody has to do something now.
    Critical,
    /// Somebody should look.
    Warning,
    /// Good to know.
    Info,
}

/// What the database says of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Where it is in its life.
    pub status: AgentStatus,
    /// The row names a container.
    pub recorded: bool,
    /// When its health endpoint last answered, by our clock.
    pub last_heartbeat_at: Option<DateTime<Utc>>,
}

/// What is thought of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How it fares.
    pub health: Health,
    /// How much that matters.
    pub severity: Severity,
    /// Why, in plain words.
    pub reason: String,
}

/// The age of what happened at `at`. What a clock that runs ahead puts into the future is new.
#[must_use]
pub fn age(at: DateTime<Utc>, now: DateTime<Utc>) -> TimeDelta {
    (now - at).max(TimeDelta::zero())
}

/// The verdict at `now`. The rules are tried in their order; the first that applies decides. A status
/// this version does not know is not judged by any of them.
#[must_use]
pub fn classify(expected: &Expected, observation: Observation, now: DateTime<Utc>) -> Verdict {
    use AgentStatus::{Disconnected, Error, Running, Stopped, Unknown};
    let status = expected.status;
    match (status, observation) {
        (Unknown, _) => unknown("The agent is in a state this version does not know"),
        (Error, _) => critical(Health::Failed, "The agent is in error"),
        (_, Observation::NotRead(why)) if status.expects_container(expected.recorded) => unknown(
            format!("Nothing is known of the container. {}", why.sentence()),
        ),
        (Running | Disconnected, Observation::NoHost) => {
            unknown("Nothing is known of the container. The agent's row names no host")
        }
        (_, Observation::NoHost | Observation::NotRead(_) | Observation::Read(None)) => {
            without_container(status)
        }
        (_, Observation::Read(Some(seen))) if seen.state == ContainerState::Unknown => {
            unknown("The container is in a state this version does not know")
        }
        (Stopped, Observation::Read(Some(seen))) => stopped(seen.state),
        (_, Observation::Read(Some(seen))) => with_container(expected, seen, now),
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

fn stopped(state: ContainerState) -> Verdict {
    match state {
        ContainerState::Running | ContainerState::Restarting => warning(
            Health::Degraded,
            "The agent is stopped and its container still runs",
        ),
        _ => info(
            Health::Stopped,
            "The agent is stopped; its container is still on the host and does not run",
        ),
    }
}

fn with_container(expected: &Expected, seen: Seen, now: DateTime<Utc>) -> Verdict {
    match seen.state {
        ContainerState::Exited => critical(Health::Failed, "The container has exited"),
        ContainerState::Dead => critical(Health::Failed, "The container is dead"),
        ContainerState::Restarting => {
            warning(Health::Degraded, "Docker starts the container again")
        }
        ContainerState::Paused => warning(Health::Degraded, "The container is paused"),
        ContainerState::Removing => warning(Health::Degraded, "The container is being removed"),
        ContainerState::Created => info(Health::Warming, "The container was not started yet"),
        ContainerState::Running | ContainerState::Unknown => running(expected, seen, now),
    }
}

fn running(expected: &Expected, seen: Seen, now: DateTime<Utc>) -> Verdict {
    use AgentStatus::{Disconnected, Pending, Provisioning};
    match (seen.health, expected.status) {
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
            None => silent(age(seen.created_at, now)),
            Some(at) => heard(age(at, now), seen.health),
        },
    }
}

fn silent(container_age: TimeDelta) -> Verdict {
    if container_age < LATE_AFTER {
        return info(Health::Warming, "The first heartbeat is awaited");
    }
    let minutes = container_age.num_minutes();
    warning(
        Health::Degraded,
        format!("There was no heartbeat in the container's {minutes} minutes"),
    )
}

fn heard(heartbeat_age: TimeDelta, health: Option<DockerHealth>) -> Verdict {
    let minutes = heartbeat_age.num_minutes();
    if heartbeat_age >= STALE_AFTER && health == Some(DockerHealth::Healthy) {
        warning(
            Health::Stale,
            format!("No heartbeat for {minutes} minutes; Docker reports the container healthy"),
        )
    } else if heartbeat_age >= STALE_AFTER {
        critical(
            Health::Stale,
            format!("No heartbeat for {minutes} minutes, and no other sign of life"),
        )
    } else if heartbeat_age >= LATE_AFTER {
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
