//! Settings from the environment. A function reads only its own. Owns: their names and units.

use std::env::VarError;
use std::str::FromStr;
use std::time::Duration;

use rust_decimal::Decimal;

use crate::api::auth::{Auth, Privy, PrivyKey, SessionSecret};
use crate::cache::Cache;
use crate::agent_databases::{self, Databases, Neon, Server};
use crate::domain::container::Images;
use crate::domain::money::Money;
use crate::domain::pricing::Prices;
use crate::domain::webhook::Reach;
use crate::events::Publisher;
use crate::hosts::{Allowed, Fleet};
use crate::secrets::{Secret, Secrets};
use crate::vpn::Vpn;

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

/// Who may call: `PRIVY_APP_ID` with `PRIVY_VERIFICATION_KEY` (PEM) or `PRIVY_JWKS_URL`,
/// `SESSION_SECRET` (at least 32 bytes; with less there are no sessions) and `ALLOWED_ORIGINS`
/// (separated by commas).
///
/// # Errors
/// [`ConfigError`] for a key or an address that is none.
pub fn auth() -> Result<Auth, ConfigError> {
    let session = var("SESSION_SECRET")?.and_then(SessionSecret::new);
    Ok(Auth {
        privy: privy()?,
        session,
        origins: allowed_origins()?,
    })
}

fn privy() -> Result<Option<Privy>, ConfigError> {
    let Some(app_id) = var("PRIVY_APP_ID")? else {
        return Ok(None);
    };
    let malformed = |name, problem| ConfigError { name, problem };
    let key = match (var("PRIVY_VERIFICATION_KEY")?, var("PRIVY_JWKS_URL")?) {
        (Some(pem), _) => PrivyKey::fixed(&pem)
            .ok_or_else(|| malformed("PRIVY_VERIFICATION_KEY", "is not an EC public key in PEM"))?,
        (None, Some(url)) => PrivyKey::remote(&url)
            .ok_or_else(|| malformed("PRIVY_JWKS_URL", "is not an https address"))?,
        (None, None) => {
            return Err(malformed(
                "PRIVY_APP_ID",
                "needs PRIVY_VERIFICATION_KEY or PRIVY_JWKS_URL",
            ));
        }
    };
    Ok(Some(Privy { app_id, key }))
}

/// `AGENT_BASE_DOMAIN`: agents are reached at `https://<id>.<domain>`; none = they are not.
///
/// # Errors
/// [`ConfigError`] for what is no domain.
pub fn agent_base_domain() -> Result<Option<String>, ConfigError> {
    let name = "AGENT_BASE_DOMAIN";
    let domain = var(name)?.map(|domain| domain.to_ascii_lowercase());
    let plain = |domain: &String| {
        domain.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|c| c == b'-' || c.is_ascii_alphanumeric())
        })
    };
    if domain.as_ref().is_some_and(|domain| !plain(domain)) {
        return Err(ConfigError {
            name,
            problem: "is not a domain",
        });
    }
    Ok(domain)
}

/// `ALLOW_PRIVATE_WEBHOOKS`: `true` lets webhooks lead to this machine and to private networks, by
/// http too. For a stack that runs on one machine.
///
/// # Errors
/// [`ConfigError`] when it is neither `true` nor `false`.
pub fn webhook_reach() -> Result<Reach, ConfigError> {
    let anywhere = parsed("ALLOW_PRIVATE_WEBHOOKS", "is not true or false")?.unwrap_or(false);
    Ok(if anywhere {
        Reach::Anywhere
    } else {
        Reach::Public
    })
}

/// `EVENT_BUS`: the name of the `EventBridge` bus our events go to.
///
/// # Errors
/// [`ConfigError`] when it is missing.
pub fn publisher() -> Result<Publisher, ConfigError> {
    let name = "EVENT_BUS";
    let bus = var(name)?.ok_or(ConfigError {
        name,
        problem: "is not set",
    })?;
    Ok(Publisher::new(bus))
}

