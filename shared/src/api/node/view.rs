//! A host in JSON. Owns: the fields that lists and single hosts share.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::db::agents::operator::OperatorAgent;
use crate::db::hosts::registry::HostRecord;
use crate::domain::agent::{AgentStatus, StopReason};
use crate::domain::container::ContainerKind;
use crate::domain::fleet::{HostStatus, redact_addresses, redact_secrets};
use crate::domain::ids::{AgentId, HostId, OrganizationId, UserId};
use crate::domain::timestamp::Timestamp;
use crate::domain::withdrawal::HostService;

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Node")]
pub(super) struct HostJson {
    id: HostId,
    #[schemars(length(min = 1))]
    node_id: String,
    hostname: String,
    ssh_port: i32,
    ssh_user: String,
    capacity: i32,
    allocated_count: i32,
    /// Slots that are not allocated; 0 for a host whose capacity was reduced below its allocated slots.
    #[schemars(range(min = 0))]
    available_slots: i32,
    /// Whether agents may be started on the host.
    enabled: bool,
    status: HostStatus,
    /// Whether the host is there for agents: an operator may drain it, or declare it lost.
    service: HostService,
    last_health_check: Option<Timestamp>,
    /// The stored metadata. Values of keys such as `apiToken` or `password` are redacted.
    #[schemars(with = "Map<String, Value>")]
    metadata: Value,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Whether a key is pinned. A host that presents another key is refused.
    host_key_pinned: bool,
}

impl HostJson {
    pub(super) fn new(node: HostRecord) -> Self {
        Self {
            service: node.host_service(),
            id: node.id,
            node_id: node.node_id,
            hostname: node.hostname,
            ssh_port: node.ssh_port,
            ssh_user: node.ssh_user,
            capacity: node.capacity,
            allocated_count: node.allocated_count,
            available_slots: node.capacity.saturating_sub(node.allocated_count).max(0),
            enabled: node.enabled,
            status: HostStatus::parse_or_unknown(&node.status),
            last_health_check: node.last_health_check.map(Timestamp),
            metadata: redact_secrets(node.metadata),
            created_at: Timestamp(node.created_at),
            updated_at: Timestamp(node.updated_at),
            host_key_pinned: node.host_key_fingerprint.is_some(),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RegisteredNode")]
pub(super) struct RegisteredHostJson {
    #[serde(flatten)]
    pub(super) node: HostJson,
    /// The fingerprint of the pinned key. Null if the host presented no key and none was given.
    pub(super) host_key_fingerprint: Option<String>,
    /// Why the host cannot be used yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) warning: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NodeDetail")]
pub(super) struct HostDetailJson {
    #[serde(flatten)]
    pub(super) node: HostJson,
    /// The fingerprint of the pinned key; null if none is pinned.
    pub(super) host_key_fingerprint: Option<String>,
    /// The first of the inspections in a row that could not read the host's containers; null if the last one could.
    pub(super) unread_since: Option<Timestamp>,
    /// When the host's drain began or the host was declared lost; null for a host in service.
    pub(super) withdrawn_at: Option<Timestamp>,
    /// When a drained host was empty, or a lost host answered again.
    pub(super) withdrawal_done_at: Option<Timestamp>,
    /// The agents whose rows name the host, those with a container on it first. The volume of a stopped agent may be
    /// on the host.
    #[schemars(length(max = 1_000))]
    pub(super) containers: Vec<HostAgentJson>,
}

/// An agent whose row names the host. If it is stopped, its volume may be there.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NodeContainer")]
pub(super) struct HostAgentJson {
    id: AgentId,
    sandbox_id: Option<String>,
    organization_id: OrganizationId,
    organization_name: Option<String>,
    user_id: UserId,
    agent_name: Option<String>,
    status: AgentStatus,
    container_name: Option<String>,
    bridge_port: Option<i32>,
    web_ui_port: Option<i32>,
    headscale_ip: Option<String>,
    docker_image: Option<String>,
    container_kind: ContainerKind,
    last_heartbeat_at: Option<Timestamp>,
    error_message: Option<String>,
    error_count: i32,
    /// Who stopped the agent, or what did. Null if nobody did, or another application; a start clears it.
    stop_reason: Option<StopReason>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl HostAgentJson {
    pub(super) fn new(agent: OperatorAgent, default_image: &str) -> Self {
        let error = agent.error_message.as_deref();
        Self {
            id: agent.id,
            sandbox_id: agent.sandbox_id,
            organization_id: agent.organization_id,
            organization_name: agent.organization_name,
            user_id: agent.user_id,
            agent_name: agent.agent_name,
            status: AgentStatus::parse_or_unknown(&agent.status),
            container_name: agent.container_name,
            bridge_port: agent.bridge_port,
            web_ui_port: agent.web_ui_port,
            headscale_ip: agent.headscale_ip,
            container_kind: ContainerKind::of(agent.docker_image.as_deref(), default_image),
            docker_image: agent.docker_image,
            last_heartbeat_at: agent.last_heartbeat_at.map(Timestamp),
            error_message: error.map(redact_addresses),
            error_count: agent.error_count,
            stop_reason: agent.stop_reason.as_deref().and_then(StopReason::parse),
            created_at: Timestamp(agent.created_at),
            updated_at: Timestamp(agent.updated_at),
        }
    }
}
