//! A Lambda Runtime API on 127.0.0.1: starts the very binaries that ship and invokes them.
//!
//! Each instance gets an address of its own (`127.0.0.1:PORT/<instance>`), real deadlines, and, as in
//! Lambda, one event at a time. A binary that outlives its owner ends at its next call of this API.

mod api;
mod instance;
mod pool;
mod stream;

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use instance::Instance;
pub use pool::Pool;
pub use stream::{Pieces, Streamed};

use api::Slot;

/// A request or a response may carry this many bytes, as in Lambda.
pub const PAYLOAD_LIMIT: usize = 6 * 1024 * 1024;

/// Lambda tries a failed asynchronous invocation again after one and two minutes, twice at most.
pub const RETRY_AFTER: [Duration; 2] = [Duration::from_mins(1), Duration::from_mins(2)];

/// A function to start: which binary, under which name, with which settings.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name, the same as its folder's.
    pub name: String,
    /// The executable.
    pub binary: PathBuf,
    /// Its environment; only PATH and what Lambda itself sets come on top.
    pub env: BTreeMap<String, String>,
}

/// How an invocation ended, or how a streamed response did.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The function answered.
    Success(Value),
    /// The function reported an error.
    FunctionError {
        /// What kind of error, as the function named it.
        error_type: String,
        /// What it said about it.
        message: String,
    },
    /// The process ended without an answer.
    Crashed {
        /// The exit status as the system words it.
        status: String,
    },
    /// The time was up; the process was killed.
    TimedOut,
}

impl Outcome {
    fn too_large(bytes: usize) -> Self {
        Self::FunctionError {
            error_type: "Function.ResponseSizeTooLarge".to_owned(),
            message: format!("Response of {bytes} bytes exceeds {PAYLOAD_LIMIT}"),
        }
    }
}

/// The slots of all instances by the first segment of their address.
type Slots = Arc<Mutex<HashMap<String, Arc<Slot>>>>;

/// The server that instances poll. Cheap to clone; it stops with the last clone.
#[derive(Clone, Debug)]
pub struct RuntimeApi {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    slots: Slots,
    forward_logs: bool,
    server: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl RuntimeApi {
    /// Starts the server on a free port. It lives on the runtime of the caller.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start() -> Result<Self> {
        Self::start_with(false).await
    }

    /// The same, and what the instances log appears on standard error as it comes.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start_forwarding_logs() -> Result<Self> {
        Self::start_with(true).await
    }

    async fn start_with(forward_logs: bool) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no free port for the runtime API")?;
        let address = listener.local_addr()?;
        let slots = Slots::default();
        let router = api::router(Arc::clone(&slots));
        let server = tokio::spawn(async move {
            // Only a broken listener ends this; the instances then end by themselves.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            inner: Arc::new(Inner {
                address,
                slots,
                forward_logs,
                server,
            }),
        })
    }

    /// Starts one instance of a function. It does not wait for its first poll.
    ///
    /// # Errors
    /// When the binary cannot be run.
    pub fn spawn(&self, function: Function) -> Result<Instance> {
        Instance::start(self, function)
    }

    fn register(&self, id: &str, slot: Arc<Slot>) {
        lock(&self.inner.slots).insert(id.to_owned(), slot);
    }

    fn forget(&self, id: &str) {
        lock(&self.inner.slots).remove(id);
    }
}

/// A poisoned lock guards plain data here: what it holds is still good.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
