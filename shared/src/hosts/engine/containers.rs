//! Containers: finding, creating, starting, stopping and removing them.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerSummary, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptions, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, RestartContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use chrono::DateTime;

use super::Engine;
use super::error::{EngineError, classify, ignore_missing};
use super::spec::{
    ContainerSpec, DATA_PATH, DataMount, LABEL_AGENT, LABEL_ATTEMPT, create_body, labels,
};
use crate::domain::container::ResourceLimits;
use crate::domain::fleet::ContainerObservation;

/// What Docker tells of one container beyond the list of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerRuntime {
    pub is_running: bool,
    /// How often Docker has restarted the container by its restart policy.
    pub restart_count: i64,
    pub limits: ResourceLimits,
}

impl Engine {
    /// All containers, running or not, labelled or not.
    pub async fn list_containers(&self) -> Result<Vec<ContainerObservation>, EngineError> {
        let options = ListContainersOptionsBuilder::new().all(true).build();
        self.list(options).await
    }

    /// The container of exactly this name.
    pub async fn find(&self, name: &str) -> Result<Option<ContainerObservation>, EngineError> {
        // Docker's filter also matches names that only contain this one.
        let filters = HashMap::from([("name", vec![name])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let containers = self.list(options).await?;
        Ok(containers
            .into_iter()
            .find(|container| container.name == name))
    }

    async fn list(
        &self,
        options: ListContainersOptions,
    ) -> Result<Vec<ContainerObservation>, EngineError> {
        let summaries = self.docker.list_containers(Some(options)).await;
        let summaries = summaries.map_err(classify)?;
        Ok(summaries.into_iter().filter_map(observation).collect())
    }

    pub async fn inspect(&self, id: &str) -> Result<ContainerRuntime, EngineError> {
        let response = self.docker.inspect_container(id, None).await;
        let response = response.map_err(classify)?;
        Ok(ContainerRuntime {
            is_running: response.state.and_then(|state| state.running) == Some(true),
            restart_count: response.restart_count.unwrap_or_default(),
            limits: limits(&response.host_config.unwrap_or_default()),
        })
    }

    /// Creates a container and, where they are missing, its volume and the network. Returns Docker's id. The
    /// container does not run yet.
    pub async fn create(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        self.ensure_network().await?;
        if let DataMount::Volume(name) = &spec.data {
            self.ensure_volume(name, labels(spec)).await?;
        }
        let options = CreateContainerOptionsBuilder::new()
            .name(&spec.name)
            .build();
        let created = self
            .docker
            .create_container(Some(options), create_body(spec))
            .await;
        Ok(created.map_err(classify)?.id)
    }

    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        let started = self.docker.start_container(id, None).await;
        started.map_err(classify)
    }

    /// Stops a container, by force after `grace`. A container that is stopped or gone is no error.
    pub async fn stop(&self, id: &str, grace: Duration) -> Result<(), EngineError> {
        let options = StopContainerOptionsBuilder::new()
            .t(whole_seconds(grace))
            .build();
        ignore_missing(self.docker.stop_container(id, Some(options)).await)
    }

    /// Stops a container, by force after `grace`, and starts it. A stopped container is started.
    pub async fn restart(&self, id: &str, grace: Duration) -> Result<(), EngineError> {
        let options = RestartContainerOptionsBuilder::new()
            .t(whole_seconds(grace))
            .build();
        let restarted = self.docker.restart_container(id, Some(options)).await;
        restarted.map_err(classify)
    }

    /// Removes a container, running or not. A container that is gone is no error.
    pub async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).build();
        ignore_missing(self.docker.remove_container(id, Some(options)).await)
    }
}

fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

/// Docker writes 0 or a negative number where there is no limit.
fn limits(config: &HostConfig) -> ResourceLimits {
    let limit = |number: Option<i64>| number.filter(|number| *number > 0);
    ResourceLimits {
        memory_bytes: limit(config.memory),
        nano_cpus: limit(config.nano_cpus),
        pids: limit(config.pids_limit),
    }
}

/// `None` for a container without an id or a name, which Docker does not list.
fn observation(summary: ContainerSummary) -> Option<ContainerObservation> {
    let labels = summary.labels.unwrap_or_default();
    let name = summary.names.unwrap_or_default().into_iter().next()?;
    let created_at = DateTime::from_timestamp(summary.created.unwrap_or_default(), 0);
    let state = summary.state.map(|state| state.to_string());
    let data_bind = summary
        .mounts
        .unwrap_or_default()
        .into_iter()
        .find_map(|mount| {
            let is_bind = mount.typ.as_deref() == Some("bind");
            let is_data = mount.destination.as_deref() == Some(DATA_PATH);
            mount.source.filter(|_| is_bind && is_data)
        });
    Some(ContainerObservation {
        id: summary.id?,
        name: name.trim_start_matches('/').to_owned(),
        image: summary.image.unwrap_or_default(),
        state: state.unwrap_or_default(),
        status: summary.status.unwrap_or_default(),
        health: None,
        created_at: created_at.unwrap_or(DateTime::UNIX_EPOCH),
        label: labels.get(LABEL_AGENT).cloned(),
        attempt: labels
            .get(LABEL_ATTEMPT)
            .and_then(|attempt| attempt.parse().ok()),
        data_bind,
    })
}
