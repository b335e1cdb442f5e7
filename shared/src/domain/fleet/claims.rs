//! Which agent's row claims which container. Owns: unclaimed containers, and how far the number of our
//! containers on a host is from what the rows expect. Does not own: what an alert says about it (`alert`).

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::observation::{
    AgentObservation, AgentRow, ContainerObservation, FleetReading, HostInspection, HostReadError,
};
use crate::domain::agent::AgentStatus;
use crate::domain::ids::AgentId;

/// The rows and containers of a run, indexed by host and by agent.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    agents_by_host: HashMap<&'a str, Vec<&'a AgentRow>>,
    host_by_agent: HashMap<AgentId, &'a str>,
    inspections: HashMap<&'a str, &'a HostInspection>,
    container_by_agent: HashMap<AgentId, &'a ContainerObservation>,
}

impl<'a> Claims<'a> {
    pub(super) fn of(run: &'a FleetReading) -> Self {
        let mut claims = Self {
            agents_by_host: HashMap::new(),
            host_by_agent: HashMap::new(),
            inspections: HashMap::new(),
            container_by_agent: HashMap::new(),
        };
        for agent in &run.agents {
            if let Some(node_id) = agent.node_id.as_deref() {
                claims
                    .agents_by_host
                    .entry(node_id)
                    .or_default()
                    .push(agent);
                claims.host_by_agent.insert(agent.id, node_id);
            }
        }
        for (agent_id, node_id) in &run.hosts_elsewhere {
            claims.host_by_agent.insert(*agent_id, node_id);
        }
        for host in &run.hosts {
            let node_id = host.row.node_id.as_str();
            claims.inspections.insert(node_id, &host.inspection);
            if let Ok(engine) = host.inspection.engine() {
                claims.add_containers(node_id, &engine.containers);
            }
        }
        claims
    }

    fn add_containers(&mut self, node_id: &str, containers: &'a [ContainerObservation]) {
        let by_name: HashMap<&str, &ContainerObservation> = containers
            .iter()
            .map(|container| (container.name.as_str(), container))
            .collect();
        for agent in self.agents_by_host.get(node_id).into_iter().flatten() {
            let Some(container) = by_name.get(agent.expected_container_name().as_str()) else {
                continue;
            };
            if container.is_claimed_by(agent.id, agent.container_name.as_deref()) {
                self.container_by_agent.insert(agent.id, container);
            }
        }
    }

    /// The agents whose rows name this host.
    pub(super) fn agents_on(&self, node_id: &str) -> &[&'a AgentRow] {
        self.agents_by_host.get(node_id).map_or(&[], Vec::as_slice)
    }

    /// The container that the agent's row claims.
    pub(super) fn container(&self, agent: &AgentRow) -> Option<&'a ContainerObservation> {
        self.container_by_agent.get(&agent.id).copied()
    }

    pub(super) fn observation(&self, agent: &AgentRow) -> AgentObservation {
        let Some(node_id) = agent.node_id.as_deref() else {
            return AgentObservation::NoHost;
        };
        let Some(inspection) = self.inspections.get(node_id) else {
            return AgentObservation::HostNotRead(HostReadError::NotRegistered);
        };
        match (inspection.engine(), self.container(agent)) {
            (Err(error), _) => AgentObservation::HostNotRead(error),
            (Ok(_), None) => AgentObservation::NoContainer,
            (Ok(_), Some(container)) => AgentObservation::Container(container.condition()),
        }
    }
}

/// A container that this product made and that no row on its host claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnclaimedContainer {
    pub name: String,
    /// Docker's id, which the action to remove the container needs.
    pub container_id: String,
    /// Docker's word for the state.
    pub state: String,
    /// Docker's status text.
    pub status: String,
    /// By the host's clock.
    pub created_at: DateTime<Utc>,
    /// The other host that the container's agent is on by its row (F26).
    pub agent_host: Option<String>,
}

/// An agent container, or another one that a row claims.
pub(super) struct OurContainer<'a> {
    pub(super) container: &'a ContainerObservation,
    pub(super) is_claimed: bool,
}

/// Our containers on one host, sorted by name and id.
pub(super) struct OurContainers<'a>(pub(super) Vec<OurContainer<'a>>);

impl<'a> OurContainers<'a> {
    pub(super) fn of(
        containers: &'a [ContainerObservation],
        agents: &[&AgentRow],
        claims: &Claims<'_>,
    ) -> Self {
        let claimed_ids: HashSet<&str> = agents
            .iter()
            .filter_map(|agent| claims.container(agent))
            .map(|container| container.id.as_str())
            .collect();
        let mut our_containers: Vec<OurContainer<'_>> = containers
            .iter()
            .map(|container| OurContainer {
                container,
                is_claimed: claimed_ids.contains(container.id.as_str()),
            })
            .filter(|our| our.is_claimed || our.container.is_agent_container())
            .collect();
        our_containers.sort_by_key(|our| (&our.container.name, &our.container.id));
        Self(our_containers)
    }

    /// Containers that have not ended (F20), minus rows that expect one.
    pub(super) fn drift(&self, agents: &[&AgentRow], claims: &Claims<'_>) -> i64 {
        let is_alive = |container: &ContainerObservation| !container.state().has_ended();
        let alive = self.0.iter().filter(|our| is_alive(our.container));
        let expecting = agents.iter().filter(|agent| match agent.status {
            // During a start the container comes and goes, and an unknown status does not say what it
            // expects. Such a row expects exactly what is there.
            AgentStatus::Provisioning | AgentStatus::Unknown => {
                claims.container(agent).is_some_and(is_alive)
            }
            _ => agent.expects_container(),
        });
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        count(alive.count()) - count(expecting.count())
    }

    pub(super) fn unclaimed(&self, node_id: &str, claims: &Claims<'_>) -> Vec<UnclaimedContainer> {
        let unclaimed = self.0.iter().filter(|our| !our.is_claimed);
        let describe = |our: &OurContainer<'_>| {
            let container = our.container;
            let agent_id = container.agent_id();
            UnclaimedContainer {
                name: container.name.clone(),
                container_id: container.id.clone(),
                state: container.state.clone(),
                status: container.status.clone(),
                created_at: container.created_at,
                agent_host: agent_id
                    .and_then(|agent_id| claims.host_by_agent.get(&agent_id))
                    .filter(|host| **host != node_id)
                    .map(|host| (*host).to_owned()),
            }
        };
        unclaimed.map(describe).collect()
    }
}
