//! Looking at one host. Owns: what is asked of it, in which time, and that what cannot be read takes
//! nothing along that can: Docker down keeps the host's own figures, a slow agent never makes its host
//! silent. Does not own: what is made of it (`domain::fleet`), nor which hosts (`app::fleet::refresh`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use sqlx::PgPool;
use tokio::time::timeout_at;
use tracing::warn;
use uuid::Uuid;

use crate::app::host_access::{OpenError, connect, target};
use crate::db;
use crate::db::hosts::slots::Node;
use crate::domain::fleet::{Docker, Found, Reading, Visit};
use crate::domain::observation::Unread;
use crate::domain::placement::HostFacts;
use crate::hosts::{AgentHttp, Connection, Container, Engine, EngineError, Fleet, HostError};

/// What one host may take, all in all.
pub const HOST_WITHIN: Duration = Duration::from_secs(10);
/// What its Docker Engine may take to tell what it has.
const DOCKER_WITHIN: Duration = Duration::from_secs(5);
/// What is kept of a host's time: should Docker use up the rest, what the host told itself is not lost.
const MARGIN: Duration = Duration::from_millis(500);
/// What one agent may take to answer, and the longest answer that is read.
const AGENT_WITHIN: Duration = Duration::from_secs(2);
const LONGEST_HEALTH: usize = 64 * 1024;
/// Agents that are asked at the same time; no more channels are open at once.
const AGENTS_AT_ONCE: usize = 4;

/// The time of one pass: that of the database when it began, and what has gone by since.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    began: DateTime<Utc>,
    since: Instant,
}

impl Watch {
    /// Begins at the database's `now`.
    #[must_use]
    pub fn begin(now: DateTime<Utc>) -> Self {
        Self {
            began: now,
            since: Instant::now(),
        }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let gone = TimeDelta::from_std(self.since.elapsed()).unwrap_or_default();
        self.began + gone
    }
}

/// An agent whose health is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The agent.
    pub agent_id: Uuid,
    /// The port of its host that leads to its pages.
    pub port: u16,
}

/// What one look at a host told.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The host and its containers.
    pub reading: Reading,
    /// The agents that said that they are well.
    pub alive: Vec<Uuid>,
}

/// Looks at a host, and asks these agents on it in their order, as far as the time allows. `until`: when
/// the whole pass is over, which ends this look earlier than its own limit would.
pub async fn inspect(
    pool: &PgPool,
    fleet: &Fleet,
    node: &Node,
    probes: &[Probe],
    (watch, until): (Watch, Instant),
) -> Inspected {
    let own = Instant::now() + HOST_WITHIN;
    let end = own.min(until);
    // Whose time it was that is over: a host that was not given its own is not blamed.
    let late = |watch: &Watch| {
        if own <= until {
            refused(watch, Unread::TimedOut)
        } else {
            Reading::NotInspected
        }
    };
    let mut inspected = Inspected {
        reading: Reading::NotInspected,
        alive: Vec::new(),
    };
    let entered = timeout_at(end.into(), enter(pool, fleet, node, end)).await;
    let (connection, latency_ms, facts, docker) = match entered {
        Ok(Ok(entered)) => entered,
        Ok(Err(error)) => {
            inspected.reading = not_entered(&watch, node, &error);
            return inspected;
        }
        Err(_) => {
            inspected.reading = late(&watch);
            return inspected;
        }
    };
    inspected.alive = alive(&connection, probes, end).await;
    inspected.reading = Reading::Reached(Box::new(Visit {
        at: watch.now(),
        latency_ms,
        pinned_now: node.host_key_fingerprint.is_none(),
        facts,
        docker,
    }));
    inspected
}

fn refused(watch: &Watch, why: Unread) -> Reading {
    let at = watch.now();
    Reading::Refused { at, why }
}

fn not_entered(watch: &Watch, node: &Node, error: &OpenError) -> Reading {
    match error {
        OpenError::Engine(error) => refused(watch, unread(*error)),
        // The host is not to blame.
        OpenError::Database(error) => {
            let error = db::error_class(error);
            warn!(node = node.node_id, error, "a host's key was not pinned");
            Reading::NotInspected
        }
    }
}

