//! The host of `cargo dev` that runs agents: an sshd that this process starts, and a Docker Engine.
//! The engine is the machine's own if it can be used, otherwise one that this process starts.
//!
//! Owns the processes it starts, their data below the stack's directory, and the host's row in the
//! database. Does not own the containers, nor an existing engine: nothing is ever removed from that
//! one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use serde_json::json;
use sqlx::PgPool;

use super::options::Options;
use crate::host::{self, Engine, Sshd, image};

/// The host's `node_id`.
const NODE: &str = "local";

pub(super) struct Host {
    sshd: Sshd,
    socket: PathBuf,
    /// `None` if the engine is the machine's own.
    own_engine: Option<Engine>,
}

/// Why there is no host, as a sentence for the user.
pub(super) type NoHost = String;

/// The file of the private key that functions log in with. `dir` is the directory of the stack's
/// data.
pub(super) fn key_file(dir: &Path) -> PathBuf {
    dir.join("ssh/key")
}

/// Removes the data of earlier runs.
pub(super) async fn remove(dir: &Path) -> Result<()> {
    host::remove_engine_data(&dir.join("engine")).await?;
    match std::fs::remove_dir_all(dir.join("ssh")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Starts the host, with its data in `dir`. Every failure is only a reason for having no host,
/// because the rest of the stack works without one.
pub(super) async fn start(options: &Options, dir: &Path) -> Result<Host, NoHost> {
    if options.time_lapse.is_some() && !options.host {
        return Err("in time-lapse mode there is one only with --host.".to_owned());
    }
    if options.no_host {
        return Err("the host is disabled by --no-host.".to_owned());
    }
    Sshd::availability()?;
    host::check_disk()?;
    let started = async {
        let (sshd, (socket, own_engine)) = tokio::try_join!(start_sshd(dir), start_engine(dir))?;
        image::import_if_outdated(&socket).await?;
        anyhow::Ok(Host {
            sshd,
            socket,
            own_engine,
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
    let no_existing_engine = match host::find_existing_engine().await {
        Ok(socket) => return Ok((socket, None)),
        Err(reason) => reason,
    };
    Engine::availability().map_err(|reason| anyhow!("{reason} {no_existing_engine}"))?;
    let data_directory = std::path::absolute(dir.join("engine"))?;
    let own_engine = Engine::start_persistent(NODE, &data_directory).await?;
    Ok((own_engine.socket().to_owned(), Some(own_engine)))
}

/// Registers the host in the database, or disables the row of an earlier run if there is no host.
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
    // Leaves `allocated_count` as it is: agents of earlier runs still occupy slots.
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

/// The names of all containers in the host's Docker Engine; none without a host.
pub(super) async fn container_names(host: &Result<Host, NoHost>) -> Result<BTreeSet<String>> {
    let Ok(host) = host else {
        return Ok(BTreeSet::new());
    };
    let containers = host::containers(&host.socket).await?;
    let names = containers.into_iter().map(|container| container.name);
    Ok(names.collect())
}

/// The line about the host that `cargo dev` prints.
pub(super) fn summary(host: &Result<Host, NoHost>) -> String {
    match host {
        Ok(host) => format!(
            "Agents run on this machine as host {NODE}: SSH port {}, {} Docker Engine at {}",
            host.sshd.port(),
            if host.own_engine.is_some() {
                "own"
            } else {
                "existing"
            },
            host.socket.display(),
        ),
        Err(reason) => format!("Agents cannot run here: {reason}"),
    }
}
