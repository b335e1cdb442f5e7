//! The inspection of one host. Owns: what is read, in which order, the time limits, and that one failed read does not
//! discard the others: a failed Docker read does not discard the host's disk and load figures, and a slow
//! agent does not make its host unreachable. Does not own: what follows from it (`domain::fleet`), nor
//! which hosts are inspected (`refresh`).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use tokio::time::error::Elapsed;
use tokio::time::{timeout, timeout_at};
use tracing::warn;

use super::run_clock::RunClock;
use crate::app::host_access::{OpenError, connect_and_check, stop_containers, target};
use crate::db;
use crate::db::Database;
use crate::db::hosts::coordinates::HostCoordinates;
use crate::domain::figures::{AgentFigures, ContainerFigures, HostSample};
use crate::domain::fleet::{
    ContainerObservation, ContainerState, EngineObservation, HostFacts, HostInspection,
    HostObservation, HostReadError,
};
use crate::domain::ids::AgentId;
use crate::hosts::{AgentHttp, Connection, Engine, EngineError, HostClient, HostFigures};

/// For everything that is read of one host and its agents.
pub const HOST_TIMEOUT: Duration = Duration::from_secs(10);
/// For the Docker Engine and the host's figures, which are read at the same time.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(5);
/// The reads end this long before the host's own time does. Otherwise a slow Docker Engine would use up
/// that time, and the host's figures, or its whole inspection, would be discarded together with it.
const ENGINE_MARGIN: Duration = Duration::from_millis(500);
/// For what the engine says about itself. Without it the list of containers still counts.
const INFO_TIMEOUT: Duration = Duration::from_secs(2);
const NETWORKS_TIMEOUT: Duration = Duration::from_secs(2);
const AGENT_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_HEALTH_BYTES: usize = 64 * 1024;
/// For the figures of all agents on a host, which are read last: nothing else may wait for them.
const FIGURES_TIMEOUT: Duration = Duration::from_secs(3);
/// Each probe, and each reading of figures, holds a channel of the host's one SSH connection. The other channels are closed
/// by then, so this is also the largest number of open channels per host.
const MAX_CONCURRENT_REQUESTS: usize = 4;

/// An agent whose health endpoint is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    pub agent_id: AgentId,
    /// The port of the host that leads to the agent's pages.
    pub port: u16,
}

/// What is asked of the agents on a host, besides the list of their containers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Questions<'a> {
    /// In their order, as far as the time allows.
    pub probes: &'a [Probe],
    /// The agents whose figures are read.
    pub figures: &'a [AgentId],
}

#[derive(Clone, Debug)]
pub struct InspectionResult {
    pub inspection: HostInspection,
    /// The probed agents that answered that they are healthy.
    pub responding: Vec<AgentId>,
    /// `None` if no figures were read.
    pub sample: Option<HostSample>,
}

impl InspectionResult {
    fn without_agents(inspection: HostInspection) -> Self {
        Self {
            inspection,
            responding: Vec::new(),
            sample: None,
        }
    }
}

/// Says what a run observes of a host. It takes the place of connecting to it where a fleet is simulated that is larger, or
/// lasts longer, than a test can connect to.
pub trait Simulation: fmt::Debug + Sync {
    fn observe(&self, node_id: &str, probes: &[Probe], at: DateTime<Utc>) -> InspectionResult;
}

