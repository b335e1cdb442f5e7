//! An agent in JSON. Owns: the fields that lists and single agents share.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::response::number;
use crate::api::schema::AgentUrl;
use crate::app::agent::read::AgentDetails;
use crate::db::agents::deaths::DeathRecord;
use crate::db::agents::records::AgentRecord;
use crate::domain::agent::{AgentStatus, BillingStatus, DatabaseStatus, StopReason};
use crate::domain::container::ContainerKind;
use crate::domain::fleet::silent_since;
use crate::domain::ids::{AgentId, JobId};
use crate::domain::job::{JobKind, JobVerb};
use crate::domain::money::Money;
use crate::domain::pricing::Prices;
use crate::domain::timestamp::Timestamp;

/// What agents are shown with.
#[derive(Clone, Copy, Debug)]
pub(super) struct ViewContext<'a> {
    /// For agents without a price of their own.
    pub(super) prices: &'a Prices,
    pub(super) default_image: &'a str,
    pub(super) now: DateTime<Utc>,
}

// Clients know the token's fields in snake case.
/// An agent in a list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentSummary {
    id: AgentId,
    agent_name: Option<String>,
    status: AgentStatus,
    database_status: DatabaseStatus,
    last_backup_at: Option<Timestamp>,
    last_heartbeat_at: Option<Timestamp>,
    /// The last heartbeat of a running agent that has had none for five minutes or longer; null for every other agent.
    silent_since: Option<Timestamp>,
    error_message: Option<String>,
    /// Who stopped the agent, or what did. Null if nobody did, or another application; a start clears it.
    stop_reason: Option<StopReason>,
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
    /// The active job.
    pending_job_id: Option<JobId>,
    docker_image: Option<String>,
    /// `managed` if the agent runs the default image.
    container_kind: ContainerKind,
}

/// A single agent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentDetail {
    #[serde(flatten)]
    summary: AgentSummary,
    #[schemars(range(min = 0))]
    error_count: i32,
    /// Why an operator stopped the agent, in the operator's words. Null if none did, or gave no reason; a start clears it.
    stop_note: Option<String>,
    /// Why the last daily backup failed, of an agent that was running then. It is tried again. Null if it did not fail.
    backup_error: Option<String>,
    /// How the agent's last container died, if one did.
    last_death: Option<ContainerDeath>,
    /// The names of the agent's environment variables, with those that the platform has made. The values are never shown.
    environment_names: Vec<String>,
    /// Null if the agent has no public address.
    #[schemars(with = "Option<AgentUrl>")]
    bridge_url: Option<String>,
    /// Null if the agent has no public address.
    #[schemars(with = "Option<AgentUrl>")]
    health_url: Option<String>,
    #[serde(flatten)]
    operator_fields: Option<OperatorFields>,
}

/// A container that ended by itself, at its start or while the agent ran.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ContainerDeath {
    at: Timestamp,
    /// Null if Docker did not say.
    exit_code: Option<i64>,
    /// Whether it was killed because it used up its memory.
    out_of_memory: bool,
    /// How often Docker had started it again.
    #[schemars(range(min = 0))]
    restarts: i64,
    /// The last lines that it wrote, at most 50, each with its time.
    log: String,
}

impl From<DeathRecord> for ContainerDeath {
    fn from(death: DeathRecord) -> Self {
        Self {
            at: Timestamp(death.died_at),
            exit_code: death.exit_code,
            out_of_memory: death.out_of_memory,
            restarts: death.restarts,
            log: death.log,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct OperatorFields {
    /// The host that the agent is on. Only super admins see it.
    node_id: Option<String>,
}

impl AgentSummary {
    pub(super) fn new(agent: AgentRecord, context: ViewContext<'_>) -> Self {
        let status = AgentStatus::parse_or_unknown(&agent.status);
        let silent_since = silent_since(status, agent.last_heartbeat_at, context.now);
        let container_kind =
            ContainerKind::of(agent.docker_image.as_deref(), context.default_image);
        let pending = agent.pending_job.as_deref().and_then(JobKind::parse);
        let total_billed = agent.total_billed();
        let rate = agent.hourly_rate.unwrap_or(context.prices.running_hourly);
        Self {
            id: agent.id,
            agent_name: agent.agent_name,
            status,
            database_status: DatabaseStatus::parse(&agent.database_status)
                .unwrap_or(DatabaseStatus::Unknown),
            last_backup_at: agent.last_backup_at.map(Timestamp),
            last_heartbeat_at: agent.last_heartbeat_at.map(Timestamp),
            silent_since: silent_since.map(Timestamp),
            error_message: agent.error_message,
            stop_reason: agent.stop_reason.as_deref().and_then(StopReason::parse),
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
            pending_job_id: agent.pending_job_id.filter(|_| pending.is_some()),
            docker_image: agent.docker_image,
            container_kind,
        }
    }

    /// Without what changes every minute and tells a client nothing new: a heartbeat that comes in time.
    pub(super) fn version(&self) -> Self {
        Self {
            last_heartbeat_at: None,
            ..self.clone()
        }
    }
}

impl AgentDetail {
    pub(super) fn new(
        details: AgentDetails,
        context: ViewContext<'_>,
        domain: Option<&str>,
        is_super_admin: bool,
    ) -> Self {
        let AgentDetails {
            record: mut agent,
            backup_error,
            last_death,
        } = details;
        let address = address(&agent, domain);
        Self {
            error_count: agent.error_count,
            stop_note: agent.stop_note.take(),
            backup_error,
            last_death: last_death.map(ContainerDeath::from),
            environment_names: agent.environment_names.take().unwrap_or_default(),
            health_url: address.clone(),
            bridge_url: address,
            operator_fields: is_super_admin.then(|| OperatorFields {
                node_id: agent.node_id.clone(),
            }),
            summary: AgentSummary::new(agent, context),
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
