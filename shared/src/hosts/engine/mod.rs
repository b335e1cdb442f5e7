//! The Docker Engine of a host, through its connection. Owns: which calls of the API are made, in which version. Names
//! and values are sent as JSON: there is no shell and no command line.

mod archive;
mod containers;
mod error;
mod figures;
mod images;
mod logs;
mod observed;
mod spec;
mod volumes;

use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::{BollardRequest, ClientVersion, Docker, body_full};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::BodyExt;
use hyper::{Request, StatusCode};
use serde_json::Value;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::connection::Connection;
use super::error::HostError;
use super::http;
use crate::domain::fleet::HostReadError;
use crate::domain::placement::HostSize;
use crate::failure::with_reason;

pub use archive::{CopyError, CopyMeter};
pub use error::{EngineError, EngineErrorReason, NextStep, name_holder};
pub use images::{PullEnd, RegistryAccount};
pub use observed::ContainerRuntime;
pub use spec::{ContainerSpec, DataMount, DataReader, PublishedPort};
pub use volumes::AgentVolume;

use error::classify;

/// For each call but a pull, which has a timeout of its own.
const CALL_TIMEOUT_SECONDS: u64 = 60;
/// 4 MiB: a list of some thousands of containers.
const MAX_RESPONSE_BYTES: u64 = 4 << 20;
/// A parsed value can take a hundred times as much memory as its text: 4 MiB of small objects would become 400 MB, and end a
/// run over all hosts. A list of 4 MiB has half as many values.
const MAX_RESPONSE_VALUES: usize = 300_000;
/// 96 MiB, for an answer that is read piece by piece. A piece is as long as the host says, so an endless one would fill the
/// memory. The longest log that can be asked for has 5,000 lines of 16 KiB; the progress of a pull is shorter.
const MAX_STREAM_BYTES: u64 = 96 << 20;
/// The API version of Docker 20.10 and of Podman 5. It is used unless the engine does not speak it.
const PREFERRED_VERSION: ApiVersion = ApiVersion {
    major: 1,
    minor: 41,
};
/// The first version in which `GET /system/df` can be asked for volumes alone (Docker's API version history). In older ones
/// the engine also measures its images and containers.
const USAGE_VERSION: ApiVersion = ApiVersion {
    major: 1,
    minor: 42,
};

/// What an engine says about itself and its host. `None` for what it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineInfo {
    pub version: Option<String>,
    pub size: HostSize,
    /// The directory in which the engine keeps images, containers and volumes.
    pub root_directory: Option<String>,
}

/// The Docker Engine of one host.
pub struct Engine {
    docker: Docker,
    socket: EngineSocket,
    /// The version of the API in which it is asked how large its volumes are.
    usage_version: ApiVersion,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

/// The socket of an engine on its host.
#[derive(Clone)]
struct EngineSocket {
    connection: Arc<Connection>,
    path: Arc<str>,
}

impl Engine {
    /// The engine behind a socket of a host. Asks it which API versions it speaks.
    pub async fn connect(connection: Arc<Connection>, socket: &str) -> Result<Self, EngineError> {
        let socket = EngineSocket {
            connection,
            path: socket.into(),
        };
        // Asked without a version: an engine refuses every request with a version that it does not speak, and Docker
        // 29 does not speak 1.41.
        let version = socket.get("/version").await?;
        let choose =
            |preferred| ApiVersion::choose(&version, preferred).ok_or(HostReadError::Protocol);
        let usage_version = choose(USAGE_VERSION)?;
        let version = choose(PREFERRED_VERSION)?;
        let transport_socket = socket.clone();
        let transport = move |request: BollardRequest| {
            let socket = transport_socket.clone();
            async move {
                let exchanged = socket.exchange(request).await;
                exchanged.map_err(|error| Error::IOError {
                    err: std::io::Error::other(error),
                })
            }
        };
        let docker = Docker::connect_with_custom_transport(
            transport,
            Some("http://docker"),
            CALL_TIMEOUT_SECONDS,
            &ClientVersion {
                major_version: version.major,
                minor_version: version.minor,
            },
        );
        let docker = docker.map_err(classify)?;
        Ok(Self {
            docker,
            socket,
            usage_version,
        })
    }

    /// What the engine says about itself and its host.
    pub async fn read_info(&self) -> Result<EngineInfo, EngineError> {
        let info = self.get("/info").await?;
        let text = |name: &str| info[name].as_str().map(str::to_owned);
        Ok(EngineInfo {
            version: text("ServerVersion"),
            size: HostSize {
                cpus: info["NCPU"].as_i64(),
                memory_bytes: info["MemTotal"].as_i64(),
            },
            root_directory: text("DockerRootDir"),
        })
    }

    /// The version of the engine.
    pub async fn read_version(&self) -> Result<Option<String>, EngineError> {
        let version = self.get("/version").await?;
        Ok(version["Version"].as_str().map(str::to_owned))
    }

    /// The host's clock, by which Docker tells the age of containers.
    pub async fn read_clock(&self) -> Result<DateTime<Utc>, EngineError> {
        let info = self.get("/info").await?;
        let time = info["SystemTime"].as_str();
        let time = time.and_then(|time| time.parse().ok());
        Ok(time.ok_or(HostReadError::Protocol)?)
    }

