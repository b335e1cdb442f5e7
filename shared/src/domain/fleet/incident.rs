//! What is wrong, in the order in which to look at it. Owns: titles, order, and that a host that was not
//! read hides what is thought of its containers behind one incident.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::alert::Alert;
use super::code::Code;
use super::container::ContainerView;
use super::node::NodeView;
use super::ours::Ghost;
use super::summary::Summary;
use crate::domain::health::{Health, Severity};
use crate::domain::observation::ContainerState;

/// From this share of taken slots on, in percent, the fleet is filling up.
const FILLING_UP: i64 = 85;

/// What an incident is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The whole fleet.
    Cluster,
    /// One host.
    Node,
    /// One container.
    Container,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub scope: Scope,
    /// The same for programs.
    pub code: Code,
    /// What is wrong with whom.
    pub title: String,
    /// Why, with figures.
    pub detail: String,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// The agent's id as in `containers[].id`; for a container that nobody claims, Docker's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
}

/// All of them: critical first, then by title.
pub(super) fn incidents(
    nodes: &[NodeView],
    containers: &[ContainerView],
    summary: &Summary,
) -> Vec<Incident> {
    let mut unread: HashMap<&str, usize> = nodes
        .iter()
        .filter(|node| !node.runtime.docker_readable)
        .map(|node| (node.node_id.as_str(), 0))
        .collect();
    let mut all = Vec::new();
    for container in containers.iter().filter(|c| c.needs_attention()) {
        let node = container.node_id.as_deref();
        match node.and_then(|node| unread.get_mut(node)) {
            Some(hidden) => *hidden += 1,
            None => all.push(of_container(container)),
        }
    }
    for node in nodes {
        let hidden = unread.get(node.node_id.as_str()).copied().unwrap_or(0);
        all.extend(node.alerts.iter().map(|alert| of_node(node, alert, hidden)));
        let ghosts = node.ghost_containers.iter();
        all.extend(ghosts.map(|ghost| of_ghost(node, ghost)));
    }
    all.extend(of_cluster(summary));
    all.sort_by(|one, other| order(one).cmp(&order(other)));
    all
}

fn order(incident: &Incident) -> (Severity, &str, Option<&str>, Option<&str>) {
    (
        incident.severity,
        &incident.title,
        incident.node_id.as_deref(),
        incident.container_id.as_deref(),
    )
}

fn of_node(node: &NodeView, alert: &Alert, hidden: usize) -> Incident {
    let mut detail = alert.text.clone();
    if alert.code.is_down() && hidden > 0 {
        let (agents, their) = if hidden == 1 {
            ("agent", "its")
        } else {
            ("agents", "their")
        };
        detail = format!("{detail}. {hidden} {agents} there: {their} own incidents are left out");
    }
    let headline = alert.code.headline(alert.severity);
    Incident {
        severity: alert.severity,
        scope: Scope::Node,
        code: alert.code,
        title: format!("{}: {headline}", node.node_id),
        detail,
        node_id: Some(node.node_id.clone()),
        container_id: None,
    }
}

fn of_container(container: &ContainerView) -> Incident {
    let code = match container.live_health {
        Health::Failed => Code::ContainerFailed,
        Health::Missing => Code::ContainerMissing,
        Health::Stale => Code::ContainerStale,
        Health::Unknown => Code::ContainerUnknown,
        Health::Degraded | Health::Stopped | Health::Warming | Health::Healthy => {
            Code::ContainerDegraded
        }
    };
    let severity = container.live_health_severity;
    let headline = code.headline(severity);
    let id = container.id.to_string();
    let name = container.agent_name.as_deref().unwrap_or(&id);
    Incident {
        severity,
        scope: Scope::Container,
        code,
        title: format!("Agent {name} {headline}"),
        detail: container.live_health_reason.clone(),
        node_id: container.node_id.clone(),
        container_id: Some(id),
    }
}

fn of_ghost(node: &NodeView, ghost: &Ghost) -> Incident {
    let is = ContainerState::read(&ghost.state, &ghost.status);
    let idle = is.is_over() || is == ContainerState::Created;
    let (severity, code) = match (idle, &ghost.elsewhere) {
        (true, _) => (Severity::Info, Code::GhostNotRunning),
        (false, None) => (Severity::Warning, Code::GhostRunning),
        (false, Some(_)) => (Severity::Critical, Code::SecondContainer),
    };
    let mut detail = format!("{}: {}", ghost.name, ghost.status);
    if let Some(home) = &ghost.elsewhere {
        detail = format!("{detail}. Its agent lives on {home}");
    }
    Incident {
        severity,
        scope: Scope::Container,
        code,
        title: format!("{}: {}", node.node_id, code.headline(severity)),
        detail,
        node_id: Some(node.node_id.clone()),
        container_id: Some(ghost.container_id.clone()),
    }
}

fn of_cluster(summary: &Summary) -> Option<Incident> {
    let read = summary.healthy_nodes + summary.degraded_nodes;
    let (taken, of) = (summary.allocated_slots, summary.total_capacity);
    let (severity, code, detail) = if summary.enabled_nodes == 0 {
        let detail = format!("Registered hosts: {}", summary.total_nodes);
        (Severity::Warning, Code::NoHosts, detail)
    } else if read == 0 {
        let detail = format!("Registered hosts: {}", summary.total_nodes);
        (Severity::Critical, Code::NoHostRead, detail)
    } else if summary.available_slots == 0 {
        let detail = format!("{taken} of {of} slots are taken; none of the rest can be used now");
        (Severity::Critical, Code::NoFreeSlot, detail)
    } else if summary.utilization_pct >= FILLING_UP {
        let left = summary.available_slots;
        let detail = format!("{taken} of {of} slots are taken; {left} can be used now");
        (Severity::Warning, Code::FewFreeSlots, detail)
    } else {
        return None;
    };
    Some(Incident {
        severity,
        scope: Scope::Cluster,
        code,
        title: code.headline(severity).to_owned(),
        detail,
        node_id: None,
        container_id: None,
    })
}
