//! Containers: finding, creating, starting, stopping and removing them.

use std::time::{Duration, Instant};

use bollard::models::ContainerUpdateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, RestartContainerOptionsBuilder,
    StopContainerOptionsBuilder,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::Engine;
use super::error::{EngineError, EngineErrorReason, classify, ignore_missing};
use super::observed::{self, ContainerRuntime};
use super::spec::{ContainerSpec, DataMount, create_body, labels};
use crate::domain::fleet::{ContainerObservation, HostReadError};

/// How long a removal that the engine has begun before is waited for. Removing a large file system takes seconds.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(15);
const FIRST_REMOVAL_PAUSE: Duration = Duration::from_millis(100);
const MAX_REMOVAL_PAUSE: Duration = Duration::from_secs(1);
/// From 10 to 1000. With cgroup 2 the runtime converts it to 21 of 10000, where everything else has 100; BFQ takes it as it
/// is, and gives everything else 100; with cgroup 1 that has 500.
const IO_WEIGHT: u16 = 12;

impl Engine {
    /// All containers, running or not, labelled or not.
    pub async fn list_containers(&self) -> Result<Vec<ContainerObservation>, EngineError> {
        self.list("").await
    }

    /// The container of exactly this name.
    pub async fn find(&self, name: &str) -> Result<Option<ContainerObservation>, EngineError> {
        // Docker's filter also matches names that only contain this one.
        let filters = json!({"name": [name]}).to_string();
        let filters = utf8_percent_encode(&filters, NON_ALPHANUMERIC);
        let containers = self.list(&format!("&filters={filters}")).await?;
        Ok(containers
            .into_iter()
            .find(|container| container.name == name))
    }

    async fn list(&self, filters: &str) -> Result<Vec<ContainerObservation>, EngineError> {
        let path = format!("/containers/json?all=true{filters}");
        match self.get(&path).await? {
            Value::Array(entries) => Ok(entries.iter().filter_map(observed::of_list).collect()),
            // How Go writes a list that was never filled.
            Value::Null => Ok(Vec::new()),
            _ => Err(HostReadError::Protocol.into()),
        }
    }

    pub async fn inspect(&self, id: &str) -> Result<ContainerRuntime, EngineError> {
        Ok(observed::runtime(&self.details(id).await?))
    }

    /// The engine's id of the image that a container was made of. On this host it names that image also when the image's tag
    /// names another one by now.
    pub async fn image_id(&self, id: &str) -> Result<String, EngineError> {
        let details = self.details(id).await?;
        let image = details["Image"].as_str().filter(|id| !id.is_empty());
        let image = image.map(str::to_owned);
        Ok(image.ok_or(HostReadError::Protocol)?)
    }

    /// The container with this id, also if no list shows it. `None` if it is gone.
    pub async fn observe(&self, id: &str) -> Result<Option<ContainerObservation>, EngineError> {
        match self.details(id).await {
            Ok(details) => Ok(observed::of_details(&details)),
            Err(error) if error.reason() == EngineErrorReason::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn details(&self, id: &str) -> Result<Value, EngineError> {
        self.get(&format!("/containers/{id}/json")).await
    }

    /// Creates a container and, where they are missing, its volume and the network. Returns Docker's id. The
    /// container does not run yet.
    pub async fn create(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        self.ensure_network().await?;
        if let DataMount::Volume(name) = &spec.data {
            self.ensure_volume(name, labels(spec), spec.disk_bytes)
                .await?;
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

    /// Lets the host's own services come first when the disk is busy. Done after the start, because the runtime does not
    /// start a container with a weight where the kernel has none. Docker does not say whether the kernel takes it.
    pub async fn lower_io_weight(&self, id: &str) -> Result<(), EngineError> {
        let update = ContainerUpdateBody {
            blkio_weight: Some(IO_WEIGHT),
            ..ContainerUpdateBody::default()
        };
        let updated = self.docker.update_container(id, update).await;
        updated.map_err(classify)
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

    /// Removes a container, running or not. A container that is gone is no error, and a removal that is under way is
    /// waited for.
    pub async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let started = Instant::now();
        let mut pause = FIRST_REMOVAL_PAUSE;
        loop {
            let options = RemoveContainerOptionsBuilder::new().force(true).build();
            let removed = self.docker.remove_container(id, Some(options)).await;
            match ignore_missing(removed) {
                Err(error)
                    if error.reason() == EngineErrorReason::BeingRemoved
                        && started.elapsed() < REMOVAL_TIMEOUT => {}
                other => return other,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_REMOVAL_PAUSE);
        }
    }
}

fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
