//! One invocation. Owns: its deadline, and the count of its database statements.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda_runtime::Context;
use tracing_subscriber::layer;

static QUERIES: AtomicU64 = AtomicU64::new(0);
static COLD: AtomicBool = AtomicBool::new(true);

/// What a handler knows of its invocation.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The runtime's id of it.
    pub request_id: String,
    /// When the runtime ends it; none = unknown.
    pub deadline: Option<Instant>,
}

impl Invocation {
    pub(super) fn new(context: &Context) -> Self {
        Self {
            request_id: context.request_id.clone(),
            deadline: deadline(context.deadline),
        }
    }
}

/// A deadline in the past is a local runtime's stand-in for "unknown".
#[expect(
    clippy::disallowed_methods,
    reason = "the runtime states deadlines in wall-clock time"
)]
fn deadline(milliseconds: u64) -> Option<Instant> {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds))?;
    let left = at.duration_since(SystemTime::now()).ok()?;
    Instant::now().checked_add(left)
}

/// Measures one invocation for its log line.
pub(super) struct Meter {
    started: Instant,
    queries: u64,
    cold_start: bool,
}

impl Meter {
    pub(super) fn start() -> Self {
        let cold_start = COLD.swap(false, Ordering::Relaxed);
        Self {
            started: Instant::now(),
            queries: database_queries(),
            cold_start,
        }
    }

    pub(super) fn cold_start(&self) -> bool {
        self.cold_start
    }

    /// Milliseconds to the microsecond.
    pub(super) fn duration_ms(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * 1_000.0
    }

    pub(super) fn queries(&self) -> u64 {
        database_queries() - self.queries
    }
}

/// Statements this process has sent to the database. A function handles one invocation at a time, so
/// differences belong to it.
#[must_use]
pub fn database_queries() -> u64 {
    QUERIES.load(Ordering::Relaxed)
}

/// Counts what the driver reports.
pub(super) struct QueryCounter;

impl<S: tracing::Subscriber> layer::Layer<S> for QueryCounter {
    fn on_event(&self, _: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        QUERIES.fetch_add(1, Ordering::Relaxed);
    }
}
