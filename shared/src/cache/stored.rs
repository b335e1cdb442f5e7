//! The stored form of a snapshot. Owns: the JSON of its parts.
//!
//! Each struct lists the fields of a domain type. Serde's `remote` converts in both directions and fails to
//! compile if the fields differ. A change here needs another [`SNAPSHOT_FORMAT`], so that a function of
//! another version does not read what it does not understand.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::agent::AgentStatus;
use crate::domain::fleet::{
    AgentObservation, AgentReport, Alert, AlertCode, ContainerCondition, ContainerState,
    DockerHealth, Health, HostFacts, HostReadError, HostReport, HostRuntime, HostStatus, Incident,
    Metadata, PacketFilter, RuntimeContainer, Scope, Severity, Summary, UnclaimedContainer,
    Verdict,
};
use crate::domain::ids::{AgentId, HostId, OrganizationId, UserId};
use crate::domain::lane::Backlog;

/// The format of the parts. A snapshot of another format reads as absent.
pub(super) const SNAPSHOT_FORMAT: u64 = 7;

/// The part for the fleet as a whole, with the agents that have no registered host.
#[derive(Serialize, Deserialize)]
pub(super) struct FleetPart {
    pub(super) refreshed_at: DateTime<Utc>,
    #[serde(with = "StoredSummary")]
    pub(super) summary: Summary,
    #[serde(with = "incidents")]
    pub(super) incidents: Vec<Incident>,
    #[serde(with = "agents")]
    pub(super) agents: Vec<AgentReport>,
}

/// The part for one host, with the agents on it.
#[derive(Serialize, Deserialize)]
pub(super) struct HostPart {
    #[serde(with = "StoredHost")]
    pub(super) host: HostReport,
    #[serde(with = "agents")]
    pub(super) agents: Vec<AgentReport>,
}

/// Makes a module for `#[serde(with = ..)]` on a list, which `remote` does not offer.
macro_rules! stored_list {
    ($module:ident, $domain:ident, $stored:tt) => {
        mod $module {
            use super::*;

            #[derive(Serialize)]
            struct Borrowed<'a>(#[serde(with = $stored)] &'a $domain);

            #[derive(Deserialize)]
            struct Owned(#[serde(with = $stored)] $domain);

            pub(super) fn serialize<S: Serializer>(
                items: &[$domain],
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(items.iter().map(Borrowed))
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Vec<$domain>, D::Error> {
                let items = Vec::<Owned>::deserialize(deserializer)?;
                Ok(items.into_iter().map(|item| item.0).collect())
            }
        }
    };
}

stored_list!(agents, AgentReport, "StoredAgent");
stored_list!(alerts, Alert, "StoredAlert");
stored_list!(containers, RuntimeContainer, "StoredContainer");
stored_list!(incidents, Incident, "StoredIncident");
stored_list!(unclaimed, UnclaimedContainer, "StoredUnclaimed");

#[derive(Serialize, Deserialize)]
#[serde(remote = "Summary")]
struct StoredSummary {
    total_hosts: usize,
    enabled_hosts: usize,
    healthy_hosts: usize,
    degraded_hosts: usize,
    offline_hosts: usize,
    unknown_hosts: usize,
    total_capacity: i64,
    allocated_slots: i64,
    available_slots: i64,
    utilization_pct: i64,
    saturated_hosts: usize,
    hosts_with_drift: usize,
    total_agents: usize,
    running_agents: usize,
    pending_agents: usize,
    provisioning_agents: usize,
    stopped_agents: usize,
    #[serde(rename = "error_agents")]
    error_status_agents: usize,
    disconnected_agents: usize,
    healthy_agents: usize,
    attention_agents: usize,
    stale_agents: usize,
    missing_agents: usize,
    #[serde(rename = "failed_agents")]
    failed_health_agents: usize,
    unknown_agents: usize,
    backlog: Backlog,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Incident")]
struct StoredIncident {
    severity: Severity,
    scope: Scope,
    code: AlertCode,
    title: String,
    detail: String,
    node_id: Option<String>,
    container_id: Option<String>,
    since: DateTime<Utc>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HostReport")]
struct StoredHost {
    id: HostId,
    node_id: String,
    capacity: i32,
    allocated_count: i32,
    available_slots: i64,
    enabled: bool,
    status: HostStatus,
    last_health_check: Option<DateTime<Utc>>,
    observed_at: Option<DateTime<Utc>>,
    utilization_pct: i64,
    allocation_drift: Option<i64>,
    #[serde(with = "alerts")]
    alerts: Vec<Alert>,
    metadata: Metadata,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[serde(with = "unclaimed")]
    unclaimed_containers: Vec<UnclaimedContainer>,
    #[serde(with = "StoredRuntime")]
    runtime: HostRuntime,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Alert")]
struct StoredAlert {
    severity: Severity,
    code: AlertCode,
    text: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "UnclaimedContainer")]
struct StoredUnclaimed {
    name: String,
    container_id: String,
    state: String,
    status: String,
    created_at: DateTime<Utc>,
    agent_host: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HostRuntime")]
struct StoredRuntime {
    reachable: bool,
    docker_readable: bool,
    latency_ms: Option<u64>,
    docker_version: Option<String>,
    #[serde(with = "StoredFacts")]
    facts: HostFacts,
    #[serde(with = "containers")]
    containers: Vec<RuntimeContainer>,
    error: Option<HostReadError>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HostFacts")]
struct StoredFacts {
    load_1m_hundredths: Option<u64>,
    cpus: Option<u64>,
    memory_used_percent: Option<u64>,
    disk_used_percent: Option<u64>,
    docker_disk_used_percent: Option<u64>,
    io_pressure_percent: Option<u64>,
    packet_filter: PacketFilter,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RuntimeContainer")]
struct StoredContainer {
    name: String,
    id: String,
    image: String,
    state: String,
    status: String,
    health: Option<DockerHealth>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "AgentReport")]
struct StoredAgent {
    id: AgentId,
    sandbox_id: Option<String>,
    agent_name: Option<String>,
    organization_id: OrganizationId,
    user_id: UserId,
    node_id: Option<String>,
    container_name: Option<String>,
    #[serde(deserialize_with = "agent_status")]
    status: AgentStatus,
    #[serde(with = "StoredVerdict")]
    verdict: Verdict,
    #[serde(with = "StoredObservation")]
    observation: AgentObservation,
    docker_state: Option<String>,
    docker_status: Option<String>,
    docker_image: Option<String>,
    last_heartbeat_at: Option<DateTime<Utc>>,
    heartbeat_age_minutes: Option<i64>,
    error_message: Option<String>,
    error_count: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

fn agent_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AgentStatus, D::Error> {
    String::deserialize(deserializer).map(|word| AgentStatus::parse_or_unknown(&word))
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Verdict")]
struct StoredVerdict {
    health: Health,
    severity: Severity,
    reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "AgentObservation", rename_all = "snake_case")]
enum StoredObservation {
    NoHost,
    HostNotRead(HostReadError),
    NoContainer,
    Container(#[serde(with = "StoredCondition")] ContainerCondition),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ContainerCondition")]
struct StoredCondition {
    state: ContainerState,
    health: Option<DockerHealth>,
    created_at: DateTime<Utc>,
}
