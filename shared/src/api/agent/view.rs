//! How an agent looks in JSON. Owns: the fields that lists and single agents share.

use rust_decimal::Decimal;
use serde::Serialize;
use uuid::Uuid;

use crate::api::json::{Date, number};
use crate::db::agents::owner::Record;
use crate::domain::agent::{AgentStatus, BillingStatus};
use crate::domain::job::JobKind;
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// An agent in a list. The token's fields are spelled as the clients know them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    id: Uuid,
    agent_name: Option<String>,
    status: AgentStatus,
    database_status: &'static str,
    last_backup_at: Option<Date>,
    last_heartbeat_at: Option<Date>,
    error_message: Option<String>,
    created_at: Date,
    updated_at: Date,
    #[serde(rename = "token_address")]
    token_address: Option<String>,
    #[serde(rename = "token_chain")]
    token_chain: Option<String>,
    #[serde(rename = "token_name")]
    token_name: Option<String>,
    #[serde(rename = "token_ticker")]
    token_ticker: Option<String>,
    billing_status: BillingStatus,
    /// What an hour of running costs.
    hourly_rate: Money,
    total_billed: Money,
    scheduled_shutdown_at: Option<Date>,
    pending_action: Option<&'static str>,
    docker_image: Option<String>,
}

/// A single agent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail {
    #[serde(flatten)]
    summary: Summary,
    error_count: i32,
    bridge_url: Option<String>,
    health_url: Option<String>,
    #[serde(flatten)]
    for_operators: Option<ForOperators>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ForOperators {
    node_id: Option<String>,
}

impl Summary {
    pub(super) fn new(agent: Record, prices: &Prices) -> Self {
        let pending = agent.pending_job.as_deref().and_then(JobKind::parse);
        let rate = agent.hourly_rate.unwrap_or(prices.running_hourly);
        Self {
            id: agent.id,
            agent_name: agent.agent_name,
            status: AgentStatus::parse(&agent.status),
            database_status: database_status(&agent.database_status),
            last_backup_at: agent.last_backup_at.map(Date),
            last_heartbeat_at: agent.last_heartbeat_at.map(Date),
            error_message: agent.error_message,
            created_at: Date(agent.created_at),
            updated_at: Date(agent.updated_at),
            token_address: agent.token_address,
            token_chain: agent.token_chain,
            token_name: agent.token_name,
            token_ticker: agent.token_ticker,
            // The database holds no other words.
            billing_status: BillingStatus::parse(&agent.billing_status)
                .unwrap_or(BillingStatus::Active),
            hourly_rate: number(rate),
            total_billed: number(agent.total_billed.unwrap_or(Decimal::ZERO)),
            scheduled_shutdown_at: agent.scheduled_shutdown_at.map(Date),
            pending_action: pending.map(JobKind::verb),
            docker_image: agent.docker_image,
        }
    }
}

impl Detail {
    pub(super) fn new(agent: Record, prices: &Prices, domain: Option<&str>, admin: bool) -> Self {
        let address = address(&agent, domain);
        Self {
            error_count: agent.error_count,
            health_url: address.clone(),
            bridge_url: address,
            for_operators: admin.then(|| ForOperators {
                node_id: agent.node_id.clone(),
            }),
            summary: Summary::new(agent, prices),
        }
    }
}

/// Where the public reaches an agent: never its host's address.
pub(super) fn origin(agent_id: Uuid, domain: &str) -> String {
    format!("https://{agent_id}.{domain}")
}

/// The same for an agent that can be reached.
pub(super) fn address(agent: &Record, domain: Option<&str>) -> Option<String> {
    let up = agent.reachable && AgentStatus::parse(&agent.status).expects_container(false);
    domain.filter(|_| up).map(|domain| origin(agent.id, domain))
}

fn database_status(word: &str) -> &'static str {
    let known = ["none", "provisioning", "ready", "error"];
    known
        .into_iter()
        .find(|known| *known == word)
        .unwrap_or("unknown")
}
