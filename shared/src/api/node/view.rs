//! How a host looks in JSON. Owns: the fields that lists and single hosts share.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::api::json::Date;
use crate::db::hosts::operator::{NodeAgent, Record};
use crate::domain::agent::AgentStatus;
use crate::domain::fleet::{NodeStatus, without_addresses, without_secrets};

/// A host.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeJson {
    id: Uuid,
    node_id: String,
    hostname: String,
    ssh_port: i32,
    ssh_user: String,
    capacity: i32,
    allocated_count: i32,
    /// Slots that are not taken; one that was made smaller than what it carries has none.
    available_slots: i32,
    enabled: bool,
    status: NodeStatus,
    last_health_check: Option<Date>,
    metadata: Value,
    created_at: Date,
    updated_at: Date,
    host_key_pinned: bool,
}

impl NodeJson {
    pub(super) fn new(node: Record) -> Self {
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
            status: NodeStatus::parse(&node.status),
            last_health_check: node.last_health_check.map(Date),
            metadata: without_secrets(node.metadata),
            created_at: Date(node.created_at),
            updated_at: Date(node.updated_at),
            host_key_pinned: node.host_key_fingerprint.is_some(),
        }
    }
}

/// A host that was just registered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegisteredJson {
    #[serde(flatten)]
    pub(super) node: NodeJson,
    pub(super) host_key_fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) warning: Option<String>,
}

/// A host with the agents whose rows name it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DetailJson {
    #[serde(flatten)]
    pub(super) node: NodeJson,
    pub(super) containers: Vec<ContainerJson>,
}

/// An agent whose row names a host; of a stopped one its volume may be there.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerJson {
    id: Uuid,
    sandbox_id: Option<String>,
    organization_id: Uuid,
    user_id: Uuid,
    agent_name: Option<String>,
    status: AgentStatus,
    container_name: Option<String>,
    bridge_port: Option<i32>,
    web_ui_port: Option<i32>,
    docker_image: Option<String>,
    last_heartbeat_at: Option<Date>,
    error_message: Option<String>,
    error_count: i32,
    created_at: Date,
    updated_at: Date,
}

impl ContainerJson {
    pub(super) fn new(agent: NodeAgent) -> Self {
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
            last_heartbeat_at: agent.last_heartbeat_at.map(Date),
            error_message: error.map(without_addresses),
            error_count: agent.error_count,
            created_at: Date(agent.created_at),
            updated_at: Date(agent.updated_at),
        }
    }
}
