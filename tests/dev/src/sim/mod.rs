//! Hosts that are not there: SSH servers in this process that answer from a script as Docker hosts do.
//!
//! Owns what such a host says, what it refuses, and the count of what it was asked. For fleets that are
//! larger or more broken than can be had for real: a host costs one port and no thread. What they answer
//! is compared with a real engine's answers; nothing runs in them, so no agent can be placed there.

mod agent;
mod answers;
mod connection;
mod counts;
mod docker;
mod key;
mod listener;
mod script;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use russh::keys::{HashAlg, PublicKey};
use tokio::sync::watch;

pub use counts::Counts;
pub use key::Key;
use listener::Port;
pub use script::{Container, Facts, Fault, Health, Script};

/// Simulated hosts; they are gone when this value is dropped.
#[derive(Debug)]
pub struct Sim {
    hosts: Vec<SimHost>,
}

impl Sim {
    /// Starts a host on a port of 127.0.0.1 for each script. All of them let this key in.
    ///
    /// # Errors
    /// When there are not enough ports.
    pub fn start(key: &Key, scripts: impl IntoIterator<Item = Script>) -> Result<Self> {
        let started = scripts
            .into_iter()
            .map(|script| SimHost::start(key.public(), script));
        let hosts = started.collect::<Result<_>>()?;
        Ok(Self { hosts })
    }

    /// The hosts, in the order of their scripts.
    #[must_use]
    pub fn hosts(&self) -> &[SimHost] {
        &self.hosts
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        for host in &self.hosts {
            host.0.line.send_modify(|line| line.door = Door::Gone);
        }
    }
}

/// A simulated host. Its script can be changed while it runs.
#[derive(Clone, Debug)]
pub struct SimHost(Arc<State>);

impl SimHost {
    fn start(authorized: &PublicKey, script: Script) -> Result<Self> {
        let (free, port) = Port::reserve(0).context("no port for a simulated host")?;
        let key = |which: &str| key::of_seed(&format!("{which} of {}", script.name));
        let key = [key("the key"), key("another key")];
        let line = Line {
            door: Door::of(script.fault),
            cuts: 0,
        };
        let state = Arc::new(State {
            name: script.name.clone(),
            port,
            fingerprint: key[0].fingerprint(HashAlg::Sha256).to_string(),
            configs: key.map(connection::config),
            authorized: authorized.clone(),
            script: Mutex::new(script),
            open: watch::Sender::new(line.door != Door::Refusing),
            line: watch::Sender::new(line),
            counts: Mutex::default(),
        });
        // Whoever connects from now on is let in, or not, as the script says.
        let port = free.open(line.door).context("a port was lost")?;
        tokio::spawn(listener::listen(Arc::clone(&state), port));
        Ok(Self(state))
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The port of its SSH server on 127.0.0.1; it stays the same whatever happens to the host.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// The fingerprint of the key it was set up with, as OpenSSH prints it. It follows from the name.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    /// What it does now.
    #[must_use]
    pub fn script(&self) -> Script {
        self.0.script().clone()
    }

    /// Changes what it does from now on. A host that begins to refuse connections, or gets another key,
    /// ends those it has; one that falls silent keeps them, and says nothing on them either.
    pub async fn change(&self, change: impl FnOnce(&mut Script)) {
        let door = self.0.change(change);
        let mut open = self.0.open.subscribe();
        let _ = open
            .wait_for(|open| *open != (door == Door::Refusing))
            .await;
    }

    /// Ends all its connections, as a restart of its SSH server does.
    pub fn cut(&self) {
        self.0.line.send_modify(|line| line.cuts += 1);
    }

    /// What it was asked so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.counts().clone()
    }
}

/// What a host's listener, connections and answers share.
struct State {
    name: String,
    port: u16,
    fingerprint: String,
    /// With the key it was set up with, and with another one.
    configs: [Arc<russh::server::Config>; 2],
    authorized: PublicKey,
    script: Mutex<Script>,
    line: watch::Sender<Line>,
    /// Whether somebody listens on its port.
    open: watch::Sender<bool>,
    counts: Mutex<Counts>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("State").field(&self.name).finish()
    }
}

impl State {
    /// What happens on its port after the change.
    fn change(&self, change: impl FnOnce(&mut Script)) -> Door {
        let mut script = self.script();
        let before = script.fault;
        change(&mut script);
        let after = script.fault;
        let door = Door::of(after);
        self.line.send_if_modified(|line| {
            let ends = |fault| matches!(fault, Some(Fault::Refusing | Fault::ChangedKey));
            let cut = before != after && (ends(before) || ends(after));
            let changed = cut || line.door != door;
            line.door = door;
            line.cuts += u64::from(cut);
            changed
        });
        door
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

    /// As far as the network makes wait.
    async fn latency(&self) {
        let latency = self.script().latency;
        if latency > Duration::ZERO {
            tokio::time::sleep(latency).await;
        }
    }

    fn config(&self) -> Arc<russh::server::Config> {
        let [own, other] = &self.configs;
        let shown = match self.fault() {
            Some(Fault::ChangedKey) => other,
            _ => own,
        };
        Arc::clone(shown)
    }
}

/// What happens on a host's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    door: Door,
    /// How often connections were ended: those of another number are over.
    cuts: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Open,
    /// Takes connections, and neither reads nor writes.
    Silent,
    /// Nobody listens.
    Refusing,
    /// The host is no more.
    Gone,
}

impl Door {
    fn of(fault: Option<Fault>) -> Self {
        match fault {
            Some(Fault::Silent) => Self::Silent,
            Some(Fault::Refusing) => Self::Refusing,
            _ => Self::Open,
        }
    }
}
