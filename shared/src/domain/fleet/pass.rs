//! What one pass read. Owns: the rows and what the hosts told, without any address, and which row claims
//! which container.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::shown::Metadata;
use crate::domain::agent::AgentStatus;
use crate::domain::container::name;
use crate::domain::observation::{ContainerState, DockerHealth, Observation, Seen, Unread};
use crate::domain::placement::HostFacts;

/// One pass over the fleet: the rows as they were when the last host was read, and what was read.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// All registered hosts, enabled or not.
    pub nodes: Vec<NodePass>,
    /// All agents, wherever they are.
    pub agents: Vec<AgentRow>,
    /// Jobs of ours that wait for a worker.
    pub backlog: u64,
}

/// A host and what was read of it.
#[derive(Clone, Debug)]
pub struct NodePass {
    /// The database's row.
    pub row: NodeRow,
    /// What came of asking the host.
    pub reading: Reading,
}

/// `docker_nodes`, without what leads to the host.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct NodeRow {
    pub id: Uuid,
    pub node_id: String,
    pub capacity: i32,
    pub allocated_count: i32,
    pub enabled: bool,
    /// The last attempt before this pass.
    pub last_health_check: Option<DateTime<Utc>>,
    pub metadata: Metadata,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What came of asking a host.
#[derive(Clone, Debug)]
pub enum Reading {
    /// It was not asked in this pass, or the pass was over before it had answered.
    NotInspected,
    /// It was asked at `at`, and we did not get in.
    Refused {
        /// When that was known.
        at: DateTime<Utc>,
        /// Why.
        why: Unread,
    },
    /// We got in.
    Reached(Box<Visit>),
}

/// What a host told that let us in.
#[derive(Clone, Debug)]
pub struct Visit {
    /// When it was read.
    pub at: DateTime<Utc>,
    /// One exchange with its SSH server, without a channel; milliseconds.
    pub latency_ms: u64,
    /// Its key was not known before, and was pinned in this pass.
    pub pinned_now: bool,
    /// Its own figures; what it did not say is none.
    pub facts: HostFacts,
    /// Its Docker Engine, or why that was not read: the rest is kept (F19).
    pub docker: Result<Docker, Unread>,
}

/// What a Docker Engine told.
#[derive(Clone, Debug, Default)]
pub struct Docker {
    /// Its version.
    pub version: Option<String>,
    /// All containers of the host, also those that do not run and those that are not ours.
    pub containers: Vec<Found>,
}

/// A container of a host.
#[derive(Clone, Debug)]
pub struct Found {
    /// Docker's id.
    pub id: String,
    /// Its name, without Docker's leading slash.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Docker's word for its state.
    pub state: String,
    /// Docker's own words, with its health in brackets where it has one.
    pub status: String,
    /// Docker's health field, where the engine has one.
    pub health: Option<String>,
    /// When it was made, by the host's clock.
    pub created_at: DateTime<Utc>,
    /// What our label on it says, whatever that is; none = it has no label of ours.
    pub label: Option<String>,
}

impl Found {
    /// Its state.
    #[must_use]
    pub fn state(&self) -> ContainerState {
        ContainerState::read(&self.state, &self.status)
    }

    /// What its own check says.
    #[must_use]
    pub fn health(&self) -> Option<DockerHealth> {
        DockerHealth::read(self.health.as_deref(), &self.status)
    }

    /// Whether it was made by us, as far as it says so itself.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.label.is_some() || self.named_after().is_some()
    }

    /// Whether an agent's row that names its host claims it: it has the name in the row, or the one it would
    /// have, and its label does not say that it is another agent's.
    #[must_use]
    pub fn is_claimed_by(&self, agent: Uuid, recorded: Option<&str>) -> bool {
        let named = recorded.map_or_else(|| self.name == name(agent), |name| self.name == name);
        named && (self.label.is_none() || self.agent() == Some(agent))
    }

    /// The agent it is of. The label is what we wrote; a name can be anybody's.
    #[must_use]
    pub fn agent(&self) -> Option<Uuid> {
        match &self.label {
            Some(label) => Uuid::try_parse(label).ok(),
            None => self.named_after(),
        }
    }

    /// The agent of a name that is exactly what we would have called it.
    fn named_after(&self) -> Option<Uuid> {
        let agent = Uuid::try_parse(self.name.strip_prefix("milady-")?).ok()?;
        (name(agent) == self.name).then_some(agent)
    }
}

