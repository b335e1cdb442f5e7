//! The database that a function works on.

use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::config::{self, ConfigError};
use crate::db::{Database, Workload};

/// The database, as the role that the functions log in as. Connects when it is first used.
///
/// # Errors
/// [`ConfigError`] if the URL is missing or malformed.
pub fn database(workload: Workload) -> Result<Database, ConfigError> {
    let options = configure(config::runtime_database_url()?);
    Ok(Database::new(options, workload))
}

/// The database, as the owner of the tables. Connects when it is first used.
///
/// # Errors
/// [`ConfigError`] if the URL is missing or malformed.
pub fn owner_database() -> Result<Database, ConfigError> {
    let options = configure(config::owner_database_url()?);
    Ok(Database::new(options, Workload::Deployment))
}

fn configure(options: PgConnectOptions) -> PgConnectOptions {
    options
        .application_name("milady-control-plane")
        .log_statements(log::LevelFilter::Debug)
        .log_slow_statements(log::LevelFilter::Off, Duration::MAX)
}
