//! An operator looks at a host before registering it. Nothing is stored: the operator compares the fingerprint with what
//! the machine's owner says, and registers the host with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::register::ADDRESS_REFUSED;
use crate::app::error::RequestError;
use crate::domain::fleet::HostReadError;
use crate::hosts::{DOCKER_SOCKET, Engine, Fingerprint, HostClient, Target};

/// For the Docker Engine, after the connection is made.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a host is.
#[derive(Clone, Debug)]
pub struct HostAddress {
    pub hostname: String,
    pub ssh_port: u16,
    pub ssh_user: String,
}

#[derive(Clone, Debug)]
pub struct ProbedHost {
    /// The key that the host proved to have.
    pub fingerprint: Option<Fingerprint>,
    /// The type of that key, as OpenSSH calls it.
    pub key_type: Option<String>,
    /// What the Docker Engine says its version is, or why it cannot be read. The outer error says why the host cannot be
    /// logged in to.
    pub engine: Result<Result<Option<String>, HostReadError>, HostReadError>,
}

/// Connects to a host that need not be registered, whatever key it has.
///
/// # Errors
/// [`RequestError::Invalid`] if the host's address is not allowed. A host that does not answer is no error.
pub async fn node_probe(
    hosts: &HostClient,
    address: HostAddress,
) -> Result<ProbedHost, RequestError> {
    let target = Target {
        node_id: "probe".to_owned(),
        hostname: address.hostname,
        port: address.ssh_port,
        user: address.ssh_user,
        fingerprint: None,
        key_type: None,
        docker_socket: DOCKER_SOCKET.to_owned(),
    };
    let probe = hosts.probe_host_key(&target).await;
    let engine = match probe.connection {
        Ok(connection) => {
            let connection = Arc::new(connection);
            let engine = timeout(ENGINE_TIMEOUT, async {
                let engine = Engine::connect(Arc::clone(&connection), DOCKER_SOCKET).await?;
                engine.read_version().await
            })
            .await;
            connection.close().await;
            let engine = engine.map_err(|_: Elapsed| HostReadError::TimedOut);
            Ok(engine.and_then(|version| version.map_err(|error| error.reason().as_read_error())))
        }
        Err(error) if error.reason() == HostReadError::AddressRefused => {
            return Err(ADDRESS_REFUSED);
        }
        Err(error) => Err(error.reason()),
    };
    Ok(ProbedHost {
        fingerprint: probe.fingerprint,
        key_type: probe.key_type,
        engine,
    })
}
