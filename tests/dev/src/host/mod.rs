//! Real hosts for tests and the local stack: an sshd and a Docker Engine of our own.
//!
//! Owns their processes, files, networks and control groups. Does not own the containers' meaning, nor
//! any client: what ships talks to these servers as it would to a rented machine.
//!
//! Each server runs in process and mount namespaces of its own, below a small shell that holds one end
//! of a pipe. When our end closes, because the value was dropped or because this process was killed, the
//! first process in there ends, the kernel kills all others with it, and the shell removes what is left.
//! No destructor has to run for that, so a `static` host is fine in tests.

mod engine;
mod found;
mod http;
pub mod image;
mod kept;
mod keys;
mod place;
mod programs;
mod registry;
mod silent;
mod sshd;
mod supervisor;

use anyhow::Result;

pub use engine::{Container, Engine};
pub use found::found_engine;
pub use kept::remove;
pub use keys::KeyType;
pub use registry::Registry;
pub use silent::Silent;
pub use sshd::{Options, Sshd};

/// One host: what a row of the nodes' table stands for.
#[derive(Debug)]
pub struct Host {
    /// The way in.
    pub sshd: Sshd,
    /// What runs the containers; it has the sample agent's image.
    pub engine: Engine,
}

impl Host {
    /// Whether a host can be started here.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn availability() -> Result<(), String> {
        Sshd::availability()?;
        Engine::availability()
    }

    /// Starts a host and gives its engine the sample agent.
    ///
    /// # Errors
    /// When none can be started here; the message says why.
    pub async fn start(name: &str) -> Result<Self> {
        let options = Options::default();
        let (sshd, engine) = tokio::try_join!(Sshd::start(&options), Engine::start(name))?;
        image::import(&engine).await?;
        Ok(Self { sshd, engine })
    }
}
