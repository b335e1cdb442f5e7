//! Logging: one JSON object per line.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::config;
use super::meter::StatementCounter;
use crate::metrics;

/// Sets up logging and names the stack of the metrics. A `main` without settings calls it first.
pub fn init_logging() {
    if let Some(stack) = config::stack_name() {
        metrics::set_stack(stack);
    }
    // `LOG_LEVEL` applies to our own lines. The lines of libraries can hold headers and addresses, so only
    // their warnings are printed. Those of the database driver also hold SQL: they are counted, never printed.
    let level = config::log_level();
    let printed = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("shared", level)
        .with_target("sqlx", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        .with_filter(printed);
    let counted = Targets::new().with_target("sqlx::query", LevelFilter::DEBUG);
    tracing_subscriber::registry()
        .with(lines)
        .with(StatementCounter.with_filter(counted))
        .init();
}
