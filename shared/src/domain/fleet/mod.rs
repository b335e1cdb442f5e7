//! The fleet as one refresh run observes it. Owns: how rows and observations become a snapshot with alerts,
//! incidents and totals, which status changes follow from two runs, and what operators can do to a
//! container. No address of a host can become part of a snapshot. Does not own: asking hosts (`hosts`),
//! reading rows (`db`), storing snapshots (`cache`), their JSON (`api::admin`).

mod action;
mod agent;
mod alert;
mod claims;
mod death;
mod discrepancy;
mod health;
mod host;
mod incident;
mod isolation;
mod load;
mod observation;
mod overview;
mod own_fault;
mod redact;
mod severity;
mod shard;
mod snapshot;
mod summary;
mod suspicion;
mod transition;

pub use action::{ContainerAction, ContainerContext, ContainerDetail};
pub use agent::AgentReport;
pub use alert::{Alert, AlertCode};
pub use claims::UnclaimedContainer;
pub use death::{
    AilingContainer, CloseObservation, ContainerEnd, Death, Diagnosis, KEPT_LOG_BYTES,
    KEPT_LOG_LINES, RESTART_WINDOW, diagnose, is_suspicious, kept_log,
};
pub use discrepancy::{DISCREPANCY_MAX_AGE, Discrepancy, DiscrepancyKind, find_discrepancies};
pub use health::{Health, Verdict, silent_since};
pub use host::{HostReport, HostRuntime, HostStatus, RuntimeContainer};
pub use incident::{Incident, IncidentStart, Scope};
pub use isolation::{AgentsNetwork, IsolationGap, PacketFilter};
pub use load::{CLEANUP_DISK_PERCENT, DEGRADED_DISK_PERCENT, HostFacts, format_hundredths};
pub use observation::{
    AgentObservation, AgentRow, ContainerCondition, ContainerObservation, ContainerState,
    DockerHealth, EngineObservation, FleetReading, HostInspection, HostObservation, HostReadError,
    HostRow, InspectedHost, OwnFault,
};
pub use overview::{FleetOverview, HostDigest, ShardDigest};
pub use own_fault::{HostChange, OtherHosts};
pub use redact::{Metadata, MetadataValue, redact_addresses, redact_secrets};
pub use severity::Severity;
pub use shard::{MAX_SHARD_HOSTS, Shard, ShardRun, ShardRuns};
pub use snapshot::{FleetContext, FleetSnapshot, is_stale};
pub use summary::Summary;
pub use suspicion::{ContainerSuspicion, Suspicions};
pub use transition::{AgentEvidence, StatusTransition, find_transitions, next_suspicions};

#[cfg(test)]
mod cases;
#[cfg(test)]
pub(crate) mod fixtures;
