//! Settings from the environment. A function reads only its own. Owns: their names and units.

use std::env::VarError;
use std::str::FromStr;

use rust_decimal::Decimal;

use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// A setting that is missing or malformed. Its value is never shown.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name} {problem}")]
pub struct ConfigError {
    name: &'static str,
    problem: &'static str,
}

/// What `main` prints when it ends with this error.
impl std::fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn var(name: &'static str) -> Result<Option<String>, ConfigError> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(ConfigError {
            name,
            problem: "is not text",
        }),
    }
}

fn parsed<T: FromStr>(name: &'static str, problem: &'static str) -> Result<Option<T>, ConfigError> {
    let parse = |value: String| value.parse().map_err(|_| ConfigError { name, problem });
    var(name)?.map(parse).transpose()
}

/// The price list: `MILADY_RUNNING_HOURLY` and `MILADY_IDLE_HOURLY` (dollars per hour, at most four
/// decimals, below 100,000), `MILADY_MINIMUM_DEPOSIT`, `MILADY_LOW_CREDIT` (dollars) and
/// `MILADY_GRACE_HOURS` (hours, 1 to 8,760).
///
/// # Errors
/// [`ConfigError`] for a price that is no amount or out of range.
pub fn prices() -> Result<Prices, ConfigError> {
    let defaults = Prices::default();
    let amount = |name| {
        let value: Option<Decimal> = parsed(name, "is not an amount of dollars")?;
        let in_range = |value: &Decimal| {
            *value >= Decimal::ZERO
                && *value < Decimal::from(100_000)
                && value.normalize().scale() <= 4
        };
        match value {
            Some(value) if !in_range(&value) => Err(ConfigError {
                name,
                problem: "must be 0 to 99999.9999, at most four decimals",
            }),
            value => Ok(value),
        }
    };
    let grace_hours = parsed("MILADY_GRACE_HOURS", "is not a number of hours")?;
    if grace_hours.is_some_and(|hours: i64| !(1..=8_760).contains(&hours)) {
        return Err(ConfigError {
            name: "MILADY_GRACE_HOURS",
            problem: "must be 1 to 8760",
        });
    }
    Ok(Prices {
        running_hourly: amount("MILADY_RUNNING_HOURLY")?.unwrap_or(defaults.running_hourly),
        idle_hourly: amount("MILADY_IDLE_HOURLY")?.unwrap_or(defaults.idle_hourly),
        minimum_deposit: amount("MILADY_MINIMUM_DEPOSIT")?
            .map_or(defaults.minimum_deposit, Money::rounded),
        low_credit: amount("MILADY_LOW_CREDIT")?.map_or(defaults.low_credit, Money::rounded),
        grace_hours: grace_hours.unwrap_or(defaults.grace_hours),
    })
}

/// `CRON_SECRET`: what the cron route's caller must know; none = nobody may call it.
///
/// # Errors
/// [`ConfigError`] when it is not text.
pub fn cron_secret() -> Result<Option<String>, ConfigError> {
    var("CRON_SECRET")
}

/// `DATABASE_URL`: a `postgres://` address.
pub(super) fn database_url() -> Result<sqlx::postgres::PgConnectOptions, ConfigError> {
    let name = "DATABASE_URL";
    let url = var(name)?.ok_or(ConfigError {
        name,
        problem: "is not set",
    })?;
    let ours = url.starts_with("postgres://") || url.starts_with("postgresql://");
    url.parse().ok().filter(|_| ours).ok_or(ConfigError {
        name,
        problem: "is not a postgres:// address",
    })
}

/// `LOG_LEVEL`: error, warn, info (the default), debug or trace.
pub(super) fn log_level() -> tracing::level_filters::LevelFilter {
    let default = tracing::level_filters::LevelFilter::INFO;
    parsed("LOG_LEVEL", "is not a level")
        .ok()
        .flatten()
        .unwrap_or(default)
}
