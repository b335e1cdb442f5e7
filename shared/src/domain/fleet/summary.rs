//! The totals.

use serde::{Deserialize, Serialize};

use super::container::ContainerView;
use super::node::{NodeStatus, NodeView, percent};
use crate::domain::agent::AgentStatus;
use crate::domain::health::Health;

/// The fleet in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Registered hosts.
    pub total_nodes: usize,
    /// Those that take agents.
    pub enabled_nodes: usize,
    /// Hosts that were read in this pass and are well (F21). This and the next three make up all hosts.
    pub healthy_nodes: usize,
    /// Hosts that were read in part, or whose disk is nearly full.
    pub degraded_nodes: usize,
    /// Hosts that did not let us in.
    pub offline_nodes: usize,
    /// Hosts that were not asked.
    pub unknown_nodes: usize,
    /// Slots of enabled hosts.
    pub total_capacity: i64,
    /// Those of them that are taken.
    pub allocated_slots: i64,
    /// Slots in which an agent could be placed now: the sum of the hosts'.
    pub available_slots: i64,
    /// Taken slots of enabled hosts, in percent, rounded down.
    pub utilization_pct: i64,
    /// Enabled hosts that take no more: full, or too busy.
    pub saturated_nodes: usize,
    /// Hosts whose containers do not match the database.
    pub nodes_with_drift: usize,
    /// Agents, wherever they are in their lives.
    pub total_containers: usize,
    /// Agents that the database says run. This and the next five are by the database's word.
    pub running_containers: usize,
    /// Agents that were never started.
    pub pending_containers: usize,
    /// Agents that are being started.
    pub provisioning_containers: usize,
    /// Agents that are stopped.
    pub stopped_containers: usize,
    /// Agents in error.
    pub error_containers: usize,
    /// Agents whose host was lost.
    pub disconnected_containers: usize,
    /// Agents whose containers are well, as this pass saw them.
    pub healthy_containers: usize,
    /// Agents that somebody should look at.
    pub attention_containers: usize,
    /// Agents that are silent.
    pub stale_containers: usize,
    /// Agents whose containers are gone.
    pub missing_containers: usize,
    /// Agents whose containers have failed.
    pub failed_containers: usize,
    /// Agents of which nothing is known.
    pub unknown_containers: usize,
    /// Jobs that wait for a worker.
    pub backlog_count: u64,
}

impl Summary {
    pub(super) fn of(nodes: &[NodeView], containers: &[ContainerView], backlog: u64) -> Self {
        let enabled = || nodes.iter().filter(|node| node.enabled);
        let are = |status| nodes.iter().filter(|node| node.status == status).count();
        let live = |status| containers.iter().filter(|c| c.db_status == status).count();
        let fare = |health| {
            containers
                .iter()
                .filter(|c| c.live_health == health)
                .count()
        };
        let capacity = enabled().map(|node| i64::from(node.capacity)).sum();
        let allocated = enabled().map(|node| i64::from(node.allocated_count)).sum();
        Self {
            total_nodes: nodes.len(),
            enabled_nodes: enabled().count(),
            healthy_nodes: are(NodeStatus::Healthy),
            degraded_nodes: are(NodeStatus::Degraded),
            offline_nodes: are(NodeStatus::Offline),
            unknown_nodes: are(NodeStatus::Unknown),
            total_capacity: capacity,
            allocated_slots: allocated,
            available_slots: nodes.iter().map(|node| node.available_slots).sum(),
            utilization_pct: percent(allocated, capacity),
            saturated_nodes: nodes.iter().filter(|node| node.is_saturated()).count(),
            nodes_with_drift: nodes
                .iter()
                .filter(|node| node.allocation_drift.is_some_and(|drift| drift != 0))
                .count(),
            total_containers: containers.len(),
            running_containers: live(AgentStatus::Running),
            pending_containers: live(AgentStatus::Pending),
            provisioning_containers: live(AgentStatus::Provisioning),
            stopped_containers: live(AgentStatus::Stopped),
            error_containers: live(AgentStatus::Error),
            disconnected_containers: live(AgentStatus::Disconnected),
            healthy_containers: fare(Health::Healthy),
            attention_containers: containers.iter().filter(|c| c.needs_attention()).count(),
            stale_containers: fare(Health::Stale),
            missing_containers: fare(Health::Missing),
            failed_containers: fare(Health::Failed),
            unknown_containers: fare(Health::Unknown),
            backlog_count: backlog,
        }
    }
}
