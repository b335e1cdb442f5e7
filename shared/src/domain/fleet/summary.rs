//! The totals of a snapshot.

use super::agent::AgentReport;
use super::health::Health;
use super::host::{HostReport, HostStatus, percent};
use crate::domain::agent::AgentStatus;
use crate::domain::lane::Backlog;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Every host counts as exactly one of healthy, degraded, offline and unknown.
    pub total_hosts: usize,
    pub enabled_hosts: usize,
    /// Hosts that this run read and found well (F21).
    pub healthy_hosts: usize,
    pub degraded_hosts: usize,
    pub offline_hosts: usize,
    pub unknown_hosts: usize,
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
    pub(super) fn of(hosts: &[HostReport], agents: &[AgentReport], backlog: Backlog) -> Self {
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
}
