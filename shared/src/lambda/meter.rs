//! Measures invocations for their log lines: duration, database statements, cold start.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tracing_subscriber::layer;

/// Statements that this process has sent to the database.
static STATEMENTS: AtomicU64 = AtomicU64::new(0);
static IS_COLD: AtomicBool = AtomicBool::new(true);

/// Measures one invocation. A function handles one invocation at a time, so every statement that is counted
/// while it runs belongs to it.
pub(super) struct InvocationStats {
    started: Instant,
    statements_before: u64,
    is_cold_start: bool,
}

impl InvocationStats {
    pub(super) fn start() -> Self {
        Self {
            started: Instant::now(),
            statements_before: STATEMENTS.load(Ordering::Relaxed),
            is_cold_start: IS_COLD.swap(false, Ordering::Relaxed),
        }
    }

    /// Whether this is the first invocation of the process.
    pub(super) fn is_cold_start(&self) -> bool {
        self.is_cold_start
    }

    /// Milliseconds, with fractions.
    pub(super) fn duration_ms(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * 1_000.0
    }

    pub(super) fn db_queries(&self) -> u64 {
        STATEMENTS.load(Ordering::Relaxed) - self.statements_before
    }
}

/// Counts the statements that the database driver reports.
pub(super) struct StatementCounter;

impl<S: tracing::Subscriber> layer::Layer<S> for StatementCounter {
    fn on_event(&self, _: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        STATEMENTS.fetch_add(1, Ordering::Relaxed);
    }
}
