//! The JSON of a fleet snapshot. Owns: its names, which say `node` for a host, `container` for an agent
//! with its container, and `ghostContainers` for unclaimed containers. Does not own: which part of a
//! snapshot a response contains (`fleet_page`), what of it is compressed together (`fleet_render`), the figures of a
//! host (`fleet_runtime`).

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::fleet_runtime::RuntimeView;
use crate::api::schema::{Always, Cursor};
use crate::domain::agent::AgentStatus;
use crate::domain::container::ContainerKind;
use crate::domain::fleet::{
    AgentReport, Alert, AlertCode, FleetContext, FleetSnapshot, Health, HostReport, HostStatus,
    Incident, Metadata, Scope, Severity, Summary, UnclaimedContainer,
};
use crate::domain::ids::{AgentId, HostId, OrganizationId, UserId};
use crate::domain::lane::LaneBacklog;
use crate::domain::timestamp::Timestamp;

/// A snapshot or a page of one.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Fleet")]
pub struct FleetView<'a> {
    refreshed_at: Timestamp,
    /// Whether the snapshot is 90 seconds old or older, or lacks a part of a large fleet.
    stale: bool,
    summary: SummaryView,
    /// Sorted by severity, worst first.
    incidents: Vec<IncidentView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<HostView<'a>>")]
    nodes: Option<Vec<HostView<'a>>>,
    /// The agents, sorted by host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<AgentView<'a>>")]
    containers: Option<Vec<AgentView<'a>>>,
    /// Whether something was left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(with = "Always<true>")]
    truncated: bool,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Cursor")]
    cursor: Option<String>,
}

