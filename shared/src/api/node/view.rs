//! A host in JSON. Owns: the fields that lists and single hosts share.

use serde::Serialize;
use serde_json::Value;

use crate::db::agents::operator::OperatorAgent;
use crate::db::hosts::registry::HostRecord;
use crate::domain::agent::AgentStatus;
use crate::domain::fleet::{HostStatus, redact_addresses, redact_secrets};
use crate::domain::ids::{AgentId, HostId, OrganizationId, UserId};
use crate::domain::timestamp::Timestamp;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostJson {
    id: HostId,
    node_id: String,
    hostname: String,
    ssh_port: i32,
    ssh_user: String,
    capacity: i32,
    allocated_count: i32,
    /// 0 for a host whose capacity was reduced below its allocated slots.
    available_slots: i32,
    enabled: bool,
    status: HostStatus,
    last_health_check: Option<Timestamp>,
    metadata: Value,
    created_at: Timestamp,
    updated_at: Timestamp,
    host_key_pinned: bool,
}

impl HostJson {
    pub(super) fn new(node: HostRecord) -> Self {
        Self {
            id: node.id,
            node_id: node.node_id,
            hostname: node.hostname,
            ssh_port: node.ssh_port,
            ssh_user: node.ssh_user,
            capacity: node.capacity,
            allocated_count: node.allocated_count,
            available_slots: node.capacity.saturating_sub(node.allocated_count).max(0),
            enabled: node.enabled,
            status: HostStatus::parse(&node.status),
            last_health_check: node.last_health_check.map(Timestamp),
            metadata: redact_secrets(node.metadata),
            created_at: Timestamp(node.created_at),
            updated_at: Timestamp(node.updated_at),
            host_key_pinned: node.host_key_fingerprint.is_some(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegisteredHostJson {
    #[serde(flatten)]
    pub(super) node: HostJson,
    pub(super) host_key_fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) warning: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostDetailJson {
    #[serde(flatten)]
    pub(super) node: HostJson,
    pub(super) containers: Vec<HostAgentJson>,
}

/// An agent whose row names the host. If it is stopped, its volume may be there.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostAgentJson {
    id: AgentId,
    sandbox_id: Option<String>,
    organization_id: OrganizationId,
    user_id: UserId,
    agent_name: Option<String>,
    status: AgentStatus,
    container_name: Option<String>,
    bridge_port: Option<i32>,
    web_ui_port: Option<i32>,
    docker_image: Option<String>,
    last_heartbeat_at: Option<Timestamp>,
    error_message: Option<String>,
    error_count: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl HostAgentJson {
    pub(super) fn new(agent: OperatorAgent) -> Self {
        let error = agent.error_message.as_deref();
        Self {
            id: agent.id,
            sandbox_id: agent.sandbox_id,
            organization_id: agent.organization_id,
            user_id: agent.user_id,
            agent_name: agent.agent_name,
            status: AgentStatus::parse(&agent.status),
            container_name: agent.container_name,
            bridge_port: agent.bridge_port,
            web_ui_port: agent.web_ui_port,
            docker_image: agent.docker_image,
            last_heartbeat_at: agent.last_heartbeat_at.map(Timestamp),
            error_message: error.map(redact_addresses),
            error_count: agent.error_count,
            created_at: Timestamp(agent.created_at),
            updated_at: Timestamp(agent.updated_at),
        }
    }
}
