//! The JSON of what an inspection read of a host: its figures and its containers.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::fleet::{DockerHealth, HostReport, RuntimeContainer, format_hundredths};
use crate::domain::timestamp::Timestamp;

/// The figures of the host. A figure that could not be read is null.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NodeRuntime")]
pub(super) struct RuntimeView<'a> {
    reachable: bool,
    docker_readable: bool,
    checked_at: Option<Timestamp>,
    ssh_latency_ms: Option<u64>,
    docker_version: Option<&'a str>,
    /// Of the fuller of the root file system and the one that holds Docker's data.
    disk_used_percent: Option<u64>,
    memory_used_percent: Option<u64>,
    /// The average of the last minute, with two decimals.
    load_average: Option<String>,
    /// The number of processors. Thresholds of the load are per processor.
    cpu_count: Option<u64>,
    io_pressure_pct: Option<u64>,
    actual_container_count: Option<usize>,
    running_container_count: Option<usize>,
    containers: Vec<RuntimeContainerView<'a>>,
    error: Option<String>,
}

impl<'a> From<&'a HostReport> for RuntimeView<'a> {
    fn from(host: &'a HostReport) -> Self {
        let runtime = &host.runtime;
        Self {
            reachable: runtime.reachable,
            docker_readable: runtime.docker_readable,
            checked_at: host.observed_at.map(Timestamp),
            ssh_latency_ms: runtime.latency_ms,
            docker_version: runtime.docker_version.as_deref(),
            disk_used_percent: runtime.facts.fuller_disk_used_percent(),
            memory_used_percent: runtime.facts.memory_used_percent,
            load_average: runtime.facts.load_1m_hundredths.map(format_hundredths),
            cpu_count: runtime.facts.cpus,
            io_pressure_pct: runtime.facts.io_pressure_percent,
            actual_container_count: runtime.container_count(),
            running_container_count: runtime.running_container_count(),
            containers: runtime.containers.iter().map(Into::into).collect(),
            error: runtime.error.map(|error| error.to_string()),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct RuntimeContainerView<'a> {
    name: &'a str,
    id: &'a str,
    image: &'a str,
    state: &'a str,
    status: &'a str,
    running_for: Option<&'a str>,
    health: Option<DockerHealth>,
}

impl<'a> From<&'a RuntimeContainer> for RuntimeContainerView<'a> {
    fn from(container: &'a RuntimeContainer) -> Self {
        Self {
            name: &container.name,
            id: &container.id,
            image: &container.image,
            state: &container.state,
            status: &container.status,
            running_for: container.running_for(),
            health: container.health,
        }
    }
}
