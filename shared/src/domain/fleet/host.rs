//! A host in a snapshot. Owns: its status, its free slots, and what operators are shown of what it reported.

use chrono::{DateTime, Utc};

use super::alert::{Alert, HostCondition, alerts};
use super::claims::{Claims, OurContainers, UnclaimedContainer};
use super::isolation::IsolationGap;
use super::load::HostFacts;
use super::observation::{
    ContainerObservation, ContainerState, DockerHealth, HostInspection, HostObservation,
    HostReadError, InspectedHost,
};
use super::redact::Metadata;
use super::severity::Severity;
use crate::domain::ids::HostId;
use crate::domain::words::words;

words! {
    /// `docker_nodes.status`.
    pub enum HostStatus {
        /// The host and its Docker Engine were read in this run.
        Healthy = "healthy",
        /// The host was read, and its Docker Engine was not or its disk is nearly full.
        Degraded = "degraded",
        /// The connection failed.
        Offline = "offline",
        /// The host was not inspected.
        Unknown = "unknown",
    }
}

impl HostStatus {
    /// Only a host that was read in this run is healthy (F21).
    #[must_use]
    pub fn of(inspection: &HostInspection) -> Self {
        let observation = match inspection.observation() {
            Ok(observation) => observation,
            // The cause is on our side and says nothing about the host.
            Err(HostReadError::NotInspected | HostReadError::NoKey) => return Self::Unknown,
            Err(_) => return Self::Offline,
        };
        if observation.engine.is_err() || observation.facts.has_full_disk() {
            Self::Degraded
        } else {
            Self::Healthy
        }
    }

    /// Parses the database's word. A word that this version does not know is `Unknown`.
    #[must_use]
    pub fn parse_or_unknown(word: &str) -> Self {
        Self::parse(word).unwrap_or(Self::Unknown)
    }
}

impl HostObservation {
    /// Why the agents count as not isolated; `None` if they are, or if nothing was read.
    #[must_use]
    pub fn isolation_gap(&self) -> Option<IsolationGap> {
        let networks = self
            .engine
            .as_ref()
            .map(|engine| engine.networks.as_slice());
        IsolationGap::find(&self.facts.packet_filter, networks.unwrap_or_default())
    }
}

/// A row of `docker_nodes`, what this run read of the host, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostReport {
    pub id: HostId,
    pub node_id: String,
    pub capacity: i32,
    pub allocated_count: i32,
    /// Slots in which an agent can be placed now. Zero on a host that is disabled, too busy (F27) or was
    /// not read in this run (F21).
    pub available_slots: i64,
    pub enabled: bool,
    pub is_lost: bool,
    pub status: HostStatus,
    /// The last inspection, in this run or before.
    pub last_health_check: Option<DateTime<Utc>>,
    /// The inspection of this run; `None` if there was none.
    pub observed_at: Option<DateTime<Utc>>,
    /// Allocated slots in percent, rounded down; above 100 if more slots are allocated than the host has.
    pub utilization_pct: i64,
    /// Our containers on the host that have not ended, minus rows that expect one there. `None` if Docker
    /// was not read.
    pub allocation_drift: Option<i64>,
    /// The most severe first.
    pub alerts: Vec<Alert>,
    pub metadata: Metadata,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Sorted by name.
    pub unclaimed_containers: Vec<UnclaimedContainer>,
    pub runtime: HostRuntime,
}

impl HostReport {
    pub(super) fn of(host: &InspectedHost, claims: &Claims<'_>, now: DateTime<Utc>) -> Self {
        let InspectedHost { row, inspection } = host;
        let agents = claims.agents_on(&row.node_id);
        let engine = inspection.engine().ok();
        let our_containers =
            engine.map(|engine| OurContainers::of(&engine.containers, agents, claims));
        let condition = HostCondition {
            row,
            inspection,
            utilization_pct: percent(row.allocated_count.into(), row.capacity.into()),
            drift: our_containers.as_ref().map(|our| our.drift(agents, claims)),
            expected_containers: agents.iter().filter(|row| row.expects_container()).count(),
        };
        let unclaimed = our_containers
            .as_ref()
            .map(|our| our.unclaimed(&row.node_id, claims));
        Self {
            id: row.id,
            node_id: row.node_id.clone(),
            capacity: row.capacity,
            allocated_count: row.allocated_count,
            available_slots: available_slots(host),
            enabled: row.enabled,
            is_lost: row.is_lost,
            status: HostStatus::of(inspection),
            last_health_check: inspection.inspected_at().or(row.last_health_check),
            observed_at: inspection.inspected_at(),
            utilization_pct: condition.utilization_pct,
            allocation_drift: condition.drift,
            alerts: alerts(&condition, now),
            metadata: row.metadata.clone(),
            created_at: row.created_at,
            updated_at: row.updated_at,
            unclaimed_containers: unclaimed.unwrap_or_default(),
            runtime: HostRuntime::of(inspection, our_containers.as_ref()),
        }
    }