/// `milady_sandboxes`, without what leads to the agent.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct AgentRow {
    pub id: Uuid,
    pub sandbox_id: Option<String>,
    pub agent_name: Option<String>,
    pub organization_id: Uuid,
    pub user_id: Uuid,
    pub node_id: Option<String>,
    pub container_name: Option<String>,
    pub status: AgentStatus,
    pub docker_image: Option<String>,
    /// After the probes of this pass.
    pub last_heartbeat_at: Option<DateTime<Utc>>,
    pub error_message: Option<String>,
    pub error_count: i32,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl AgentRow {
    /// What its container is called: what the row says, else what it would be called.
    fn name_of_container(&self) -> String {
        let recorded = self.container_name.clone();
        recorded.unwrap_or_else(|| name(self.id))
    }
}

/// Which row claims which container, and which host each agent lives on.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    of_node: HashMap<&'a str, Vec<&'a AgentRow>>,
    homes: HashMap<Uuid, &'a str>,
    readings: HashMap<&'a str, &'a Reading>,
    claimed: HashMap<Uuid, &'a Found>,
}

impl Pass {
    /// What was seen where each agent's container should be, in the order of the agents: what a status may
    /// be changed by.
    #[must_use]
    pub fn observations(&self) -> Vec<(Uuid, Observation)> {
        let claims = self.claims();
        let seen = |agent: &AgentRow| (agent.id, claims.observation(agent));
        self.agents.iter().map(seen).collect()
    }

    pub(super) fn claims(&self) -> Claims<'_> {
        let mut claims = Claims {
            of_node: HashMap::new(),
            homes: HashMap::new(),
            readings: HashMap::new(),
            claimed: HashMap::new(),
        };
        for agent in &self.agents {
            if let Some(node) = agent.node_id.as_deref() {
                claims.of_node.entry(node).or_default().push(agent);
                claims.homes.insert(agent.id, node);
            }
        }
        for node in &self.nodes {
            let node_id = node.row.node_id.as_str();
            claims.readings.insert(node_id, &node.reading);
            if let Ok(docker) = node.reading.docker() {
                claims.claim(node_id, &docker.containers);
            }
        }
        claims
    }
}

impl<'a> Claims<'a> {
    /// A row claims the container of its name, unless the label says that it is another agent's.
    fn claim(&mut self, node_id: &str, found: &'a [Found]) {
        let by_name: HashMap<&str, &Found> = found
            .iter()
            .map(|found| (found.name.as_str(), found))
            .collect();
        for agent in self.of_node.get(node_id).into_iter().flatten() {
            let Some(found) = by_name.get(agent.name_of_container().as_str()) else {
                continue;
            };
            if found.is_claimed_by(agent.id, agent.container_name.as_deref()) {
                self.claimed.insert(agent.id, found);
            }
        }
    }

    /// The rows that name this host.
    pub(super) fn rows(&self, node_id: &str) -> &[&'a AgentRow] {
        self.of_node.get(node_id).map_or(&[], Vec::as_slice)
    }

    /// The container that an agent's row claims.
    pub(super) fn container(&self, agent: &AgentRow) -> Option<&'a Found> {
        self.claimed.get(&agent.id).copied()
    }

    /// The host that an agent's row names.
    pub(super) fn home(&self, agent: Uuid) -> Option<&'a str> {
        self.homes.get(&agent).copied()
    }

    /// What was seen where an agent's container should be.
    pub(super) fn observation(&self, agent: &AgentRow) -> Observation {
        let Some(node) = agent.node_id.as_deref() else {
            return Observation::NoHost;
        };
        let Some(reading) = self.readings.get(node) else {
            return Observation::NotRead(Unread::NotRegistered);
        };
        match reading.docker() {
            Err(why) => Observation::NotRead(why),
            Ok(_) => Observation::Read(self.container(agent).map(|found| Seen {
                state: found.state(),
                health: found.health(),
                created_at: found.created_at,
            })),
        }
    }
}

impl Reading {
    /// When the host was asked; none if it was not.
    #[must_use]
    pub fn at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::NotInspected => None,
            Self::Refused { at, .. } => Some(*at),
            Self::Reached(visit) => Some(visit.at),
        }
    }

    /// What it told, if it let us in.
    pub(super) fn visit(&self) -> Result<&Visit, Unread> {
        match self {
            Self::NotInspected => Err(Unread::Deadline),
            Self::Refused { why, .. } => Err(*why),
            Self::Reached(visit) => Ok(visit),
        }
    }

    /// What its Docker Engine told.
    ///
    /// # Errors
    /// Why it was not read.
    pub fn docker(&self) -> Result<&Docker, Unread> {
        self.visit()?.docker.as_ref().map_err(|why| *why)
    }
}