/// `FLEET_TABLE`: the `DynamoDB` table that keeps the fleet's snapshot.
///
/// # Errors
/// [`ConfigError`] when it is missing.
pub fn cache() -> Result<Cache, ConfigError> {
    let name = "FLEET_TABLE";
    let table = var(name)?.ok_or(ConfigError {
        name,
        problem: "is not set",
    })?;
    Ok(Cache::new(table))
}

/// Where agents' databases are made: on the server of `AGENT_DATABASE_ADMIN_URL`, the `postgres://`
/// address of a role that may create roles and databases; or at Neon with `NEON_API_KEY`, the key of an
/// organization there, if that is set, and `NEON_BASE_URL` (its API's address unless set). Neither = nowhere.
///
/// # Errors
/// [`ConfigError`] for an address or a key that is none.
pub fn databases() -> Result<Databases, ConfigError> {
    let server = var("AGENT_DATABASE_ADMIN_URL")?;
    let neon = var("NEON_API_KEY")?;
    let base = var("NEON_BASE_URL")?;
    databases_of(server.as_deref(), neon.as_deref(), base.as_deref())
}

fn databases_of(
    server: Option<&str>,
    neon: Option<&str>,
    base: Option<&str>,
) -> Result<Databases, ConfigError> {
    let malformed = |name, problem| ConfigError { name, problem };
    match (server, neon) {
        (Some(url), None) => Server::new(url).map(Databases::Server).ok_or(malformed(
            "AGENT_DATABASE_ADMIN_URL",
            "is not a postgres:// address with a host and a user",
        )),
        (_, Some(key)) => Neon::new(key, base.unwrap_or(agent_databases::BASE_URL))
            .map(Databases::Neon)
            .ok_or(malformed(
                "NEON_API_KEY",
                "is not a key, or NEON_BASE_URL is not an https address",
            )),
        (None, None) => Ok(Databases::None),
    }
}

/// A secret that is set as text, as the path of a file, or as the ARN of what Secrets Manager keeps,
/// each in a variable of its own; none = it is not set.
///
/// # Errors
/// [`ConfigError`] when it is set twice or the ARN is none.
pub fn secret(
    text: &'static str,
    file: &'static str,
    arn: &'static str,
) -> Result<Option<Secret>, ConfigError> {
    let stored = var(arn)?;
    let is_arn =
        |stored: &String| stored.starts_with("arn:") && stored.contains(":secretsmanager:");
    if stored.as_ref().is_some_and(|stored| !is_arn(stored)) {
        return Err(ConfigError {
            name: arn,
            problem: "is not the ARN of a secret",
        });
    }
    let set = [
        (text, var(text)?.map(Secret::Text)),
        (file, var(file)?.map(|path| Secret::File(path.into()))),
        (arn, stored.map(Secret::Stored)),
    ];
    let mut set = set.into_iter().filter(|(_, secret)| secret.is_some());
    let first = set.next().and_then(|(_, secret)| secret);
    match set.next() {
        Some((name, _)) => Err(ConfigError {
            name,
            problem: "sets a secret that is set already",
        }),
        None => Ok(first),
    }
}

/// The connections to hosts: where they may be (see [`allowed_nodes`]) and the key that opens them, in
/// `MILADY_SSH_KEY` (base64), `MILADY_SSH_KEY_PATH` or `MILADY_SSH_KEY_ARN`.
///
/// # Errors
/// [`ConfigError`].
pub fn fleet() -> Result<Fleet, ConfigError> {
    let key = secret(
        "MILADY_SSH_KEY",
        "MILADY_SSH_KEY_PATH",
        "MILADY_SSH_KEY_ARN",
    )?;
    Ok(Fleet::with(key, Secrets::new(), allowed_nodes()?))
}

/// `ALLOW_PRIVATE_NODES`: `true` lets hosts be at this machine and in private networks.
///
/// # Errors
/// [`ConfigError`] when it is neither `true` nor `false`.
pub fn allowed_nodes() -> Result<Allowed, ConfigError> {
    let anywhere = parsed("ALLOW_PRIVATE_NODES", "is not true or false")?.unwrap_or(false);
    Ok(if anywhere {
        Allowed::Any
    } else {
        Allowed::Public
    })
}