impl<'a> FleetView<'a> {
    /// The whole snapshot, however long.
    #[must_use]
    pub fn of(snapshot: &'a FleetSnapshot, stale: bool, context: &'a FleetContext) -> Self {
        let agents: Vec<&AgentReport> = snapshot.agents.iter().collect();
        Self {
            refreshed_at: Timestamp(snapshot.refreshed_at),
            stale,
            summary: (&snapshot.summary).into(),
            incidents: snapshot.incidents.iter().map(Into::into).collect(),
            nodes: Some(host_views(&snapshot.hosts, &agents, context)),
            containers: Some(agent_views(&agents, context)),
            truncated: false,
            cursor: None,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FleetSummary")]
pub(super) struct SummaryView {
    total_nodes: usize,
    enabled_nodes: usize,
    healthy_nodes: usize,
    degraded_nodes: usize,
    offline_nodes: usize,
    unknown_nodes: usize,
    #[schemars(range(min = 0))]
    total_capacity: i64,
    #[schemars(range(min = 0))]
    allocated_slots: i64,
    #[schemars(range(min = 0))]
    available_slots: i64,
    #[schemars(range(min = 0))]
    utilization_pct: i64,
    saturated_nodes: usize,
    nodes_with_drift: usize,
    total_containers: usize,
    running_containers: usize,
    pending_containers: usize,
    provisioning_containers: usize,
    stopped_containers: usize,
    error_containers: usize,
    disconnected_containers: usize,
    healthy_containers: usize,
    attention_containers: usize,
    stale_containers: usize,
    missing_containers: usize,
    failed_containers: usize,
    unknown_containers: usize,
    /// Jobs that wait for a worker, in both lanes.
    backlog_count: u64,
    backlog: BacklogView,
}

/// The jobs of each lane. Stops and starts have workers of their own.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Backlog")]
struct BacklogView {
    stops: LaneView,
    starts: LaneView,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Lane")]
struct LaneView {
    /// Jobs that wait for a worker.
    due: u64,
    /// Jobs that a worker has.
    running: u64,
    /// Since when the job that has waited longest is due. Null if none waits.
    oldest_due_at: Option<Timestamp>,
}

impl From<LaneBacklog> for LaneView {
    fn from(lane: LaneBacklog) -> Self {
        Self {
            due: lane.due,
            running: lane.running,
            oldest_due_at: lane.oldest_due_at.map(Timestamp),
        }
    }
}

impl From<&Summary> for SummaryView {
    fn from(summary: &Summary) -> Self {
        Self {
            total_nodes: summary.total_hosts,
            enabled_nodes: summary.enabled_hosts,
            healthy_nodes: summary.healthy_hosts,
            degraded_nodes: summary.degraded_hosts,
            offline_nodes: summary.offline_hosts,
            unknown_nodes: summary.unknown_hosts,
            total_capacity: summary.total_capacity,
            allocated_slots: summary.allocated_slots,
            available_slots: summary.available_slots,
            utilization_pct: summary.utilization_pct,
            saturated_nodes: summary.saturated_hosts,
            nodes_with_drift: summary.hosts_with_drift,
            total_containers: summary.total_agents,
            running_containers: summary.running_agents,
            pending_containers: summary.pending_agents,
            provisioning_containers: summary.provisioning_agents,
            stopped_containers: summary.stopped_agents,
            error_containers: summary.error_status_agents,
            disconnected_containers: summary.disconnected_agents,
            healthy_containers: summary.healthy_agents,
            attention_containers: summary.attention_agents,
            stale_containers: summary.stale_agents,
            missing_containers: summary.missing_agents,
            failed_containers: summary.failed_health_agents,
            unknown_containers: summary.unknown_agents,
            backlog_count: summary.backlog.due(),
            backlog: BacklogView {
                stops: summary.backlog.stops.into(),
                starts: summary.backlog.starts.into(),
            },
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Incident")]
pub(super) struct IncidentView<'a> {
    severity: Severity,
    scope: Scope,
    code: AlertCode,
    title: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    node_id: Option<&'a str>,
    /// The agent's id. For a container that no agent claims, Docker's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    container_id: Option<&'a str>,
    /// The first of the inspections in a row that found it.
    since: Timestamp,
}

impl<'a> From<&'a Incident> for IncidentView<'a> {
    fn from(incident: &'a Incident) -> Self {
        Self {
            severity: incident.severity,
            scope: incident.scope,
            code: incident.code,
            title: &incident.title,
            detail: &incident.detail,
            node_id: incident.node_id.as_deref(),
            container_id: incident.container_id.as_deref(),
            since: Timestamp(incident.since),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FleetNode")]
pub(super) struct HostView<'a> {
    id: HostId,
    node_id: &'a str,
    capacity: i32,
    allocated_count: i32,
    /// Slots in which an agent can be placed now.
    #[schemars(range(min = 0))]
    available_slots: i64,
    enabled: bool,
    status: HostStatus,
    last_health_check: Option<Timestamp>,
    /// When the host was asked. Null if it was not asked.
    observed_at: Option<Timestamp>,
    #[schemars(range(min = 0))]
    utilization_pct: i64,
    /// The number of containers on the host minus the number that the database expects. Null if the host was not
    /// read.
    allocation_drift: Option<i64>,
    alerts: Vec<AlertView<'a>>,
    metadata: &'a Metadata,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Containers of agents that no row claims.
    ghost_containers: Vec<UnclaimedContainerView<'a>>,
    /// The agents whose rows name this host, as in the list of all agents: in a truncated response, those on this page.
    containers: Vec<AgentView<'a>>,
    runtime: RuntimeView<'a>,
}

/// Hosts, each with those of the agents that are on it.
fn host_views<'a>(
    hosts: &'a [HostReport],
    agents: &[&'a AgentReport],
    context: &'a FleetContext,
) -> Vec<HostView<'a>> {
    let mut agents_by_host: HashMap<&str, Vec<AgentView<'a>>> = HashMap::new();
    for &agent in agents {
        if let Some(node_id) = &agent.node_id {
            let on_host = agents_by_host.entry(node_id).or_default();
            on_host.push(AgentView::new(agent, context));
        }
    }
    let hosts = hosts.iter().map(|host| {
        let agents = agents_by_host.remove(host.node_id.as_str());
        HostView::new(host, agents.unwrap_or_default())
    });
    hosts.collect()
}

fn agent_views<'a>(agents: &[&'a AgentReport], context: &'a FleetContext) -> Vec<AgentView<'a>> {
    let agents = agents.iter().copied();
    agents.map(|agent| AgentView::new(agent, context)).collect()
}

impl<'a> HostView<'a> {
    pub(super) fn new(host: &'a HostReport, agents: Vec<AgentView<'a>>) -> Self {
        Self {
            id: host.id,
            node_id: &host.node_id,
            capacity: host.capacity,
            allocated_count: host.allocated_count,
            available_slots: host.available_slots,
            enabled: host.enabled,
            status: host.status,
            last_health_check: host.last_health_check.map(Timestamp),
            observed_at: host.observed_at.map(Timestamp),
            utilization_pct: host.utilization_pct,
            allocation_drift: host.allocation_drift,
            alerts: host.alerts.iter().map(Into::into).collect(),
            metadata: &host.metadata,
            created_at: Timestamp(host.created_at),
            updated_at: Timestamp(host.updated_at),
            ghost_containers: host.unclaimed_containers.iter().map(Into::into).collect(),
            containers: agents,
            runtime: host.into(),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct AlertView<'a> {
    severity: Severity,
    code: AlertCode,
    text: &'a str,
}

impl<'a> From<&'a Alert> for AlertView<'a> {
    fn from(alert: &'a Alert) -> Self {
        Self {
            severity: alert.severity,
            code: alert.code,
            text: &alert.text,
        }
    }
}

/// A container of an agent that no row claims on its host.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "GhostContainer")]
pub(super) struct UnclaimedContainerView<'a> {
    name: &'a str,
    container_id: &'a str,
    state: &'a str,
    status: &'a str,
    /// By the host's clock.
    created_at: Timestamp,
    /// The other host that the container's agent is on.
    #[serde(rename = "elsewhere", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    agent_node_id: Option<&'a str>,
}

impl<'a> From<&'a UnclaimedContainer> for UnclaimedContainerView<'a> {
    fn from(container: &'a UnclaimedContainer) -> Self {
        Self {
            name: &container.name,
            container_id: &container.container_id,
            state: &container.state,
            status: &container.status,
            created_at: Timestamp(container.created_at),
            agent_node_id: container.agent_host.as_deref(),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FleetContainer")]
pub(super) struct AgentView<'a> {
    id: AgentId,
    sandbox_id: Option<&'a str>,
    agent_name: Option<&'a str>,
    organization_id: OrganizationId,
    /// Null if the organization is deleted.
    organization_name: Option<&'a str>,
    user_id: UserId,
    node_id: Option<&'a str>,
    container_name: Option<&'a str>,
    db_status: AgentStatus,
    live_health: Health,
    live_health_severity: Severity,
    live_health_reason: &'a str,
    runtime_state: Option<&'a str>,
    runtime_status: Option<&'a str>,
    /// Null if the host was not read.
    runtime_present: Option<bool>,
    docker_image: Option<&'a str>,
    container_kind: ContainerKind,
    last_heartbeat_at: Option<Timestamp>,
    #[schemars(range(min = 0))]
    heartbeat_age_minutes: Option<i64>,
    error_message: Option<&'a str>,
    error_count: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> AgentView<'a> {
    pub(super) fn new(agent: &'a AgentReport, context: &'a FleetContext) -> Self {
        let organization_name = context.organization_names.get(&agent.organization_id);
        let image = agent.docker_image.as_deref();
        Self {
            container_kind: ContainerKind::of(image, &context.default_image),
            organization_name: organization_name.map(String::as_str),
            id: agent.id,
            sandbox_id: agent.sandbox_id.as_deref(),
            agent_name: agent.agent_name.as_deref(),
            organization_id: agent.organization_id,
            user_id: agent.user_id,
            node_id: agent.node_id.as_deref(),
            container_name: agent.container_name.as_deref(),
            db_status: agent.status,
            live_health: agent.verdict.health,
            live_health_severity: agent.verdict.severity,
            live_health_reason: &agent.verdict.reason,
            runtime_state: agent.docker_state.as_deref(),
            runtime_status: agent.docker_status.as_deref(),
            runtime_present: agent.is_container_present(),
            docker_image: image,
            last_heartbeat_at: agent.last_heartbeat_at.map(Timestamp),
            heartbeat_age_minutes: agent.heartbeat_age_minutes,
            error_message: agent.error_message.as_deref(),
            error_count: agent.error_count,
            created_at: Timestamp(agent.created_at),
            updated_at: Timestamp(agent.updated_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::domain::fleet::fixtures::{example_run, now};

    fn json() -> String {
        let snapshot = FleetSnapshot::of(&example_run(), now());
        serde_json::to_string_pretty(&FleetView::of(&snapshot, false, &FleetContext::default()))
            .expect("JSON")
            + "\n"
    }

    #[test]
    fn a_snapshot_has_the_json_of_the_example() {
        assert_eq!(json(), include_str!("fleet_example.json"));
    }

    /// The keys of all objects.
    fn keys(value: &Value) -> Vec<&str> {
        match value {
            Value::Object(fields) => {
                let nested = fields.values().flat_map(keys);
                fields.keys().map(String::as_str).chain(nested).collect()
            }
            Value::Array(values) => values.iter().flat_map(keys).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn the_json_holds_no_address_of_a_host() {
        let json = json();
        for address in ["100.64.0.9", "31337", "0.0.0.0", "d.sock"] {
            assert!(!json.contains(address), "{address}");
        }
        let value: Value = serde_json::from_str(&json).expect("JSON");
        let address_words = [
            "hostname",
            "port",
            "url",
            "headscale",
            "bridge",
            "address",
            "sshuser",
        ];
        for key in keys(&value) {
            let key = key.to_lowercase();
            assert!(
                !address_words.iter().any(|word| key.contains(word)),
                "{key}"
            );
        }
    }
}
