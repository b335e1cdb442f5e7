//! The totals of a snapshot.

use serde::{Deserialize, Serialize};

use super::agent::AgentReport;
use super::health::Health;
use super::host::{HostReport, HostStatus, percent};
use crate::domain::agent::AgentStatus;
use crate::domain::lane::Backlog;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Every host counts as exactly one of healthy, degraded, offline and unknown.
    pub total_hosts: usize,
    pub enabled_hosts: usize,
    /// Hosts that this run read and found well (F21).
    pub healthy_hosts: usize,
    pub degraded_hosts: usize,
    pub offline_hosts: usize,
    pub unknown_hosts: usize,
    /// Hosts that this run inspected, and whose containers it could not read. Not those of which an operator knows
    /// (`HostReport::is_unreadable`).
    pub unreadable_hosts: usize,
    /// The use of the fullest disk of all hosts that were read. `None` if none said.
    pub fullest_disk_percent: Option<u64>,
    /// Slots of enabled hosts.
    pub total_capacity: i64,
    /// Allocated slots of enabled hosts.
    pub allocated_slots: i64,
    /// Slots in which an agent can be placed now: the sum of the hosts'.
    pub available_slots: i64,
    /// Allocated slots of enabled hosts in percent, rounded down.
    pub utilization_pct: i64,
    /// Enabled hosts that take no more agents: full, or too busy.
    pub saturated_hosts: usize,
    /// Hosts whose containers do not match the database.
    pub hosts_with_drift: usize,
    pub total_agents: usize,
    // The next six count agents by their status in the database.
    pub running_agents: usize,
    pub pending_agents: usize,
    pub provisioning_agents: usize,
    pub stopped_agents: usize,
    pub error_status_agents: usize,
    pub disconnected_agents: usize,
    // The next six count agents by the health that this run observed.
    pub healthy_agents: usize,
    pub attention_agents: usize,
    pub stale_agents: usize,
    pub missing_agents: usize,
    pub failed_health_agents: usize,
    pub unknown_agents: usize,
    pub backlog: Backlog,
}

impl Summary {
    pub(super) fn of(hosts: &[&HostReport], agents: &[&AgentReport], backlog: Backlog) -> Self {
        let count_hosts = |is_counted: fn(&HostReport) -> bool| {
            hosts.iter().filter(|host| is_counted(host)).count()
        };
        let with_host_status = |status| hosts.iter().filter(|host| host.status == status).count();
        let with_status = |status| agents.iter().filter(|agent| agent.status == status).count();
        let with_health = |health| {
            agents
                .iter()
                .filter(|agent| agent.verdict.health == health)
                .count()
        };
        let enabled = || hosts.iter().filter(|host| host.enabled);
        let total_capacity = enabled().map(|host| i64::from(host.capacity)).sum();
        let allocated_slots = enabled().map(|host| i64::from(host.allocated_count)).sum();
        Self {
            total_hosts: hosts.len(),
            enabled_hosts: enabled().count(),
            healthy_hosts: with_host_status(HostStatus::Healthy),
            degraded_hosts: with_host_status(HostStatus::Degraded),
            offline_hosts: with_host_status(HostStatus::Offline),
            unknown_hosts: with_host_status(HostStatus::Unknown),
            unreadable_hosts: count_hosts(HostReport::is_unreadable),
            fullest_disk_percent: hosts
                .iter()
                .filter_map(|host| host.runtime.facts.fuller_disk_used_percent())
                .max(),
            total_capacity,
            allocated_slots,
            available_slots: hosts.iter().map(|host| host.available_slots).sum(),
            utilization_pct: percent(allocated_slots, total_capacity),
            saturated_hosts: count_hosts(HostReport::is_full),
            hosts_with_drift: count_hosts(|host| {
                host.allocation_drift.is_some_and(|drift| drift != 0)
            }),
            total_agents: agents.len(),
            running_agents: with_status(AgentStatus::Running),
            pending_agents: with_status(AgentStatus::Pending),
            provisioning_agents: with_status(AgentStatus::Provisioning),
            stopped_agents: with_status(AgentStatus::Stopped),
            error_status_agents: with_status(AgentStatus::Error),
            disconnected_agents: with_status(AgentStatus::Disconnected),
            healthy_agents: with_health(Health::Healthy),
            attention_agents: agents
                .iter()
                .filter(|agent| agent.needs_attention())
                .count(),
            stale_agents: with_health(Health::Stale),
            missing_agents: with_health(Health::Missing),
            failed_health_agents: with_health(Health::Failed),
            unknown_agents: with_health(Health::Unknown),
            backlog,
        }
    }

    /// Adds the totals of other hosts and agents. The backlog is that of the whole fleet already.
    pub(super) fn add(&mut self, other: &Self) {
        self.total_hosts += other.total_hosts;
        self.enabled_hosts += other.enabled_hosts;
        self.healthy_hosts += other.healthy_hosts;
        self.degraded_hosts += other.degraded_hosts;
        self.offline_hosts += other.offline_hosts;
        self.unknown_hosts += other.unknown_hosts;
        self.unreadable_hosts += other.unreadable_hosts;
        self.fullest_disk_percent = self.fullest_disk_percent.max(other.fullest_disk_percent);
        self.total_capacity += other.total_capacity;
        self.allocated_slots += other.allocated_slots;
        self.available_slots += other.available_slots;
        self.utilization_pct = percent(self.allocated_slots, self.total_capacity);
        self.saturated_hosts += other.saturated_hosts;
        self.hosts_with_drift += other.hosts_with_drift;
        self.total_agents += other.total_agents;
        self.running_agents += other.running_agents;
        self.pending_agents += other.pending_agents;
        self.provisioning_agents += other.provisioning_agents;
        self.stopped_agents += other.stopped_agents;
        self.error_status_agents += other.error_status_agents;
        self.disconnected_agents += other.disconnected_agents;
        self.healthy_agents += other.healthy_agents;
        self.attention_agents += other.attention_agents;
        self.stale_agents += other.stale_agents;
        self.missing_agents += other.missing_agents;
        self.failed_health_agents += other.failed_health_agents;
        self.unknown_agents += other.unknown_agents;
    }
}
