//! The Docker Engine of a host, through its connection. Owns: which calls of the API are made. Names and
//! values are sent as JSON: there is no shell and no command line.

mod containers;
mod error;
mod images;
mod logs;
mod spec;
mod volumes;

use std::sync::Arc;

use bollard::errors::Error;
use bollard::{ClientVersion, Docker};
use chrono::{DateTime, Utc};

use super::connection::Connection;
use super::error::HostError;
use super::http;
use crate::domain::fleet::HostReadError;
use crate::failure::with_reason;

pub use containers::ContainerRuntime;
pub use error::{EngineError, EngineErrorReason};
pub use images::RegistryAccount;
pub use spec::{ContainerSpec, DataMount, PublishedPort};

use error::classify;

/// For each call but a pull, which has a timeout of its own.
const CALL_TIMEOUT_SECONDS: u64 = 60;
/// 4 MiB: a list of some thousands of containers.
const MAX_RESPONSE_BYTES: u64 = 4 << 20;
/// The API version that is used until the engine has said which versions it speaks.
const INITIAL_VERSION: ClientVersion = ClientVersion {
    major_version: 1,
    minor_version: 41,
};

/// The Docker Engine of one host.
pub struct Engine {
    docker: Docker,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// The engine behind a socket of a host. Asks it which API version to use.
    pub async fn connect(connection: Arc<Connection>, socket: &str) -> Result<Self, EngineError> {
        let socket: Arc<str> = socket.into();
        let transport = move |request: bollard::BollardRequest| {
            let (connection, socket) = (Arc::clone(&connection), Arc::clone(&socket));
            async move {
                let exchanged = exchange(&connection, &socket, request).await;
                exchanged.map_err(|error| Error::IOError {
                    err: std::io::Error::other(error),
                })
            }
        };
        let docker = Docker::connect_with_custom_transport(
            transport,
            Some("http://docker"),
            CALL_TIMEOUT_SECONDS,
            &INITIAL_VERSION,
        );
        let docker = docker.map_err(classify)?;
        let docker = docker.negotiate_version().await.map_err(classify)?;
        Ok(Self { docker })
    }

    /// The version of the engine.
    pub async fn read_version(&self) -> Result<Option<String>, EngineError> {
        let version = self.docker.version().await.map_err(classify)?;
        Ok(version.version)
    }

    /// The host's clock, by which Docker tells the age of containers.
    pub async fn read_clock(&self) -> Result<DateTime<Utc>, EngineError> {
        let info = self.docker.info().await.map_err(classify)?;
        let time = info.system_time.and_then(|time| time.parse().ok());
        Ok(time.ok_or(HostReadError::Protocol)?)
    }
}

/// One call, over a channel of its own.
async fn exchange(
    connection: &Connection,
    socket: &str,
    mut request: bollard::BollardRequest,
) -> Result<hyper::Response<hyper::body::Incoming>, HostError> {
    let channel = connection.open_socket_channel(socket).await?;
    let mut stream = channel.into_stream();
    if !is_streamed(request.uri().path()) {
        stream = stream.with_max_bytes(MAX_RESPONSE_BYTES);
    }
    let mut sender = http::handshake(stream).await?;
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
        .map_err(with_reason(HostReadError::Protocol))
}

/// Whether the response is read piece by piece and may have any length, because it is never held as a whole.
fn is_streamed(path: &str) -> bool {
    path.ends_with("/logs") || path.ends_with("/images/create")
}
