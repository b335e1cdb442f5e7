//! The Docker Engine of a host, through its connection. Owns: the API's calls we make. Names and values go as JSON: no shell, no command line, no parsing of text.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::{ContainerSummary, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, ListContainersOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use bollard::{ClientVersion, Docker};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::connection::Connection;
use super::container::{
    ContainerSpec, DATA, Data, LABEL_AGENT, LABEL_ATTEMPT, Limits, body, labels,
};
use super::engine_error::{EngineError, kind, pull_kind};
use super::error::HostError;
use super::http;
use crate::domain::container::tagged;

/// Seconds a call may take; pulling has its own limit.
const CALL_WITHIN: u64 = 60;
/// More of an answer is not read: some thousands of containers.
const LONGEST_ANSWER: u64 = 4 << 20;
/// The version spoken before the engine has said which it speaks.
const VERSION: ClientVersion = ClientVersion {
    major_version: 1,
    minor_version: 41,
};
/// The network all agents are on; on it they do not reach each other.
pub(super) const NETWORK: &str = "milady-agents";

/// The engine of one host.
pub struct Engine {
    pub(super) docker: Docker,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

/// Who we are to a registry.
pub struct RegistryAccount {
    /// The registry's host, with its port where it has one.
    pub registry: String,
    /// The account.
    pub username: String,
    /// Its password or token.
    pub password: String,
}

/// A container as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Docker's id.
    pub id: String,
    /// Its name, without Docker's leading slash.
    pub name: String,
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub state: String,
    /// Docker's own words, with its health in brackets where it has one.
    pub status: String,
    /// Its image.
    pub image: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// The agent it says it is of.
    pub agent: Option<String>,
    /// The attempt of the job that made it.
    pub attempt: Option<i32>,
    /// The directory of the host that is mounted at `/app/data`, where it is no volume.
    pub data_bind: Option<String>,
}

/// How a container fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its process runs.
    pub running: bool,
    /// How often Docker had to start it again.
    pub restarts: i64,
    /// What it may use; 0 = there is no limit.
    pub limits: Limits,
}

impl Engine {
    /// The engine behind a socket of a host; asks it which version it speaks.
    ///
    /// # Errors
    /// [`EngineError::Host`].
    pub async fn connect(connection: Arc<Connection>, socket: &str) -> Result<Self, EngineError> {
        let socket: Arc<str> = socket.into();
        let transport = move |request: bollard::BollardRequest| {
            let (connection, socket) = (Arc::clone(&connection), Arc::clone(&socket));
            async move { exchange(&connection, &socket, request).await }
        };
        let docker = Docker::connect_with_custom_transport(
            transport,
            Some("http://docker"),
            CALL_WITHIN,
            &VERSION,
        );
        let docker = docker.map_err(|error| kind(&error))?;
        let docker = docker
            .negotiate_version()
            .await
            .map_err(|error| kind(&error))?;
        Ok(Self { docker })
    }