/// Inspects a host, and then asks about the agents on it. `run_deadline` can end the inspection before the host's own time
/// is over.
pub async fn inspect(
    pool: &Database,
    hosts: &HostClient,
    node: &HostCoordinates,
    questions: Questions<'_>,
    clock: RunClock,
    run_deadline: Instant,
) -> InspectionResult {
    let host_deadline = Instant::now() + HOST_TIMEOUT;
    let deadline = host_deadline.min(run_deadline);
    let host = timeout_at(deadline.into(), read_host(pool, hosts, node, deadline)).await;
    let host = match host {
        Ok(Ok(host)) => host,
        Ok(Err(error)) => {
            return InspectionResult::without_agents(failed_inspection(clock, node, &error));
        }
        // A host that had its full time did not answer. A host that had less was not inspected.
        Err(Elapsed { .. }) if host_deadline <= run_deadline => {
            let error = HostReadError::TimedOut;
            let at = clock.now();
            return InspectionResult::without_agents(HostInspection::Failed { at, error });
        }
        Err(Elapsed { .. }) => {
            return InspectionResult::without_agents(HostInspection::NotInspected);
        }
    };
    let responding = probe_agents(&host.connection, questions.probes, deadline).await;
    let at = clock.now();
    let (engine, sample) = match host.engine {
        Ok(read) => {
            let sample = sample_agents(&read, questions.figures, clock, deadline).await;
            (Ok(read.observation), sample)
        }
        Err(error) => (Err(error), None),
    };
    let observation = HostObservation {
        at,
        latency_ms: host.latency_ms,
        pinned_by_this_run: node.host_key_fingerprint.is_none(),
        facts: host.facts,
        engine,
    };
    InspectionResult {
        inspection: HostInspection::Observed(Box::new(observation)),
        responding,
        sample,
    }
}

fn failed_inspection(clock: RunClock, node: &HostCoordinates, error: &OpenError) -> HostInspection {
    match error {
        OpenError::Engine(error) => HostInspection::Failed {
            at: clock.now(),
            error: error.reason().as_read_error(),
        },
        // The host answered; its key could not be pinned.
        OpenError::Database(error) => {
            let error = db::error_class(error);
            warn!(
                node.id = node.node_id,
                error, "host key not pinned; the host counts as not inspected"
            );
            HostInspection::NotInspected
        }
    }
}

/// A connected host.
struct ConnectedHost {
    connection: Arc<Connection>,
    latency_ms: u64,
    facts: HostFacts,
    engine: Result<EngineRead, HostReadError>,
}

