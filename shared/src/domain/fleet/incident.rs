//! What is wrong in the fleet, in the order in which to look at it. Owns: titles, order, and that one incident of an unread
//! host replaces the incidents of all its agents, and one of the fleet those of all unread hosts (F67).

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::agent::AgentReport;
use super::alert::{Alert, AlertCode};
use super::claims::UnclaimedContainer;
use super::health::Health;
use super::host::HostReport;
use super::observation::{ContainerState, OwnFault};
use super::severity::Severity;
use super::summary::Summary;
use crate::domain::agent::AgentStatus;
use crate::domain::billing::OpenFindings;
use crate::domain::words::words;

/// From this percentage of allocated slots on, operators should add hosts.
const FLEET_FILLING_UP_PERCENT: i64 = 85;

words! {
    pub enum Scope {
        /// The whole fleet.
        Cluster = "cluster",
        /// One host.
        Node = "node",
        Container = "container",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    pub severity: Severity,
    pub scope: Scope,
    pub code: AlertCode,
    pub title: String,
    pub detail: String,
    pub node_id: Option<String>,
    /// The agent's id; for an unclaimed container Docker's id.
    pub container_id: Option<String>,
    /// The first of the refresh runs in a row that found it.
    pub since: DateTime<Utc>,
}

/// What an incident is about, and when it began. The cache stores it: a change needs another format there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentStart {
    pub code: AlertCode,
    pub node_id: Option<String>,
    pub container_id: Option<String>,
    pub since: DateTime<Utc>,
}

impl IncidentStart {
    pub(super) fn of(incident: &Incident) -> Self {
        Self {
            code: incident.code,
            node_id: incident.node_id.clone(),
            container_id: incident.container_id.clone(),
            since: incident.since,
        }
    }
}

/// Critical first, then by title.
pub(super) fn incidents(
    hosts: &[HostReport],
    agents: &[AgentReport],
    summary: &Summary,
    billing_findings: &[OpenFindings],
    paused_roll_out: Option<&str>,
    own_fault: Option<OwnFault>,
    now: DateTime<Utc>,
) -> Vec<Incident> {
    let mut hidden_agents: HashMap<&str, usize> = hosts
        .iter()
        .filter(|host| !host.runtime.docker_readable)
        .map(|host| (host.node_id.as_str(), 0))
        .collect();
    let mut incidents = Vec::new();
    for agent in agents.iter().filter(|agent| agent.needs_attention()) {
        let node_id = agent.node_id.as_deref();
        match node_id.and_then(|node_id| hidden_agents.get_mut(node_id)) {
            Some(count) => *count += 1,
            None => incidents.push(of_agent(agent, now)),
        }
    }
    for host in hosts {
        let hidden = hidden_agents.get(host.node_id.as_str());
        let hidden = hidden.copied().unwrap_or(0);
        let is_shown = |alert: &&Alert| own_fault.is_none() || !alert.code.is_unread_host();
        let alerts = host.alerts.iter().filter(is_shown);
        incidents.extend(alerts.map(|alert| of_host(host, alert, hidden, now)));
        let unclaimed = host.unclaimed_containers.iter();
        incidents.extend(unclaimed.map(|container| of_unclaimed(host, container, now)));
    }
    incidents.extend(fleet_incidents(
        summary,
        billing_findings,
        paused_roll_out,
        own_fault,
        now,
    ));
    sort_incidents(&mut incidents);
    incidents
}

/// Those of the fleet as a whole.
pub(super) fn fleet_incidents(
    summary: &Summary,
    billing_findings: &[OpenFindings],
    paused_roll_out: Option<&str>,
    own_fault: Option<OwnFault>,
    now: DateTime<Utc>,
) -> Vec<Incident> {
    let fleet = own_fault.map(|fault| of_own_fault(fault, now));
    let fleet = fleet.or_else(|| of_fleet(summary, now));
    let billing = of_billing(billing_findings, now);
    let roll_out = paused_roll_out.map(|reason| of_roll_out(reason, now));
    fleet.into_iter().chain(billing).chain(roll_out).collect()
}

pub(super) fn sort_incidents(incidents: &mut [Incident]) {
    incidents.sort_by(|one, other| sort_key(one).cmp(&sort_key(other)));
}

/// Lets incidents that an earlier run has found begin when they began for that run. Their severity and texts may have
/// changed.
pub(super) fn continue_incidents(incidents: &mut [Incident], earlier: &[IncidentStart]) {
    let earlier = earlier.iter().map(|start| {
        let (node_id, container_id) = (start.node_id.as_deref(), start.container_id.as_deref());
        ((start.code, node_id, container_id), start.since)
    });
    let earlier: HashMap<_, _> = earlier.collect();
    for incident in incidents {
        let (node_id, container_id) = (
            incident.node_id.as_deref(),
            incident.container_id.as_deref(),
        );
        if let Some(since) = earlier.get(&(incident.code, node_id, container_id)) {
            incident.since = *since;
        }
    }
}

fn sort_key(incident: &Incident) -> (Severity, &str, Option<&str>, Option<&str>) {
    (
        incident.severity,
        &incident.title,
        incident.node_id.as_deref(),
        incident.container_id.as_deref(),
    )
}

