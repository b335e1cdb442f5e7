//! An agent in JSON. Owns: the fields that lists and single agents share.

use schemars::JsonSchema;
use serde::Serialize;

use crate::api::response::number;
use crate::api::schema::AgentUrl;
use crate::db::agents::records::AgentRecord;
use crate::domain::agent::{AgentStatus, BillingStatus, DatabaseStatus};
use crate::domain::ids::AgentId;
use crate::domain::job::{JobKind, JobVerb};
use crate::domain::money::Money;
use crate::domain::pricing::Prices;
use crate::domain::timestamp::Timestamp;

// Clients know the token's fields in snake case.
/// An agent in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentSummary {
    id: AgentId,
    agent_name: Option<String>,
    status: AgentStatus,
    database_status: DatabaseStatus,
    last_backup_at: Option<Timestamp>,
    last_heartbeat_at: Option<Timestamp>,
    error_message: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(rename = "token_address")]
    token_address: Option<String>,
    #[serde(rename = "token_chain")]
    token_chain: Option<String>,
    #[serde(rename = "token_name")]
    token_name: Option<String>,
    #[serde(rename = "token_ticker")]
    token_ticker: Option<String>,
    billing_status: BillingStatus,
    /// US dollars per hour of running.
    hourly_rate: Money,
    total_billed: Money,
    scheduled_shutdown_at: Option<Timestamp>,
    /// What the active job does with the agent.
    pending_action: Option<JobVerb>,
    docker_image: Option<String>,
}

/// A single agent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentDetail {
    #[serde(flatten)]
    summary: AgentSummary,
    #[schemars(range(min = 0))]
    error_count: i32,
    /// Null if the agent has no public address.
    #[schemars(with = "Option<AgentUrl>")]
    bridge_url: Option<String>,
    /// Null if the agent has no public address.
    #[schemars(with = "Option<AgentUrl>")]
    health_url: Option<String>,
    #[serde(flatten)]
    operator_fields: Option<OperatorFields>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct OperatorFields {
    /// The host that the agent is on. Only super admins see it.
    node_id: Option<String>,
}

impl AgentSummary {
    pub(super) fn new(agent: AgentRecord, prices: &Prices) -> Self {
        let pending = agent.pending_job.as_deref().and_then(JobKind::parse);
        let total_billed = agent.total_billed();
        let rate = agent.hourly_rate.unwrap_or(prices.running_hourly);
        Self {
            id: agent.id,
            agent_name: agent.agent_name,
            status: AgentStatus::parse_or_unknown(&agent.status),
            database_status: DatabaseStatus::parse(&agent.database_status)
                .unwrap_or(DatabaseStatus::Unknown),
            last_backup_at: agent.last_backup_at.map(Timestamp),
            last_heartbeat_at: agent.last_heartbeat_at.map(Timestamp),
            error_message: agent.error_message,
            created_at: Timestamp(agent.created_at),
            updated_at: Timestamp(agent.updated_at),
            token_address: agent.token_address,
            token_chain: agent.token_chain,
            token_name: agent.token_name,
            token_ticker: agent.token_ticker,
            // A constraint of the table allows no other words.
            billing_status: BillingStatus::parse(&agent.billing_status)
                .unwrap_or(BillingStatus::Active),
            hourly_rate: number(rate),
            total_billed,
            scheduled_shutdown_at: agent.scheduled_shutdown_at.map(Timestamp),
            pending_action: pending.map(JobKind::verb),
            docker_image: agent.docker_image,
        }
    }
}

impl AgentDetail {
    pub(super) fn new(
        agent: AgentRecord,
        prices: &Prices,
        domain: Option<&str>,
        is_super_admin: bool,
    ) -> Self {
        let address = address(&agent, domain);
        Self {
            error_count: agent.error_count,
            health_url: address.clone(),
            bridge_url: address,
            operator_fields: is_super_admin.then(|| OperatorFields {
                node_id: agent.node_id.clone(),
            }),
            summary: AgentSummary::new(agent, prices),
        }
    }
}

/// The public address of an agent. Its host's address is never shown.
pub(super) fn origin(agent_id: AgentId, domain: &str) -> String {
    format!("https://{agent_id}.{domain}")
}

/// The public address of an agent that can be reached now, `None` otherwise.
pub(super) fn address(agent: &AgentRecord, domain: Option<&str>) -> Option<String> {
    let is_up =
        agent.reachable && AgentStatus::parse_or_unknown(&agent.status).expects_container(false);
    domain
        .filter(|_| is_up)
        .map(|domain| origin(agent.id, domain))
}