/// Headscale: `HEADSCALE_API_URL` (its address, https unless it is on this machine), the key of its API in
/// `HEADSCALE_API_KEY`, `HEADSCALE_API_KEY_PATH` or `HEADSCALE_API_KEY_ARN`, and `HEADSCALE_USER` (whose
/// nodes are shown, `milady` unless set); none without an address or a key.
///
/// # Errors
/// [`ConfigError`].
pub fn vpn() -> Result<Option<Vpn>, ConfigError> {
    let name = "HEADSCALE_API_URL";
    let key = secret(
        "HEADSCALE_API_KEY",
        "HEADSCALE_API_KEY_PATH",
        "HEADSCALE_API_KEY_ARN",
    )?;
    let user = var("HEADSCALE_USER")?.unwrap_or_else(|| "milady".to_owned());
    let (Some(url), Some(key)) = (var(name)?, key) else {
        return Ok(None);
    };
    let vpn = Vpn::new(&url, key, Secrets::new(), user);
    vpn.map(Some).ok_or(ConfigError {
        name,
        problem: "is not an https address",
    })
}

/// The accounts at registries: `REGISTRY_ACCOUNTS` (a JSON object of `{username, password}` by
/// registry), `REGISTRY_ACCOUNTS_PATH` or `REGISTRY_ACCOUNTS_ARN`; none = images are public.
///
/// # Errors
/// [`ConfigError`].
pub fn registries() -> Result<Option<Secret>, ConfigError> {
    secret(
        "REGISTRY_ACCOUNTS",
        "REGISTRY_ACCOUNTS_PATH",
        "REGISTRY_ACCOUNTS_ARN",
    )
}

/// `AGENT_HEALTH_SECONDS` (1 to 600, 120 unless set): what a started agent may take until it is healthy.
///
/// # Errors
/// [`ConfigError`].
pub fn agent_health_within() -> Result<Duration, ConfigError> {
    let name = "AGENT_HEALTH_SECONDS";
    let seconds = parsed(name, "is not a number of seconds")?.unwrap_or(120);
    if !(1..=600).contains(&seconds) {
        return Err(ConfigError {
            name,
            problem: "must be 1 to 600",
        });
    }
    Ok(Duration::from_secs(seconds))
}

/// `ALLOWED_ORIGINS`: what pages may call from, separated by commas.
///
/// # Errors
/// [`ConfigError`] when it is not text.
pub fn allowed_origins() -> Result<Vec<String>, ConfigError> {
    list("ALLOWED_ORIGINS")
}

/// The images that agents may run: `DEFAULT_AGENT_IMAGE`, and those whose names begin as
/// `AGENT_IMAGE_ALLOW` says (separated by commas, `milady/` unless set).
///
/// # Errors
/// [`ConfigError`].
pub fn images() -> Result<Images, ConfigError> {
    let default = var("DEFAULT_AGENT_IMAGE")?;
    let allowed = list("AGENT_IMAGE_ALLOW")?;
    Ok(Images {
        default: default.unwrap_or_else(|| "milady/agent:cloud-full-ui".to_owned()),
        allowed: if allowed.is_empty() {
            vec!["milady/".to_owned()]
        } else {
            allowed
        },
    })
}

/// What is separated by commas.
fn list(name: &'static str) -> Result<Vec<String>, ConfigError> {
    let text = var(name)?.unwrap_or_default();
    let parts = text.split(',').map(str::trim);
    Ok(parts
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_databases_are_in_one_place() {
        let (server, key) = (Some("postgres://root@db.example/x"), Some("word"));
        for (server, neon, base, expected) in [
            (None, None, None, "Ok(None)"),
            (server, None, None, "Ok(Server(Server))"),
            (None, key, None, "Ok(Neon(Neon))"),
            (server, key, None, "Ok(Neon(Neon))"),
            (
                Some("db.example"),
                None,
                None,
                "Err(AGENT_DATABASE_ADMIN_URL is not a postgres:// address with a host and a user)",
            ),
            (
                None,
                key,
                Some("http://db.example"),
                "Err(NEON_API_KEY is not a key, or NEON_BASE_URL is not an https address)",
            ),
        ] {
            let found = databases_of(server, neon, base);
            assert_eq!(format!("{found:?}"), expected);
        }
    }
}