    /// Whether the host was inspected in this run, its containers could not be read, and nobody knows of it: an operator has
    /// neither declared it lost nor emptied and disabled it. The alarm about such hosts rings for the first one only, so one
    /// that stays away for days must not be among them.
    pub(super) fn is_unreadable(&self) -> bool {
        let is_known = self.is_lost || (!self.enabled && self.allocated_count == 0);
        self.observed_at.is_some() && !self.runtime.docker_readable && !is_known
    }

    /// Whether an enabled host takes no more agents: its slots are allocated, or it is overloaded.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let is_limit =
            |alert: &Alert| alert.code.is_about_capacity() && alert.severity == Severity::Critical;
        self.enabled && self.alerts.iter().any(is_limit)
    }
}

/// The share in percent, rounded down. A host without capacity on which something is allocated is at 100.
pub(super) fn percent(part: i64, whole: i64) -> i64 {
    match (part.max(0), whole.max(0)) {
        (0, _) => 0,
        (_, 0) => 100,
        (part, whole) => part.saturating_mul(100) / whole,
    }
}

fn available_slots(host: &InspectedHost) -> i64 {
    let Ok(observation) = host.inspection.observation() else {
        return 0;
    };
    if !host.row.enabled || observation.engine.is_err() || observation.facts.is_overloaded() {
        return 0;
    }
    let free = i64::from(host.row.capacity) - i64::from(host.row.allocated_count);
    free.max(0)
}

/// What operators are shown of what a host reported in this run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostRuntime {
    /// Whether the connection succeeded.
    pub reachable: bool,
    /// Whether the Docker Engine listed its containers.
    pub docker_readable: bool,
    /// Milliseconds.
    pub latency_ms: Option<u64>,
    pub docker_version: Option<String>,
    pub facts: HostFacts,
    /// Our containers, sorted by name.
    pub containers: Vec<RuntimeContainer>,
    /// Why the host, or the Docker Engine on it, was not read.
    pub error: Option<HostReadError>,
}

/// One of our containers, as Docker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeContainer {
    pub name: String,
    pub id: String,
    pub image: String,
    /// Docker's word for the state.
    pub state: String,
    /// Docker's status text.
    pub status: String,
    /// `None` if the container has no health check.
    pub health: Option<DockerHealth>,
}

impl HostRuntime {
    fn of(inspection: &HostInspection, our_containers: Option<&OurContainers<'_>>) -> Self {
        let error = inspection.engine().err();
        let Ok(observation) = inspection.observation() else {
            return Self {
                error,
                ..Self::default()
            };
        };
        let engine = observation.engine.as_ref().ok();
        let containers = our_containers.into_iter().flat_map(|our| &our.0);
        Self {
            reachable: true,
            docker_readable: engine.is_some(),
            latency_ms: Some(observation.latency_ms),
            docker_version: engine.and_then(|engine| engine.version.clone()),
            facts: observation.facts.clone(),
            containers: containers
                .map(|our| RuntimeContainer::of(our.container))
                .collect(),
            error,
        }
    }

    /// The number of our containers on the host; `None` if Docker was not read.
    #[must_use]
    pub fn container_count(&self) -> Option<usize> {
        self.docker_readable.then_some(self.containers.len())
    }

    /// The number of our containers that run; `None` if Docker was not read.
    #[must_use]
    pub fn running_container_count(&self) -> Option<usize> {
        let is_running = |container: &&RuntimeContainer| {
            ContainerState::parse(&container.state, &container.status) == ContainerState::Running
        };
        self.docker_readable
            .then(|| self.containers.iter().filter(is_running).count())
    }
}

impl RuntimeContainer {
    fn of(container: &ContainerObservation) -> Self {
        Self {
            name: container.name.clone(),
            id: container.id.clone(),
            image: container.image.clone(),
            state: container.state.clone(),
            status: container.status.clone(),
            health: container.health(),
        }
    }

    /// Docker's words for how long the container has been up: `3 minutes`. `None` if it is not up.
    #[must_use]
    pub fn running_for(&self) -> Option<&str> {
        let text = self.status.strip_prefix("Up ")?;
        Some(text.split(" (").next().unwrap_or(text))
    }
}