    /// The engine's own version.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn version(&self) -> Result<Option<String>, EngineError> {
        let version = self.docker.version().await.map_err(|error| kind(&error))?;
        Ok(version.version)
    }

    /// All containers, also those that do not run and those that are not ours.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let found = self.docker.list_containers(Some(options)).await;
        let found = found.map_err(|error| kind(&error))?;
        Ok(found.into_iter().filter_map(container).collect())
    }

    /// The container of exactly this name.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn find(&self, name: &str) -> Result<Option<Container>, EngineError> {
        // Docker's own filter also finds names that only contain it.
        let filters = HashMap::from([("name", vec![name])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let found = self.docker.list_containers(Some(options)).await;
        let found = found.map_err(|error| kind(&error))?;
        Ok(found
            .into_iter()
            .filter_map(container)
            .find(|found| found.name == name))
    }

    /// How a container fares.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn life(&self, id: &str) -> Result<Life, EngineError> {
        let seen = self.docker.inspect_container(id, None).await;
        let seen = seen.map_err(|error| kind(&error))?;
        let limits = seen.host_config.unwrap_or_default();
        Ok(Life {
            running: seen.state.and_then(|state| state.running) == Some(true),
            restarts: seen.restart_count.unwrap_or_default(),
            limits: Limits {
                memory: limits.memory.unwrap_or_default(),
                nano_cpus: limits.nano_cpus.unwrap_or_default(),
                pids: limits.pids_limit.unwrap_or_default(),
            },
        })
    }

    /// Whether the image is on the host.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn has_image(&self, image: &str) -> Result<bool, EngineError> {
        match self
            .docker
            .inspect_image(image)
            .await
            .map_err(|error| kind(&error))
        {
            Ok(_) => Ok(true),
            Err(EngineError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Pulls an image.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn pull(
        &self,
        image: &str,
        account: Option<RegistryAccount>,
        within: Duration,
    ) -> Result<(), EngineError> {
        let image = tagged(image);
        let credentials = account.map(|account| DockerCredentials {
            username: Some(account.username),
            password: Some(account.password),
            serveraddress: Some(account.registry),
            ..DockerCredentials::default()
        });
        let options = CreateImageOptionsBuilder::new().from_image(&image).build();
        let mut progress = self.docker.create_image(Some(options), None, credentials);
        let pulling = async {
            while let Some(step) = progress.next().await {
                step.map_err(|error| pull_kind(&error))?;
            }
            Ok(())
        };
        timeout(within, pulling)
            .await
            .map_err(|_| HostError::TimedOut)?
    }

    /// Creates a container, with its volume and network where they are not there. It does not run yet.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn create(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        self.ensure_network().await?;
        if let Data::Volume(name) = &spec.data {
            let volume = VolumeCreateRequest {
                name: Some(name.clone()),
                labels: Some(labels(spec)),
                ..VolumeCreateRequest::default()
            };
            let made = self.docker.create_volume(volume).await;
            made.map_err(|error| kind(&error))?;
        }
        let options = CreateContainerOptionsBuilder::new()
            .name(&spec.name)
            .build();
        let created = self
            .docker
            .create_container(Some(options), body(spec))
            .await;
        Ok(created.map_err(|error| kind(&error))?.id)
    }

    async fn ensure_network(&self) -> Result<(), EngineError> {
        let found = self
            .docker
            .inspect_network(NETWORK, None)
            .await
            .map_err(|error| kind(&error));
        match found {
            Ok(_) => return Ok(()),
            Err(EngineError::NotFound) => {}
            Err(error) => return Err(error),
        }
        let apart = ("com.docker.network.bridge.enable_icc", "false");
        let request = NetworkCreateRequest {
            name: NETWORK.to_owned(),
            driver: Some("bridge".to_owned()),
            options: Some(HashMap::from([(apart.0.to_owned(), apart.1.to_owned())])),
            ..NetworkCreateRequest::default()
        };
        match self
            .docker
            .create_network(request)
            .await
            .map_err(|error| kind(&error))
        {
            // Somebody made it at the same moment.
            Ok(_) | Err(EngineError::NameTaken | EngineError::Refused) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Starts a container.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        self.docker
            .start_container(id, None)
            .await
            .map_err(|error| kind(&error))
    }

    /// Stops a container, by force after `grace`. One that is gone or stopped is.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn stop(&self, id: &str, grace: Duration) -> Result<(), EngineError> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        match self
            .docker
            .stop_container(id, Some(options))
            .await
            .map_err(|error| kind(&error))
        {
            Err(EngineError::NotFound) => Ok(()),
            other => other,
        }
    }

    /// Removes a container, running or not. One that is gone is.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).build();
        match self
            .docker
            .remove_container(id, Some(options))
            .await
            .map_err(|error| kind(&error))
        {
            Err(EngineError::NotFound) => Ok(()),
            other => other,
        }
    }

    /// Whether there is a volume of this name.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn has_volume(&self, name: &str) -> Result<bool, EngineError> {
        let seen = self.docker.inspect_volume(name).await;
        match seen.map_err(|error| kind(&error)) {
            Ok(_) => Ok(true),
            Err(EngineError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a volume. One that is gone is.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        match self
            .docker
            .remove_volume(name, None::<bollard::query_parameters::RemoveVolumeOptions>)
            .await
            .map_err(|error| kind(&error))
        {
            Err(EngineError::NotFound) => Ok(()),
            other => other,
        }
    }

    /// The last lines a container wrote, at most `longest` bytes of them.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn logs(
        &self,
        id: &str,
        tail: u32,
        since: i32,
        longest: usize,
    ) -> Result<String, EngineError> {
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .since(since)
            .tail(&tail.to_string())
            .build();
        let mut lines = self.docker.logs(id, Some(options));
        let mut text = Vec::new();
        while let Some(line) = lines.next().await {
            let bytes = line.map_err(|error| kind(&error))?.into_bytes();
            text.extend_from_slice(&bytes);
            if text.len() > 2 * longest {
                keep_last(&mut text, longest);
            }
        }
        keep_last(&mut text, longest);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// The last lines are wanted: the first ones make room.
fn keep_last(text: &mut Vec<u8>, longest: usize) {
    let Some(surplus) = text
        .len()
        .checked_sub(longest)
        .filter(|surplus| *surplus > 0)
    else {
        return;
    };
    let end = text.iter().skip(surplus).position(|byte| *byte == b'\n');
    text.drain(..end.map_or(surplus, |at| surplus + at + 1));
}

/// What comes in pieces is never held as a whole, however long it is.
fn is_read_piece_by_piece(path: &str) -> bool {
    path.ends_with("/logs") || path.ends_with("/images/create")
}

/// One call over a channel of its own.
async fn exchange(
    connection: &Connection,
    socket: &str,
    mut request: bollard::BollardRequest,
) -> Result<hyper::Response<hyper::body::Incoming>, Error> {
    let failed = |error: HostError| Error::IOError {
        err: std::io::Error::other(error),
    };
    let open = connection.to_socket(socket).await.map_err(failed)?;
    let mut wire = open.into_wire();
    if !is_read_piece_by_piece(request.uri().path()) {
        wire = wire.at_most(LONGEST_ANSWER);
    }
    let mut sender = http::begin(wire).await.map_err(failed)?;
    // The engine refuses requests without a host.
    let host = hyper::header::HeaderValue::from_static("docker");
    request.headers_mut().insert(hyper::header::HOST, host);
    let path = request.uri().path_and_query().cloned();
    if let Some(path) = path {
        *request.uri_mut() = path.into();
    }
    sender
        .send_request(request)
        .await
        .map_err(|_| failed(HostError::Protocol))
}

fn container(found: ContainerSummary) -> Option<Container> {
    let labels = found.labels.unwrap_or_default();
    let name = found.names.unwrap_or_default().into_iter().next()?;
    Some(Container {
        id: found.id?,
        name: name.trim_start_matches('/').to_owned(),
        state: found
            .state
            .map(|state| state.to_string())
            .unwrap_or_default(),
        status: found.status.unwrap_or_default(),
        image: found.image.unwrap_or_default(),
        created: found.created.unwrap_or_default(),
        agent: labels.get(LABEL_AGENT).cloned(),
        attempt: labels
            .get(LABEL_ATTEMPT)
            .and_then(|attempt| attempt.parse().ok()),
        data_bind: found
            .mounts
            .unwrap_or_default()
            .into_iter()
            .find_map(|mount| {
                let is_bind = mount.typ.as_deref() == Some("bind");
                let is_data = mount.destination.as_deref() == Some(DATA);
                mount.source.filter(|_| is_bind && is_data)
            }),
    })
}