type Entered = (Arc<Connection>, u64, HostFacts, Result<Docker, Unread>);

/// Gets in and reads what the host and its Docker Engine tell. A connection that was kept may have died
/// unnoticed: then a new one is made, once.
async fn enter(
    pool: &PgPool,
    fleet: &Fleet,
    node: &Node,
    end: Instant,
) -> Result<Entered, OpenError> {
    let mut again = true;
    loop {
        let connection = connect(pool, fleet, node).await?;
        let kept = connection.channels_opened() > 0;
        let began = Instant::now();
        let answers = connection.answers().await;
        let latency_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Err(error) = answers {
            fleet.forget(&node.node_id, &connection).await;
            if kept && again {
                again = false;
                continue;
            }
            return Err(error.into());
        }
        let socket = target(node).docker_socket;
        let last = end.checked_sub(MARGIN).unwrap_or(end);
        let told_by = last.min(Instant::now() + DOCKER_WITHIN).into();
        let docker = timeout_at(told_by, docker(&connection, &socket));
        let facts = timeout_at(told_by, connection.facts());
        let (facts, docker) = tokio::join!(facts, docker);
        let docker = docker.unwrap_or(Err(HostError::TimedOut.into()));
        let facts = facts.unwrap_or(Err(HostError::TimedOut));
        let facts = facts.unwrap_or_else(|error| {
            warn!(node = node.node_id, %error, "a host's figures were not read");
            HostFacts::default()
        });
        let docker = docker.map_err(|error| {
            warn!(node = node.node_id, %error, "a host's engine was not read");
            match error {
                EngineError::Host(error) => unread(error.into()),
                _ => Unread::DockerUnavailable,
            }
        });
        return Ok((connection, latency_ms, facts, docker));
    }
}

async fn docker(connection: &Arc<Connection>, socket: &str) -> Result<Docker, EngineError> {
    let engine = Engine::connect(Arc::clone(connection), socket).await?;
    let (version, containers) = tokio::try_join!(engine.version(), engine.containers())?;
    Ok(Docker {
        version,
        containers: containers.into_iter().map(found).collect(),
    })
}

/// A container as the rules see it.
pub(crate) fn found(container: Container) -> Found {
    let created_at = DateTime::from_timestamp(container.created, 0);
    Found {
        id: container.id,
        name: container.name,
        image: container.image,
        state: container.state,
        status: container.status,
        health: None,
        created_at: created_at.unwrap_or(DateTime::UNIX_EPOCH),
        label: container.agent,
    }
}

fn unread(error: EngineError) -> Unread {
    let EngineError::Host(error) = error else {
        return Unread::DockerUnavailable;
    };
    match error {
        HostError::Unreachable => Unread::Unreachable,
        HostError::TimedOut => Unread::TimedOut,
        HostError::AuthFailed => Unread::AuthFailed,
        HostError::HostKeyMismatch => Unread::HostKeyMismatch,
        HostError::AddressRefused => Unread::AddressRefused,
        HostError::ForwardingRefused => Unread::ForwardingRefused,
        HostError::DockerUnavailable => Unread::DockerUnavailable,
        HostError::Protocol | HostError::TooLong => Unread::Protocol,
        HostError::NoKey => Unread::NoKey,
        HostError::Deadline => Unread::Deadline,
    }
}

/// The agents that said that they are well before the end.
async fn alive(connection: &Arc<Connection>, probes: &[Probe], end: Instant) -> Vec<Uuid> {
    // By value: a closure over references makes a future that cannot be sent.
    let asked = stream::iter(probes.iter().copied()).map(|probe| async move {
        let agent = AgentHttp::new(Arc::clone(connection), probe.port);
        let answer = agent.get("/health", LONGEST_HEALTH, AGENT_WITHIN).await;
        answer
            .is_ok_and(|answer| answer.status == 200)
            .then_some(probe.agent_id)
    });
    let mut answers = asked.buffer_unordered(AGENTS_AT_ONCE);
    let mut alive = Vec::new();
    while let Ok(Some(answer)) = timeout_at(end.into(), answers.next()).await {
        alive.extend(answer);
    }
    alive
}
