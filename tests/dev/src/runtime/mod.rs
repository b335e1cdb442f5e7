//! A Lambda Runtime API on 127.0.0.1 that starts the functions' binaries and invokes them.
//!
//! Each instance has its own address (`127.0.0.1:PORT/<instance>`), real deadlines and, as in
//! Lambda, one event at a time. An instance that outlives its owner exits at its next call of this
//! API.

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
pub use stream::{BodyStream, StreamedResponse};

use api::InstanceState;

/// The maximum size of an event or a response, as in Lambda.
pub const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024;

/// The waits before Lambda retries a failed asynchronous invocation; it retries at most twice.
pub const RETRY_AFTER: [Duration; 2] = [Duration::from_mins(1), Duration::from_mins(2)];

/// A function binary with its name and settings.
#[derive(Clone, Debug)]
pub struct Function {
    pub name: String,
    pub binary: PathBuf,
    /// Its environment. PATH and the variables that Lambda sets are added.
    pub env: BTreeMap<String, String>,
}

/// How an invocation or a streamed response ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Success(Value),
    FunctionError {
        error_type: String,
        message: String,
    },
    /// The process exited before it answered.
    Crashed {
        /// The exit status in the system's words.
        status: String,
    },
    /// The function exceeded its time limit and was killed.
    TimedOut,
}

impl Outcome {
    fn too_large(bytes: usize) -> Self {
        Self::FunctionError {
            error_type: "Function.ResponseSizeTooLarge".to_owned(),
            message: format!("Response of {bytes} bytes exceeds {MAX_PAYLOAD_BYTES}"),
        }
    }
}

type Instances = Arc<Mutex<HashMap<String, Arc<InstanceState>>>>;

/// The server that instances poll. Cheap to clone; it stops with the last clone.
#[derive(Clone, Debug)]
pub struct RuntimeApi {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    instances: Instances,
    forward_logs: bool,
    server: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl RuntimeApi {
    /// Starts the server on a free port.
    pub async fn start() -> Result<Self> {
        Self::start_with(false).await
    }

    /// Like [`RuntimeApi::start`], and copies the instances' log lines to standard error.
    pub async fn start_forwarding_logs() -> Result<Self> {
        Self::start_with(true).await
    }

    async fn start_with(forward_logs: bool) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no free port for the runtime API")?;
        let address = listener.local_addr()?;
        let instances = Instances::default();
        let router = api::router(Arc::clone(&instances));
        let server = tokio::spawn(async move {
            // Only a broken listener ends this; the instances then exit by themselves.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            inner: Arc::new(Inner {
                address,
                instances,
                forward_logs,
                server,
            }),
        })
    }

    /// Starts an instance without waiting for its first poll.
    pub fn spawn(&self, function: Function) -> Result<Instance> {
        Instance::start(self, function)
    }

    /// Like [`RuntimeApi::spawn`], but the process first runs `preparation`, a shell script, such as one that joins a
    /// control group. The start is counted from when the script has ended. If it fails, nothing is started.
    pub async fn spawn_after(&self, preparation: &str, function: Function) -> Result<Instance> {
        Instance::start_after(self, preparation, function).await
    }

    fn register(&self, id: &str, state: Arc<InstanceState>) {
        lock(&self.inner.instances).insert(id.to_owned(), state);
    }

    fn unregister(&self, id: &str) {
        lock(&self.inner.instances).remove(id);
    }
}

/// A poisoned lock guards plain data here, which is still valid.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