    /// What a resource of the API answers. bollard's types refuse a whole answer because of one word that they do not
    /// know; here whoever reads the answer decides about each value.
    async fn get(&self, path: &str) -> Result<Value, EngineError> {
        let version = self.docker.client_version();
        self.socket.get(&format!("/v{version}{path}")).await
    }
}

impl EngineSocket {
    async fn get(&self, path: &str) -> Result<Value, EngineError> {
        let request = Request::get(format!("http://docker{path}"))
            .body(body_full(Bytes::new()))
            .map_err(with_reason(HostReadError::Protocol))?;
        let exchange = async {
            let response = self.exchange(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await;
            let body = body.map_err(with_reason(HostReadError::Protocol))?;
            Ok::<_, HostError>((status, body.to_bytes()))
        };
        let exchanged = timeout(Duration::from_secs(CALL_TIMEOUT_SECONDS), exchange).await;
        let (status, body) = exchanged.map_err(|_: Elapsed| HostReadError::TimedOut)??;
        if status.is_success() {
            return Ok(parse(&body)?);
        }
        Err(refusal(status, &body))
    }

    /// One call, over a channel of its own.
    async fn exchange(
        &self,
        mut request: BollardRequest,
    ) -> Result<hyper::Response<hyper::body::Incoming>, HostError> {
        let channel = self.connection.open_socket_channel(&self.path).await?;
        let stream = channel
            .into_stream()
            .with_max_bytes(max_bytes(request.uri().path()));
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
}

/// The error of a request that the engine refused.
fn refusal(status: StatusCode, body: &[u8]) -> EngineError {
    let message = parse(body).ok().and_then(|answer| {
        let message = answer.get("message")?.as_str()?;
        Some(message.to_owned())
    });
    classify(Error::DockerResponseServerError {
        status_code: status.as_u16(),
        message: message.unwrap_or_default(),
    })
}

/// Parses an answer.
///
/// # Errors
/// `ResponseTooLarge` if it may have too many values, `Protocol` if it is not JSON.
fn parse(answer: &[u8]) -> Result<Value, HostError> {
    // One more value begins after each of these. Those in texts are counted, too: an upper bound is enough.
    let bytes = answer.iter();
    let values = bytes.filter(|byte| matches!(**byte, b'{' | b'[' | b','));
    if values.count() > MAX_RESPONSE_VALUES {
        return Err(HostReadError::ResponseTooLarge.into());
    }
    serde_json::from_slice(answer).map_err(with_reason(HostReadError::Protocol))
}

/// How long the response to a request may be.
fn max_bytes(path: &str) -> u64 {
    if path.ends_with("/archive") {
        // Passed on piece by piece. Whoever copies limits the time.
        u64::MAX
    } else if path.ends_with("/logs") || path.ends_with("/images/create") {
        MAX_STREAM_BYTES
    } else {
        MAX_RESPONSE_BYTES
    }
}

/// A version of the Docker Engine's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ApiVersion {
    major: usize,
    minor: usize,
}

impl ApiVersion {
    /// The version that an engine speaks and that is nearest to the preferred one. `answer` is what it says of itself.
    fn choose(answer: &Value, preferred: Self) -> Option<Self> {
        let newest = Self::parse(answer["ApiVersion"].as_str()?)?;
        // Engines before Docker 1.13 do not name their oldest version.
        let oldest = answer["MinAPIVersion"].as_str().and_then(Self::parse);
        let preferred = preferred.min(newest);
        Some(oldest.map_or(preferred, |oldest| preferred.max(oldest)))
    }

    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_of_too_many_values_is_not_parsed() {
        let list = |objects: usize| format!("[{}0]", r#"{"":0},"#.repeat(objects));
        assert!(parse(list(1_000).as_bytes()).is_ok());
        let most = list(MAX_RESPONSE_VALUES / 2);
        assert!(most.len() < 4 << 20);
        let error = parse(most.as_bytes()).expect_err("too many values");
        assert_eq!(error.reason(), HostReadError::ResponseTooLarge);
        let error = parse(b"[").expect_err("no JSON");
        assert_eq!(error.reason(), HostReadError::Protocol);
    }

    #[test]
    fn no_response_that_is_kept_is_endless() {
        for (path, expected) in [
            ("/version", MAX_RESPONSE_BYTES),
            ("/v1.41/containers/json", MAX_RESPONSE_BYTES),
            ("/v1.41/containers/abc/logs", MAX_STREAM_BYTES),
            ("/v1.41/images/create", MAX_STREAM_BYTES),
            ("/v1.41/containers/abc/archive", u64::MAX),
        ] {
            assert_eq!(max_bytes(path), expected, "{path}");
        }
    }

    #[test]
    fn f86_the_version_is_one_that_the_engine_speaks() {
        let version = |major, minor| Some(ApiVersion { major, minor });
        for (newest, oldest, expected) in [
            // Docker 20.10, 24, 28 and 29, and Podman 5, from what `GET /version` answers.
            (json!("1.41"), json!("1.12"), version(1, 41)),
            (json!("1.43"), json!("1.12"), version(1, 41)),
            (json!("1.51"), json!("1.24"), version(1, 41)),
            (json!("1.52"), json!("1.44"), version(1, 44)),
            (json!("1.41"), json!("1.24"), version(1, 41)),
            (json!("1.40"), json!("1.12"), version(1, 40)),
            (json!("1.24"), json!(null), version(1, 24)),
            (json!("2.0"), json!("2.0"), version(2, 0)),
            (json!(null), json!("1.12"), None),
            (json!("new"), json!("1.12"), None),
        ] {
            let answer = json!({"ApiVersion": newest, "MinAPIVersion": oldest});
            let chosen = ApiVersion::choose(&answer, PREFERRED_VERSION);
            assert_eq!(chosen, expected, "{answer}");
        }
    }
}
