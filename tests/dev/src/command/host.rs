//! The host of `cargo dev`, on which its agents run: an SSH server of our own, and a Docker Engine, the
//! machine's where it has one that we may use, else our own.
//!
//! Owns both, what is kept of them beside the database, and the row that stands for them there. Does not
//! own the containers, nor an engine that was there before: nothing is ever removed from that.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use serde_json::json;
use sqlx::PgPool;

use super::options::Options;
use crate::host::{self, Engine, Sshd, image};

/// The name of the row.
const NODE: &str = "local";

/// A running host.
pub(super) struct Host {
    sshd: Sshd,
    socket: PathBuf,
    /// None when it is not ours.
    engine: Option<Engine>,
}

/// Why there is none, in words for people.
pub(super) type NoHost = String;

/// The file of the key that lets functions in, with the data in `dir`.
pub(super) fn key(dir: &Path) -> PathBuf {
    dir.join("ssh/key")
}

/// Removes what earlier runs have kept.
pub(super) async fn remove(dir: &Path) -> Result<()> {
    host::remove(&dir.join("engine")).await?;
    match std::fs::remove_dir_all(dir.join("ssh")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Starts a host with the data in `dir`, if one is wanted and can be had. Nothing else depends on it, so
/// none is no error.
pub(super) async fn start(options: &Options, dir: &Path) -> Result<Host, NoHost> {
    if options.time_lapse.is_some() {
        return Err("simulated hours are too short for jobs.".to_owned());
    }
    if options.no_host {
        return Err("none was wanted (--no-host).".to_owned());
    }
    Sshd::availability()?;
    let started = async {
        let (sshd, (socket, engine)) = tokio::try_join!(start_sshd(dir), start_engine(dir))?;
        image::provide(&socket).await?;
        anyhow::Ok(Host {
            sshd,
            socket,
            engine,
        })
    };
    started.await.map_err(|error| format!("{error:#}"))
}

async fn start_sshd(dir: &Path) -> Result<Sshd> {
    let keys = std::path::absolute(dir.join("ssh"))?;
    std::fs::create_dir_all(&keys)?;
    let options = host::Options {
        keys: Some(keys),
        ..host::Options::default()
    };
    Sshd::start(&options).await
}

async fn start_engine(dir: &Path) -> Result<(PathBuf, Option<Engine>)> {
    let not_found = match host::found_engine().await {
        Ok(socket) => return Ok((socket, None)),
        Err(reason) => reason,
    };
    Engine::availability().map_err(|reason| anyhow!("{reason} {not_found}"))?;
    let kept = std::path::absolute(dir.join("engine"))?;
    let engine = Engine::start_keeping(NODE, &kept).await?;
    Ok((engine.socket().to_owned(), Some(engine)))
}

/// Writes the host down in the database, or that what an earlier run has written down is not there.
pub(super) async fn register(database: &PgPool, host: &Result<Host, NoHost>) -> Result<()> {
    let Ok(host) = host else {
        sqlx::query(
            "UPDATE docker_nodes SET enabled = false, updated_at = now() WHERE node_id = $1",
        )
        .bind(NODE)
        .execute(database)
        .await?;
        return Ok(());
    };
    // How many agents it has already is not for us to say.
    sqlx::query(
        "INSERT INTO docker_nodes (node_id, hostname, ssh_port, ssh_user, host_key_fingerprint,
             capacity, enabled, status, last_health_check, metadata)
         VALUES ($1, '127.0.0.1', $2, $3, $4, 8, true, 'healthy', billing_clock(), $5)
         ON CONFLICT (node_id) DO UPDATE SET hostname = excluded.hostname,
             ssh_port = excluded.ssh_port, ssh_user = excluded.ssh_user,
             host_key_fingerprint = excluded.host_key_fingerprint, capacity = excluded.capacity,
             enabled = true, status = 'healthy', last_health_check = excluded.last_health_check,
             metadata = excluded.metadata, updated_at = now()",
    )
    .bind(NODE)
    .bind(i32::from(host.sshd.port()))
    .bind(host.sshd.user())
    .bind(host.sshd.fingerprint())
    .bind(json!({"dockerSocket": host.socket, "publishAddress": "127.0.0.1"}))
    .execute(database)
    .await?;
    Ok(())
}

/// One line for people.
pub(super) fn line(host: &Result<Host, NoHost>) -> String {
    match host {
        Ok(host) => format!(
            "Agents run on this machine, host {NODE}: SSH port {}, {} Docker Engine at {}",
            host.sshd.port(),
            if host.engine.is_some() {
                "own"
            } else {
                "existing"
            },
            host.socket.display(),
        ),
        Err(reason) => format!("No agents run here: {reason}"),
    }
}
