//! The pool of database connections.

use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgPool, PgPoolOptions};

use super::config::{self, ConfigError};

/// How many connections a function needs, and how long a statement may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// An HTTP function handles one request at a time. Statements may take 10 s.
    One,
    /// The billing run works on several batches at a time. Statements may take 2 min.
    Four,
    /// One connection. A migration may take any time.
    Migration,
}

/// How long a caller waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A pool that connects when it is first used. Its sessions speak UTC and give up on statements and locks
/// that take too long.
///
/// # Errors
/// [`ConfigError`] if `DATABASE_URL` is missing or malformed.
pub fn pool(connections: Connections) -> Result<PgPool, ConfigError> {
    let (max_connections, statement_timeout) = match connections {
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
            // The planner takes an array of thousands of ids for a constant. With custom plans it would plan
            // every page anew, scan whole tables, and compile the expressions.
            ("plan_cache_mode", "force_generic_plan"),
            ("jit", "off"),
        ])
        .log_statements(log::LevelFilter::Debug)
        .log_slow_statements(log::LevelFilter::Off, Duration::MAX);
    Ok(PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options))
}
