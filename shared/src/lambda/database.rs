//! The database that a function works on.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use tracing::{error, info};

use super::config;
use super::environment::{ConfigError, secret_arn};
use super::stored::{OWNER_DATABASE_URL, RUNTIME_DATABASE_URL, StoredSetting, reread};
use crate::db::{Database, RenewedLogin, Workload};

/// The database, as the role that the functions log in as. Connects when it is first used.
///
/// # Errors
/// [`ConfigError`] if the URL is missing or malformed.
pub fn database(workload: Workload) -> Result<Database, ConfigError> {
    let options = configure(config::runtime_database_url()?);
    renewing(options, workload, RUNTIME_DATABASE_URL)
}

/// The database, as the owner of the tables. Connects when it is first used.
///
/// # Errors
/// [`ConfigError`] if the URL is missing or malformed.
pub fn owner_database() -> Result<Database, ConfigError> {
    let options = configure(config::owner_database_url()?);
    renewing(options, Workload::Deployment, OWNER_DATABASE_URL)
}

/// A database whose login is read again when it is refused, if Secrets Manager keeps it: its password may have been
/// rotated since the function started.
fn renewing(
    options: PgConnectOptions,
    workload: Workload,
    setting: StoredSetting,
) -> Result<Database, ConfigError> {
    let Some(arn) = secret_arn(setting.arn)? else {
        return Ok(Database::new(options, workload));
    };
    let source = Arc::new((config::secrets()?, arn));
    let renew: RenewedLogin = Arc::new(move || -> BoxFuture<'static, Option<PgConnectOptions>> {
        let source = Arc::clone(&source);
        Box::pin(async move {
            let (secrets, arn) = source.as_ref();
            let url = reread(secrets, arn, setting.name).await?;
            match config::database_options(setting.name, &url) {
                Ok(options) => {
                    info!("the database refused the login; its secret was read again");
                    Some(configure(options))
                }
                Err(problem) => {
                    error!(%problem, "the database refused the login, and its secret holds no other one");
                    None
                }
            }
        })
    });
    Ok(Database::renewing(options, workload, renew))
}

fn configure(options: PgConnectOptions) -> PgConnectOptions {
    options
        .application_name("milady-control-plane")
        .log_statements(log::LevelFilter::Debug)
        .log_slow_statements(log::LevelFilter::Off, Duration::MAX)
}
