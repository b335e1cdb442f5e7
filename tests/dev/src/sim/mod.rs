//! Simulated hosts: SSH servers in this process that answer from a script like Docker hosts.
//!
//! Owns what such a host answers and refuses, and counts its requests. They make fleets possible
//! that are larger or more broken than real ones: a host costs one port and no thread. Tests
//! compare the answers with those of a real engine. An agent can be started there, but nothing of
//! it runs: all that it does is to answer its health check, and to send and take its state if the script has one.

mod agent;
mod answers;
mod archive;
mod connection;
mod controlled_stream;
mod counts;
mod docker;
mod docker_json;
mod docker_start;
mod facts;
mod key;
mod listener;
mod script;
mod stats;
mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use tokio::sync::watch;

pub use answers::{Answer, ApiVersions};
pub use archive::Data;
pub use counts::Counts;
pub use facts::Facts;
pub use key::Key;
use listener::Port;
pub use script::{Container, Death, Fault, Health, Script};
pub use store::{PulledImage, Volume};

/// Simulated hosts, which end when this value is dropped.
#[derive(Debug)]
pub struct Sim {
    hosts: Vec<SimHost>,
}

impl Sim {
    /// Starts one host per script, each on a port of 127.0.0.1. All of them accept this key.
    pub fn start(key: &Key, scripts: impl IntoIterator<Item = Script>) -> Result<Self> {
        let started = scripts
            .into_iter()
            .map(|script| SimHost::start(key.public(), script));
        let hosts = started.collect::<Result<_>>()?;
        Ok(Self { hosts })
    }

    /// In the order of their scripts.
    #[must_use]
    pub fn hosts(&self) -> &[SimHost] {
        &self.hosts
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        for host in &self.hosts {
            host.0
                .ports
                .send_modify(|ports| ports.mode = PortMode::Stopped);
        }
    }
}

/// A simulated host. Its script can change while it runs.
#[derive(Clone, Debug)]
pub struct SimHost(Arc<State>);

impl SimHost {
    fn start(authorized: &PublicKey, script: Script) -> Result<Self> {
        let mut port = Port::reserve().context("no free port for a simulated host")?;
        let key = |which: &str| key::from_seed(&format!("{which} of {}", script.name));
        let keys = [key("the key"), key("another key")];
        let more_keys = script.host_keys.iter().map(PrivateKey::from_openssh);
        let more_keys: Vec<PrivateKey> = more_keys.collect::<Result<_, _>>()?;
        let fingerprint = keys[0].fingerprint(HashAlg::Sha256).to_string();
        let [own, other] = keys;
        let own = [vec![own], more_keys].concat();
        let ports = PortState {
            mode: PortMode::of(script.fault),
            disconnects: 0,
        };
        // Listen before returning, so that clients find the port in the state that the script asks
        // for.
        port.set(ports.mode)
            .context("cannot listen on the port of a simulated host")?;
        let state = Arc::new(State {
            name: script.name.clone(),
            port: port.number(),
            fingerprint,
            configs: [own, vec![other]].map(connection::config),
            authorized: authorized.clone(),
            script: Mutex::new(script),
            port_status: watch::Sender::new(PortStatus::after(ports.mode)),
            ports: watch::Sender::new(ports),
            counts: Mutex::default(),
        });
        tokio::spawn(listener::listen(Arc::clone(&state), port));
        Ok(Self(state))
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The port of its SSH server on 127.0.0.1, which never changes.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// The fingerprint of its original host key, in the format that OpenSSH prints. It depends on
    /// the name only.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    #[must_use]
    pub fn script(&self) -> Script {
        self.0.script().clone()
    }

    /// Changes the script. A host that starts to refuse connections or changes its key ends its
    /// connections; a host that falls silent keeps them but sends nothing on them.
    ///
    /// # Panics
    /// The host's port has failed.
    pub async fn update_script(&self, update: impl FnOnce(&mut Script)) {
        let expected = PortStatus::after(self.0.update_script(update));
        let mut port_status = self.0.port_status.subscribe();
        let reached = port_status
            .wait_for(|status| *status == expected || matches!(status, PortStatus::Failed(_)))
            .await;
        if let Ok(status) = reached
            && let PortStatus::Failed(error) = &*status
        {
            panic!("the simulated host {} has failed: {error}", self.0.name);
        }
    }

    /// The requests so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.counts().clone()
    }
}

/// The state that a host's listener, connections and answers share.
struct State {
    name: String,
    port: u16,
    fingerprint: String,
    /// With the original host key, and with another one.
    configs: [Arc<russh::server::Config>; 2],
    authorized: PublicKey,
    script: Mutex<Script>,
    ports: watch::Sender<PortState>,
    port_status: watch::Sender<PortStatus>,
    counts: Mutex<Counts>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("State").field(&self.name).finish()
    }
}

impl State {
    /// Returns the port's mode after the change.
    fn update_script(&self, update: impl FnOnce(&mut Script)) -> PortMode {
        let mut script = self.script();
        let before = script.fault;
        update(&mut script);
        let after = script.fault;
        let mode = PortMode::of(after);
        self.ports.send_if_modified(|ports| {
            let ends_connections =
                |fault| matches!(fault, Some(Fault::Refusing | Fault::ChangedKey));
            let disconnects =
                before != after && (ends_connections(before) || ends_connections(after));
            let changed = disconnects || ports.mode != mode;
            ports.mode = mode;
            ports.disconnects += u64::from(disconnects);
            changed
        });
        mode
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self) -> Option<Fault> {
        self.script().fault
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the script's network latency.
    async fn simulate_latency(&self) {
        let latency = self.script().latency;
        if latency > Duration::ZERO {
            tokio::time::sleep(latency).await;
        }
    }

    fn config(&self) -> Arc<russh::server::Config> {
        let [own, other] = &self.configs;
        let config = match self.fault() {
            Some(Fault::ChangedKey) => other,
            _ => own,
        };
        Arc::clone(config)
    }
}

/// The state of a host's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PortState {
    mode: PortMode,
    /// How often all connections were ended. A connection that started under another number is
    /// over.
    disconnects: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PortMode {
    Open,
    /// Accepts connections but neither reads nor writes.
    Silent,
    Refusing,
    /// The host was dropped.
    Stopped,
}

/// What a host's port does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PortStatus {
    Listening,
    Refusing,
    /// It does not answer any more.
    Failed(String),
}

impl PortStatus {
    /// What the port does once it has taken the mode over.
    fn after(mode: PortMode) -> Self {
        match mode {
            PortMode::Refusing | PortMode::Stopped => Self::Refusing,
            PortMode::Open | PortMode::Silent => Self::Listening,
        }
    }
}

impl PortMode {
    fn of(fault: Option<Fault>) -> Self {
        match fault {
            Some(Fault::Silent) => Self::Silent,
            Some(Fault::Refusing) => Self::Refusing,
            _ => Self::Open,
        }
    }
}
