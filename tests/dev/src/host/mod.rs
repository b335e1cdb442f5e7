//! Real hosts for tests and the local stack: an sshd and a Docker Engine that this process starts.
//!
//! Owns their processes, files, networks and control groups. Does not own what the containers mean,
//! nor any client: the functions talk to these servers as to a rented machine.
//!
//! Each server runs in its own process and mount namespaces, below a small shell that holds one end
//! of a pipe. Our end closes when the value is dropped or this process is killed. Then the first
//! process of the namespace exits, the kernel kills all others in it, and the shell removes what is
//! left. No destructor has to run, so tests can keep a host in a `static`.

mod engine;
mod engine_data;
mod existing_engine;
mod http;
pub mod image;
mod keys;
mod network;
mod programs;
mod registry;
mod silent_port;
mod slot;
mod sshd;
mod supervisor;

use std::process::Command;

use anyhow::Result;

pub use engine::{Container, Engine, containers};
pub use engine_data::remove_engine_data;
pub use existing_engine::find_existing_engine;
pub use keys::KeyType;
pub use network::Namespace;
pub use registry::Registry;
pub use silent_port::SilentPort;
pub use sshd::{Options, Sshd};

/// The fleet starts no agent on a host whose disk is this full.
pub const FULL_DISK_PERCENT: u64 = 90;

/// One host, as a row of `docker_nodes` describes it.
#[derive(Debug)]
pub struct Host {
    pub sshd: Sshd,
    /// Has the sample agent's image.
    pub engine: Engine,
}

impl Host {
    /// Whether a host can be started here. The error is a sentence for the user.
    pub fn availability() -> Result<(), String> {
        Sshd::availability()?;
        Engine::availability()?;
        check_disk()
    }

    /// Starts a host whose engine has the sample agent's image.
    pub async fn start(name: &str) -> Result<Self> {
        let options = Options::default();
        let (sshd, engine) = tokio::try_join!(Sshd::start(&options), Engine::start(name))?;
        image::import(&engine).await?;
        Ok(Self { sshd, engine })
    }
}

/// A host shares the disk of this machine.
pub(crate) fn check_disk() -> Result<(), String> {
    let output = Command::new("df").args(["--output=pcent", "/"]).output();
    let output = output.map_err(|error| format!("df cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let used_percent = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    match used_percent.trim_end().trim_end_matches('%').parse::<u64>() {
        Ok(used) if used >= FULL_DISK_PERCENT => Err(format!(
            "the disk of this machine is {used} % full, and no agent is started on a host whose \
             disk is {FULL_DISK_PERCENT} % full"
        )),
        // Unknown is no obstacle.
        _ => Ok(()),
    }
}
