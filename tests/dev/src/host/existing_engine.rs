//! Finds a Docker Engine that runs on this machine.
//!
//! Owns nothing of it. The engine must be behind a local socket, because agents are reached at the
//! host's own addresses.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::http::{self, Body};

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// A working engine answers a ping at once.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The socket of the engine that `DOCKER_HOST` names, or else of the machine's engine. The error is
/// a sentence for the user.
pub async fn find_existing_engine() -> Result<PathBuf, String> {
    let docker_host = env::var("DOCKER_HOST").unwrap_or_default();
    let socket = socket(&docker_host)?;
    match ping(&socket).await {
        Ok(()) => Ok(socket),
        Err(error) => Err(format!("{} cannot be used: {error}.", socket.display())),
    }
}

fn socket(docker_host: &str) -> Result<PathBuf, String> {
    match docker_host.strip_prefix("unix://") {
        Some(path) => Ok(path.into()),
        None if docker_host.is_empty() => Ok(DEFAULT_SOCKET.into()),
        None => Err(format!(
            "DOCKER_HOST is {docker_host}, but only a unix:// socket can be used."
        )),
    }
}

async fn ping(socket: &Path) -> Result<(), String> {
    if !socket.exists() {
        return Err("it does not exist".to_owned());
    }
    let request = http::send(socket, "GET", "/_ping", Body::Empty);
    match tokio::time::timeout(PING_TIMEOUT, request).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.root_cause().to_string()),
        Err(_) => Err("it does not answer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unix_sockets_are_accepted() {
        for (docker_host, expected) in [
            ("", Some(DEFAULT_SOCKET)),
            (
                "unix:///run/user/1000/docker.sock",
                Some("/run/user/1000/docker.sock"),
            ),
            ("tcp://127.0.0.1:2375", None),
            ("ssh://root@host", None),
        ] {
            let socket = socket(docker_host).ok();
            assert_eq!(socket.as_deref(), expected.map(Path::new), "{docker_host}");
        }
    }

    #[tokio::test]
    async fn missing_socket_is_reported() {
        let missing = ping(Path::new("/nowhere/docker.sock")).await;
        assert_eq!(missing.unwrap_err(), "it does not exist");
    }
}
