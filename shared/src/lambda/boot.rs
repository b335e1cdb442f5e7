//! Start-up: logging, the lazy pool, randomness.

use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::config::{self, ConfigError};
use super::invocation::QueryCounter;

/// What a function needs of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// An HTTP function handles one request at a time: one connection, statements up to 10 s.
    One,
    /// The tick works on four pages at a time, statements up to 2 min.
    Four,
    /// A migration may take as long as it takes.
    Migration,
}

/// Sets up logging: one JSON object per line. Call first.
pub fn boot() {
    // `LOG_LEVEL` is for our own lines. Those of libraries can hold headers and addresses, the
    // driver's also SQL: the former are left at warnings, the latter counted and never printed.
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
        .with(QueryCounter.with_filter(counted))
        .init();
}

/// A pool that connects when it is first used. Sessions speak UTC and give up on statements and
/// locks that take too long.
///
/// # Errors
/// [`ConfigError`] when `DATABASE_URL` is missing or malformed.
pub fn pool(connections: Connections) -> Result<PgPool, ConfigError> {
    let (count, statement_timeout) = match connections {
        Connections::One => (1, "10s"),
        Connections::Four => (4, "120s"),
        Connections::Migration => (1, "0"),
    };
    let options = config::database_url()?
        .application_name("milady-control-plane")
        .options([
            ("TimeZone", "UTC"),
            ("statement_timeout", statement_timeout),
            ("lock_timeout", "5s"),
            ("idle_in_transaction_session_timeout", "60s"),
            // Arrays of thousands of ids look like constants to the planner: it would plan each page
            // anew, scan whole tables for it, and compile the expressions.
            ("plan_cache_mode", "force_generic_plan"),
            ("jit", "off"),
        ])
        .log_statements(log::LevelFilter::Debug)
        .log_slow_statements(log::LevelFilter::Off, Duration::MAX);
    Ok(PgPoolOptions::new()
        .max_connections(count)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy_with(options))
}

/// Random bytes from the operating system.
///
/// # Errors
/// When it has none to give.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
