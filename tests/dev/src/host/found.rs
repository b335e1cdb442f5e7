//! A Docker Engine that is there already.
//!
//! Owns nothing of it. Only one behind a socket of this machine can be taken: a host's agents are reached
//! at its own addresses.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::http::{self, Body};

const USUAL: &str = "/var/run/docker.sock";

/// A live engine answers at once.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// The socket of the engine that `DOCKER_HOST` names, or else of the machine's own.
///
/// # Errors
/// A sentence that says why there is none.
pub async fn found_engine() -> Result<PathBuf, String> {
    let named = env::var("DOCKER_HOST").unwrap_or_default();
    let socket = socket(&named)?;
    match answers(&socket).await {
        Ok(()) => Ok(socket),
        Err(error) => Err(format!("{} cannot be used: {error}.", socket.display())),
    }
}

fn socket(named: &str) -> Result<PathBuf, String> {
    match named.strip_prefix("unix://") {
        Some(path) => Ok(path.into()),
        None if named.is_empty() => Ok(USUAL.into()),
        None => Err(format!(
            "DOCKER_HOST is {named}, and only a unix:// socket can be taken."
        )),
    }
}

async fn answers(socket: &Path) -> Result<(), String> {
    if !socket.exists() {
        return Err("it is not there".to_owned());
    }
    let ping = http::send(socket, "GET", "/_ping", Body::Nothing);
    match tokio::time::timeout(ANSWERS_WITHIN, ping).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.root_cause().to_string()),
        Err(_) => Err("nobody answers".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_of_this_machine_is_taken() {
        for (named, expected) in [
            ("", Some(USUAL)),
            (
                "unix:///run/user/1000/docker.sock",
                Some("/run/user/1000/docker.sock"),
            ),
            ("tcp://127.0.0.1:2375", None),
            ("ssh://root@host", None),
        ] {
            let found = socket(named).ok();
            assert_eq!(found.as_deref(), expected.map(Path::new), "{named}");
        }
    }

    #[tokio::test]
    async fn nothing_that_is_not_there_answers() {
        let nowhere = answers(Path::new("/nowhere/docker.sock")).await;
        assert_eq!(nowhere.unwrap_err(), "it is not there");
    }
}
