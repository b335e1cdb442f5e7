//! The fleet as one refresh run observes it. Owns: how rows and observations become a snapshot with alerts,
//! incidents and totals, which status changes follow from two runs, and what operators can do to a
//! container. No address of a host can become part of a snapshot. Does not own: asking hosts (`hosts`),
//! reading rows (`db`), storing snapshots (`cache`), their JSON (`api::admin`).

mod action;
mod agent;
mod alert;
mod claims;
mod health;
mod host;
mod incident;
mod load;
mod observation;
mod redact;
mod severity;
mod snapshot;
mod summary;
mod transition;

pub use action::{ContainerAction, ContainerContext, ContainerDetail};
pub use agent::AgentReport;
pub use alert::{Alert, AlertCode};
pub use claims::UnclaimedContainer;
pub use health::{Health, Verdict, silent_since};
pub use host::{HostReport, HostRuntime, HostStatus, RuntimeContainer};
pub use incident::{Incident, Scope};
pub use load::{DEGRADED_DISK_PERCENT, HostFacts, format_hundredths};
pub use observation::{
    AgentObservation, AgentRow, ContainerCondition, ContainerObservation, ContainerState,
    DockerHealth, EngineObservation, FleetReading, HostInspection, HostObservation, HostReadError,
    HostRow, InspectedHost,
};
pub use redact::{Metadata, MetadataValue, redact_addresses, redact_secrets};
pub use severity::Severity;
pub use snapshot::{FleetSnapshot, SNAPSHOT_STALE_AFTER};
pub use summary::Summary;
pub use transition::{AgentEvidence, StatusTransition, find_transitions};

#[cfg(test)]
mod cases;
#[cfg(test)]
pub(crate) mod fixtures;