fn of_host(host: &HostReport, alert: &Alert, hidden_agents: usize, now: DateTime<Utc>) -> Incident {
    let mut detail = alert.text.clone();
    if alert.code.is_host_not_read() && hidden_agents > 0 {
        let (agents, their) = if hidden_agents == 1 {
            ("agent", "its")
        } else {
            ("agents", "their")
        };
        detail =
            format!("{detail}. {hidden_agents} {agents} there: {their} own incidents are left out");
    }
    let headline = alert.code.headline(alert.severity);
    Incident {
        severity: alert.severity,
        scope: Scope::Node,
        code: alert.code,
        title: format!("{}: {headline}", host.node_id),
        detail,
        node_id: Some(host.node_id.clone()),
        container_id: None,
        since: now,
    }
}

fn of_agent(agent: &AgentReport, now: DateTime<Utc>) -> Incident {
    let code = match agent.verdict.health {
        Health::Failed => AlertCode::ContainerFailed,
        Health::Missing => AlertCode::ContainerMissing,
        Health::Stale => AlertCode::ContainerStale,
        Health::Unknown => AlertCode::ContainerUnknown,
        Health::Degraded | Health::Stopped | Health::Warming | Health::Healthy => {
            AlertCode::ContainerDegraded
        }
    };
    let severity = agent.verdict.severity;
    let headline = code.headline(severity);
    let id = agent.id.to_string();
    let name = agent.agent_name.as_deref().unwrap_or(&id);
    Incident {
        severity,
        scope: Scope::Container,
        code,
        title: format!("Agent {name} {headline}"),
        detail: match (&agent.error_message, agent.status) {
            (Some(message), AgentStatus::Error) => format!("{}: {message}", agent.verdict.reason),
            _ => agent.verdict.reason.clone(),
        },
        node_id: agent.node_id.clone(),
        container_id: Some(id),
        since: now,
    }
}

fn of_unclaimed(host: &HostReport, container: &UnclaimedContainer, now: DateTime<Utc>) -> Incident {
    let state = ContainerState::parse(&container.state, &container.status);
    let is_idle = state.has_ended() || state == ContainerState::Created;
    let (severity, code) = match (is_idle, &container.agent_host) {
        (true, _) => (Severity::Info, AlertCode::UnclaimedNotRunning),
        (false, None) => (Severity::Warning, AlertCode::UnclaimedRunning),
        (false, Some(_)) => (Severity::Critical, AlertCode::SecondContainer),
    };
    let mut detail = format!("{}: {}", container.name, container.status);
    if let Some(agent_host) = &container.agent_host {
        detail = format!("{detail}. Its agent lives on {agent_host}");
    }
    Incident {
        severity,
        scope: Scope::Container,
        code,
        title: format!("{}: {}", host.node_id, code.headline(severity)),
        detail,
        node_id: Some(host.node_id.clone()),
        container_id: Some(container.container_id.clone()),
        since: now,
    }
}

fn of_own_fault(fault: OwnFault, now: DateTime<Utc>) -> Incident {
    let (severity, code) = (Severity::Critical, AlertCode::FleetUnreadable);
    Incident {
        severity,
        scope: Scope::Cluster,
        code,
        title: code.headline(severity),
        detail: format!(
            "{} of {} hosts: look at this deployment's network, DNS, SSH key and file descriptors first. No agent \
            became disconnected",
            fault.unread_hosts, fault.hosts
        ),
        node_id: None,
        container_id: None,
        since: now,
    }
}

fn of_fleet(summary: &Summary, now: DateTime<Utc>) -> Option<Incident> {
    let read_hosts = summary.healthy_hosts + summary.degraded_hosts;
    let registered = || format!("Registered hosts: {}", summary.total_hosts);
    let slots = || {
        format!(
            "{} of {} slots are taken",
            summary.allocated_slots, summary.total_capacity
        )
    };
    let (severity, code, detail) = if summary.enabled_hosts == 0 {
        (Severity::Warning, AlertCode::NoHosts, registered())
    } else if read_hosts == 0 {
        (Severity::Critical, AlertCode::NoHostRead, registered())
    } else if summary.available_slots == 0 {
        let detail = format!("{}; none of the rest can be used now", slots());
        (Severity::Critical, AlertCode::NoFreeSlot, detail)
    } else if summary.utilization_pct >= FLEET_FILLING_UP_PERCENT {
        let detail = format!("{}; {} can be used now", slots(), summary.available_slots);
        (Severity::Warning, AlertCode::FewFreeSlots, detail)
    } else {
        return None;
    };
    Some(Incident {
        severity,
        scope: Scope::Cluster,
        code,
        title: code.headline(severity),
        detail,
        node_id: None,
        container_id: None,
        since: now,
    })
}

fn of_billing(findings: &[OpenFindings], now: DateTime<Utc>) -> Option<Incident> {
    if findings.is_empty() {
        return None;
    }
    let (severity, code) = (Severity::Critical, AlertCode::BillingFindings);
    Some(Incident {
        severity,
        scope: Scope::Cluster,
        code,
        title: code.headline(severity),
        detail: format!("Open findings: {}", OpenFindings::summary(findings)),
        node_id: None,
        container_id: None,
        since: now,
    })
}

fn of_roll_out(reason: &str, now: DateTime<Utc>) -> Incident {
    let (severity, code) = (Severity::Warning, AlertCode::RollOutPaused);
    Incident {
        severity,
        scope: Scope::Cluster,
        code,
        title: code.headline(severity),
        detail: reason.to_owned(),
        node_id: None,
        container_id: None,
        since: now,
    }
}