/// Connects to the host, measures one round trip to its SSH server, and reads its figures and its Docker
/// Engine. A lost host counts as not read until the agents' containers on it are stopped.
async fn read_host(
    pool: &Database,
    hosts: &HostClient,
    node: &HostCoordinates,
    deadline: Instant,
) -> Result<ConnectedHost, OpenError> {
    let ping = |connection: Arc<Connection>| async move {
        let started = Instant::now();
        if let Err(error) = connection.ping().await {
            hosts.discard(&node.node_id, &connection).await;
            return Err(error.into());
        }
        Ok(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
    };
    let (connection, latency_ms) = connect_and_check(pool, hosts, node, ping, |_| true).await?;
    if node.is_lost {
        let engine = Engine::connect(Arc::clone(&connection), &target(node).docker_socket).await?;
        stop_containers(pool, &engine, &node.node_id).await?;
    }
    let latest = deadline.checked_sub(ENGINE_MARGIN).unwrap_or(deadline);
    let read_deadline = latest.min(Instant::now() + ENGINE_TIMEOUT);
    let (figures, engine) = tokio::join!(
        read_figures(&connection, node, read_deadline),
        read_engine(&connection, node, read_deadline),
    );
    let docker_root = engine.as_ref().ok().and_then(|read| read.root.as_deref());
    Ok(ConnectedHost {
        connection,
        latency_ms,
        facts: figures.into_facts(docker_root),
        engine,
    })
}

async fn read_figures(
    connection: &Connection,
    node: &HostCoordinates,
    deadline: Instant,
) -> HostFigures {
    let figures = timeout_at(deadline.into(), connection.read_figures()).await;
    let figures = figures.unwrap_or_else(|_: Elapsed| Err(HostReadError::TimedOut.into()));
    figures.unwrap_or_else(|error| {
        let cause = error.cause();
        warn!(node.id = node.node_id, %error, cause, "host figures not read; the snapshot shows none");
        HostFigures::default()
    })
}

struct EngineRead {
    engine: Engine,
    observation: EngineObservation,
    /// The directory in which Docker keeps its data, if it is known.
    root: Option<String>,
}

async fn read_engine(
    connection: &Arc<Connection>,
    node: &HostCoordinates,
    deadline: Instant,
) -> Result<EngineRead, HostReadError> {
    let socket = target(node).docker_socket;
    let engine = timeout_at(deadline.into(), list_containers(connection, &socket)).await;
    let engine = engine.unwrap_or_else(|_: Elapsed| Err(HostReadError::TimedOut.into()));
    engine.map_err(|error| {
        let cause = error.cause();
        warn!(node.id = node.node_id, %error, cause, "Docker Engine not read; containers are unknown");
        error.reason().as_read_error()
    })
}

async fn list_containers(
    connection: &Arc<Connection>,
    socket: &str,
) -> Result<EngineRead, EngineError> {
    let engine = Engine::connect(Arc::clone(connection), socket).await?;
    let (info, containers) = tokio::join!(
        timeout(INFO_TIMEOUT, engine.read_info()),
        engine.list_containers()
    );
    let info = info.ok().and_then(Result::ok).unwrap_or_default();
    let containers = containers?;
    // After the others, to keep the number of open channels low. Networks that cannot be read say nothing against the
    // containers.
    let networks = timeout(NETWORKS_TIMEOUT, engine.read_agents_networks()).await;
    let networks = networks.ok().and_then(Result::ok);
    Ok(EngineRead {
        observation: EngineObservation {
            version: info.version,
            containers,
            networks: networks.unwrap_or_default(),
        },
        root: info.root_directory,
        engine,
    })
}

/// The agents that answer 200 before the deadline.
async fn probe_agents(
    connection: &Arc<Connection>,
    probes: &[Probe],
    deadline: Instant,
) -> Vec<AgentId> {
    // The closure takes each probe by value: a future that borrows it through the closure is not `Send`.
    let responses = stream::iter(probes.iter().copied()).map(|probe| async move {
        let agent = AgentHttp::new(Arc::clone(connection), probe.port);
        let response = agent.get("/health", MAX_HEALTH_BYTES, AGENT_TIMEOUT).await;
        response
            .is_ok_and(|response| response.status == 200)
            .then_some(probe.agent_id)
    });
    let mut responses = responses.buffer_unordered(MAX_CONCURRENT_REQUESTS);
    let mut responding = Vec::new();
    while let Ok(Some(response)) = timeout_at(deadline.into(), responses.next()).await {
        responding.extend(response);
    }
    responding
}

/// The figures of those agents whose containers run, as far as the time allows. One that cannot be read is left out.
async fn sample_agents(
    read: &EngineRead,
    agents: &[AgentId],
    clock: RunClock,
    deadline: Instant,
) -> Option<HostSample> {
    let engine = &read.engine;
    let containers = &read.observation.containers;
    let running = agents.iter().filter_map(|agent_id| {
        let is_own = |container: &&ContainerObservation| container.is_claimed_by(*agent_id, None);
        let container = containers.iter().find(is_own)?;
        let is_running = container.state() == ContainerState::Running;
        is_running.then(|| (*agent_id, container.id.clone()))
    });
    let running: Vec<(AgentId, String)> = running.collect();
    let at = clock.now();
    let readings = stream::iter(running).map(|(agent_id, container)| async move {
        let figures = engine.read_container_figures(&container).await.ok()?;
        // An engine that says nothing is too old.
        (figures != ContainerFigures::default()).then_some(AgentFigures { agent_id, figures })
    });
    let mut readings = readings.buffer_unordered(MAX_CONCURRENT_REQUESTS);
    let latest = deadline.checked_sub(ENGINE_MARGIN).unwrap_or(deadline);
    let deadline = latest.min(Instant::now() + FIGURES_TIMEOUT);
    let mut agents = Vec::new();
    while let Ok(Some(figures)) = timeout_at(deadline.into(), readings.next()).await {
        agents.extend(figures);
    }
    (!agents.is_empty()).then_some(HostSample { at, agents })
}
