//! Settings from the environment. Each Lambda function reads only the settings that it needs. Owns: their names
//! and units.

use std::borrow::Cow;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rust_decimal::Decimal;
use sqlx::postgres::PgConnectOptions;
use tracing::level_filters::LevelFilter;
use url::Url;

use super::environment::{ConfigError, list, parsed, required, secret, var};
use super::tls::verify_server;
use crate::agent_databases::{self, AgentDatabases, Neon, Server};
use crate::api::auth::{Auth, ExhaustedCredentials, Privy, PrivyKey, SessionSecret};
use crate::app::deployment::roles::RuntimeLogin;
use crate::aws::AwsAccount;
use crate::bucket::Bucket;
use crate::cache::Cache;
use crate::domain::address::AddressPolicy;
use crate::domain::encrypted::OlderApplication;
use crate::domain::image::{ImageReference, Images};
use crate::domain::money::Money;
use crate::domain::pricing::Prices;
use crate::encryption::EncryptionKeys;
use crate::events::Publisher;
use crate::hosts::HostClient;
use crate::mail::{Mailer, Sender};
use crate::secrets::{KeptSecret, Secrets};
use crate::vpn::Vpn;

/// `true`: any address. `false`, the default: public addresses only.
fn address_policy(name: &'static str) -> Result<AddressPolicy, ConfigError> {
    let allows_any = parsed(name, "is not true or false")?.unwrap_or(false);
    Ok(if allows_any {
        AddressPolicy::Any
    } else {
        AddressPolicy::PublicOnly
    })
}

/// `MILADY_RUNNING_HOURLY` and `MILADY_IDLE_HOURLY` (dollars per hour, at most four decimals, below 100,000),
/// `MILADY_MINIMUM_DEPOSIT`, `MILADY_LOW_CREDIT` (dollars) and `MILADY_GRACE_HOURS` (hours, 1 to 8,760).
pub fn prices() -> Result<Prices, ConfigError> {
    let defaults = Prices::default();
    let amount = |name| {
        let value: Option<Decimal> = parsed(name, "is not an amount of dollars")?;
        let is_in_range = |value: &Decimal| {
            *value >= Decimal::ZERO
                && *value < Decimal::from(100_000)
                && value.normalize().scale() <= 4
        };
        match value {
            Some(value) if !is_in_range(&value) => Err(ConfigError::new(
                name,
                "must be 0 to 99999.9999, at most four decimals",
            )),
            value => Ok(value),
        }
    };
    let name = "MILADY_GRACE_HOURS";
    let grace_hours = parsed(name, "is not a number of hours")?;
    if grace_hours.is_some_and(|hours: i64| !(1..=8_760).contains(&hours)) {
        return Err(ConfigError::new(name, "must be 1 to 8760"));
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

/// `CRON_SECRET`: the bearer token of the cron route's caller. `None` if nobody may call the route.
pub fn cron_secret() -> Result<Option<String>, ConfigError> {
    var("CRON_SECRET")
}

/// `PRIVY_APP_ID` with `PRIVY_VERIFICATION_KEY` (PEM) or `PRIVY_JWKS_URL`; `SESSION_SECRET` (at least 32 bytes;
/// with less there are no sessions); `ALLOWED_ORIGINS` (separated by commas).
pub fn auth() -> Result<Auth, ConfigError> {
    let session = var("SESSION_SECRET")?.and_then(SessionSecret::new);
    Ok(Auth {
        privy: privy()?,
        session,
        origins: allowed_origins()?,
        exhausted: ExhaustedCredentials::default(),
    })
}

fn privy() -> Result<Option<Privy>, ConfigError> {
    let Some(app_id) = var("PRIVY_APP_ID")? else {
        return Ok(None);
    };
    let key = match (var("PRIVY_VERIFICATION_KEY")?, var("PRIVY_JWKS_URL")?) {
        (Some(pem), _) => PrivyKey::fixed(&pem).ok_or(ConfigError::new(
            "PRIVY_VERIFICATION_KEY",
            "is not an EC public key in PEM",
        ))?,
        (None, Some(url)) => PrivyKey::remote(&url).ok_or(ConfigError::new(
            "PRIVY_JWKS_URL",
            "is not an https address",
        ))?,
        (None, None) => {
            return Err(ConfigError::new(
                "PRIVY_APP_ID",
                "needs PRIVY_VERIFICATION_KEY or PRIVY_JWKS_URL",
            ));
        }
    };
    Ok(Some(Privy { app_id, key }))
}

/// `ALLOWED_ORIGINS`: the origins of pages that may call us, separated by commas.
pub fn allowed_origins() -> Result<Vec<String>, ConfigError> {
    list("ALLOWED_ORIGINS")
}

/// `AGENT_BASE_DOMAIN`: agents are reached at `https://<id>.<domain>`. `None` if they have no public address.
pub fn agent_base_domain() -> Result<Option<String>, ConfigError> {
    let name = "AGENT_BASE_DOMAIN";
    let domain = var(name)?.map(|domain| domain.to_ascii_lowercase());
    let is_label_char = |c: u8| c == b'-' || c.is_ascii_alphanumeric();
    let is_domain = |domain: &String| {
        domain
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(is_label_char))
    };
    if domain.as_ref().is_some_and(|domain| !is_domain(domain)) {
        return Err(ConfigError::new(name, "is not a domain"));
    }
    Ok(domain)
}

/// `ALLOW_PRIVATE_WEBHOOKS`: `true` allows webhooks to this machine and to private networks, over http too. For a
/// stack that runs on one machine.
pub fn webhook_address_policy() -> Result<AddressPolicy, ConfigError> {
    address_policy("ALLOW_PRIVATE_WEBHOOKS")
}

/// `EVENT_BUS`: the name of the `EventBridge` bus that our events go to.
pub fn publisher() -> Result<Publisher, ConfigError> {
    required("EVENT_BUS").map(Publisher::new)
}

/// `FLEET_TABLE`: the `DynamoDB` table with the fleet's snapshot.
pub fn cache() -> Result<Cache, ConfigError> {
    required("FLEET_TABLE").map(Cache::new)
}

/// Where agents' databases are created. If `NEON_API_KEY` (the key of a Neon organization) is set: at Neon, through
/// the API at `NEON_BASE_URL` (Neon's own by default), with a quota of [`agent_database_max_bytes`]. Else on the
/// server of `AGENT_DATABASE_ADMIN_URL`, a `postgres://` address of a role that may create roles and databases. Nowhere
/// if neither is set. `ALLOW_SHARED_DATABASE_SERVER`: `true` allows the server to be the control plane's own.
pub fn agent_databases() -> Result<AgentDatabases, ConfigError> {
    let server = var("AGENT_DATABASE_ADMIN_URL")?;
    let neon = var("NEON_API_KEY")?;
    let base = var("NEON_BASE_URL")?;
    let allows_control_plane = parsed("ALLOW_SHARED_DATABASE_SERVER", "is not true or false")?;
    let databases = agent_databases_of(server.as_deref(), neon.as_deref(), base.as_deref())?;
    Ok(match databases {
        AgentDatabases::Server(server) => {
            let allowed = allows_control_plane.unwrap_or(false);
            AgentDatabases::Server(server.allow_control_plane(allowed))
        }
        AgentDatabases::Neon(neon) => {
            AgentDatabases::Neon(neon.with_quota(agent_database_max_bytes()?))
        }
        AgentDatabases::NotConfigured => AgentDatabases::NotConfigured,
    })
}

/// `AGENT_DATABASE_MAX_BYTES` (at least 32 MiB, 1 GiB by default): the size from which an agent's database is too large.
/// An empty one has 8 MB.
pub fn agent_database_max_bytes() -> Result<u64, ConfigError> {
    let name = "AGENT_DATABASE_MAX_BYTES";
    let bytes = parsed(name, "is not a number of bytes")?.unwrap_or(1 << 30);
    if !(32 << 20..=1 << 50).contains(&bytes) {
        return Err(ConfigError::new(name, "must be 33554432 to 2^50"));
    }
    Ok(bytes)
}

fn agent_databases_of(
    server: Option<&str>,
    neon: Option<&str>,
    base: Option<&str>,
) -> Result<AgentDatabases, ConfigError> {
    match (server, neon) {
        (Some(url), None) => {
            let name = "AGENT_DATABASE_ADMIN_URL";
            let server = Server::new(url).ok_or(ConfigError::new(
                name,
                "is not a postgres:// address with a host and a user",
            ))?;
            let bundle = var("DATABASE_CA_BUNDLE")?;
            let verified =
                server.try_map_options(|options| verify_server(options, bundle.as_deref()));
            verified
                .map(AgentDatabases::Server)
                .map_err(|problem| ConfigError::new(name, problem))
        }
        (_, Some(key)) => {
            let neon = Neon::new(key, base.unwrap_or(agent_databases::BASE_URL));
            neon.map(AgentDatabases::Neon).ok_or(ConfigError::new(
                "NEON_API_KEY",
                "is not a key, or NEON_BASE_URL is not an https address",
            ))
        }
        (None, None) => Ok(AgentDatabases::NotConfigured),
    }
}

/// The connections to hosts: [`host_address_policy`], and the SSH key in `MILADY_SSH_KEY` (base64),
/// `MILADY_SSH_KEY_PATH` or `MILADY_SSH_KEY_ARN`.
pub fn hosts() -> Result<HostClient, ConfigError> {
    let key = secret(
        "MILADY_SSH_KEY",
        "MILADY_SSH_KEY_PATH",
        "MILADY_SSH_KEY_ARN",
    )?;
    let address_policy = host_address_policy()?;
    Ok(HostClient::with_key_source(key, secrets()?, address_policy))
}

/// `ALLOW_PRIVATE_NODES`: `true` allows hosts at this machine and in private networks.
pub fn host_address_policy() -> Result<AddressPolicy, ConfigError> {
    address_policy("ALLOW_PRIVATE_NODES")
}

/// Headscale: `HEADSCALE_API_URL` (https, or http at this machine), the key of its API in `HEADSCALE_API_KEY`,
/// `HEADSCALE_API_KEY_PATH` or `HEADSCALE_API_KEY_ARN`, and `HEADSCALE_USER` (the user whose nodes are shown,
/// `milady` by default). `None` without an address or without a key.
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
    let vpn = Vpn::new(&url, KeptSecret::new(key, secrets()?), user);
    vpn.map(Some)
        .ok_or(ConfigError::new(name, "is not an https address"))
}

/// The client of Secrets Manager, from what Lambda sets: `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
/// `AWS_SESSION_TOKEN`. `AWS_ENDPOINT_URL_SECRETS_MANAGER` replaces the service. Without a region or a key it reads no
/// stored secret.
pub fn secrets() -> Result<Secrets, ConfigError> {
    aws_account("AWS_ENDPOINT_URL_SECRETS_MANAGER").map(Secrets::new)
}

/// `None` without a region or a key. `endpoint` is the variable that replaces the service.
fn aws_account(endpoint: &'static str) -> Result<Option<AwsAccount>, ConfigError> {
    let region = var("AWS_REGION")?;
    let access_key_id = var("AWS_ACCESS_KEY_ID")?;
    let secret_access_key = var("AWS_SECRET_ACCESS_KEY")?;
    let session_token = var("AWS_SESSION_TOKEN")?;
    let endpoint = var(endpoint)?;
    let account = region.zip(access_key_id).zip(secret_access_key);
    Ok(
        account.map(|((region, access_key_id), secret_access_key)| AwsAccount {
            region,
            access_key_id,
            secret_access_key,
            session_token,
            endpoint,
        }),
    )
}

/// `BACKUP_BUCKET`: the bucket with the states of backups, at S3 or at `AWS_ENDPOINT_URL_S3`. `None` if they are kept in the
/// database.
pub fn backup_bucket() -> Result<Option<Bucket>, ConfigError> {
    let name = "BACKUP_BUCKET";
    let Some(bucket) = var(name)? else {
        return Ok(None);
    };
    let account = aws_account("AWS_ENDPOINT_URL_S3")?;
    let account = account.ok_or(ConfigError::new(name, "is set, and AWS_REGION is not"))?;
    Ok(Some(Bucket::new(bucket, account)))
}

/// How mails are sent, from the sender `MAIL_FROM` (an address, or a name with an address in angle brackets): by the SMTP
/// server of `SMTP_URL`, if it is set, else by SES with `SES_CONFIGURATION_SET`, without which SES reports nothing.
/// `AWS_ENDPOINT_URL_SESV2` replaces SES.
pub fn mailer() -> Result<Mailer, ConfigError> {
    let from = Sender::parse(&required("MAIL_FROM")?);
    let from = from.map_err(|problem| ConfigError::new("MAIL_FROM", problem))?;
    if let Some(url) = var("SMTP_URL")? {
        let mailer = Mailer::smtp(from, &url);
        return mailer.map_err(|problem| ConfigError::new("SMTP_URL", problem));
    }
    let account = aws_account("AWS_ENDPOINT_URL_SESV2")?.ok_or(ConfigError::new(
        "SMTP_URL",
        "is not set, and nor is AWS_REGION",
    ))?;
    let configuration_set = var("SES_CONFIGURATION_SET")?;
    Ok(Mailer::ses(from, account, configuration_set))
}

/// `APP_URL`: the https address of the dashboard, to which mails link; http at this machine. Returned without a slash at
/// its end.
pub fn app_url() -> Result<String, ConfigError> {
    let name = "APP_URL";
    let text = required(name)?;
    let url = Url::parse(&text).ok().filter(|url| {
        let is_local = matches!(url.host_str(), Some("127.0.0.1" | "localhost"));
        url.scheme() == "https" || url.scheme() == "http" && is_local
    });
    let url = url.ok_or(ConfigError::new(name, "is not an https address"))?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Our accounts at registries: `REGISTRY_ACCOUNTS` (a JSON object of `{username, password}` by registry),
/// `REGISTRY_ACCOUNTS_PATH` or `REGISTRY_ACCOUNTS_ARN`. `None` if all images are public.
pub fn registry_accounts() -> Result<Option<KeptSecret>, ConfigError> {
    let place = secret(
        "REGISTRY_ACCOUNTS",
        "REGISTRY_ACCOUNTS_PATH",
        "REGISTRY_ACCOUNTS_ARN",
    )?;
    let secrets = secrets()?;
    Ok(place.map(|place| KeptSecret::new(place, secrets)))
}

/// `SECRETS_KEYS` (`id:key` pairs separated by commas; a key is base64 of 32 bytes): the keys that secrets in the database
/// are encrypted with. Without it, whatever needs a key fails.
pub fn encryption_keys() -> Result<EncryptionKeys, ConfigError> {
    let name = "SECRETS_KEYS";
    let keys = var(name)?.map(|list| EncryptionKeys::parse(&list));
    let keys = keys.transpose();
    keys.map(Option::unwrap_or_default)
        .map_err(|problem| ConfigError::new(name, problem))
}

/// `OLDER_APPLICATION` (`present` by default): whether the older application still reads agents' environments.
pub fn older_application() -> Result<OlderApplication, ConfigError> {
    let name = "OLDER_APPLICATION";
    let Some(word) = var(name)? else {
        return Ok(OlderApplication::Present);
    };
    OlderApplication::parse(&word).ok_or(ConfigError::new(name, "is not present or gone"))
}

/// `AGENT_HEALTH_SECONDS` (1 to 600, 120 by default): how long a started agent may take to become healthy.
pub fn agent_health_timeout() -> Result<Duration, ConfigError> {
    let name = "AGENT_HEALTH_SECONDS";
    let seconds = parsed(name, "is not a number of seconds")?.unwrap_or(120);
    if !(1..=600).contains(&seconds) {
        return Err(ConfigError::new(name, "must be 1 to 600"));
    }
    Ok(Duration::from_secs(seconds))
}

/// `DEFAULT_AGENT_IMAGE`: the image of agents that name none.
pub fn default_image() -> Result<String, ConfigError> {
    let name = "DEFAULT_AGENT_IMAGE";
    let default = var(name)?.unwrap_or_else(|| "milady/agent:cloud-full-ui".to_owned());
    if ImageReference::parse(&default).is_none() {
        return Err(ConfigError::new(name, "is not an image reference"));
    }
    Ok(default)
}

/// This product's, and the one that existing clients offer.
const DEFAULT_ALLOWED_IMAGES: [&str; 2] = ["milady/", "elizaos/agent:"];

/// The images that agents may run: `DEFAULT_AGENT_IMAGE`, and those that `AGENT_IMAGE_ALLOW` admits (separated by
/// commas, `milady/,elizaos/agent:` by default; [`Images::allowed`] says what an entry means).
pub fn images() -> Result<Images, ConfigError> {
    let name = "AGENT_IMAGE_ALLOW";
    let mut allowed = list(name)?;
    if allowed.is_empty() {
        allowed = DEFAULT_ALLOWED_IMAGES.map(str::to_owned).to_vec();
    }
    let is_entry = |entry: &String| {
        ImageReference::parse(entry.strip_suffix([':', '/']).unwrap_or(entry)).is_some()
    };
    if !allowed.iter().all(is_entry) {
        return Err(ConfigError::new(
            name,
            "has an entry that is no path of a registry",
        ));
    }
    Ok(Images {
        default: default_image()?,
        allowed,
    })
}

/// `RUNTIME_DATABASE_URL`: the `postgres://` address as which the functions log in.
pub(super) fn runtime_database_url() -> Result<PgConnectOptions, ConfigError> {
    database_url("RUNTIME_DATABASE_URL")
}

/// `RUNTIME_DATABASE_URL`, for creating the role that it names.
pub fn runtime_login() -> Result<RuntimeLogin, ConfigError> {
    let name = "RUNTIME_DATABASE_URL";
    let options = database_url(name)?;
    let url = Url::parse(&required(name)?);
    let url = url.map_err(|_| ConfigError::new(name, "is not a postgres:// address"))?;
    let password = url.password().map(|password| {
        let password = percent_decode_str(password).decode_utf8();
        password.map(Cow::into_owned)
    });
    let password = password.transpose();
    let limit = "DATABASE_CONNECTIONS";
    let max_connections = parsed(limit, "is not a number of connections")?;
    if max_connections.is_some_and(|connections: u32| !(5..=10_000).contains(&connections)) {
        return Err(ConfigError::new(limit, "must be 5 to 10000"));
    }
    Ok(RuntimeLogin {
        options,
        max_connections,
        password: password
            .map_err(|_| ConfigError::new(name, "has a password that is not UTF-8"))?,
    })
}

/// `OWNER_DATABASE_URL`: the `postgres://` address of the role that owns the tables. Only `db-migrate` has it.
pub(super) fn owner_database_url() -> Result<PgConnectOptions, ConfigError> {
    database_url("OWNER_DATABASE_URL")
}

fn database_url(name: &'static str) -> Result<PgConnectOptions, ConfigError> {
    database_options(name, &required(name)?)
}

/// The value of a setting that holds the address of a database.
pub(super) fn database_options(
    name: &'static str,
    url: &str,
) -> Result<PgConnectOptions, ConfigError> {
    let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let options = url
        .parse()
        .ok()
        .filter(|_| is_postgres)
        .ok_or(ConfigError::new(name, "is not a postgres:// address"))?;
    let bundle = var("DATABASE_CA_BUNDLE")?;
    verify_server(options, bundle.as_deref()).map_err(|problem| ConfigError::new(name, problem))
}

/// `STACK_NAME`: the dimension of the metrics. `None` if it is not set.
pub(super) fn stack_name() -> Option<String> {
    var("STACK_NAME").ok().flatten()
}

/// `LOG_LEVEL`: error, warn, info, debug or trace. `info` if it is not set or not valid.
pub(super) fn log_level() -> LevelFilter {
    parsed("LOG_LEVEL", "is not a level")
        .ok()
        .flatten()
        .unwrap_or(LevelFilter::INFO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_databases_are_on_a_server_or_at_neon() {
        let (server, key) = (Some("postgres://root@db.example/x"), Some("word"));
        for (server, neon, base, expected) in [
            (None, None, None, "Ok(NotConfigured)"),
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
                Some("postgres://root@db.example/x?sslmode=disable"),
                None,
                None,
                "Err(AGENT_DATABASE_ADMIN_URL allows a connection without TLS: set sslmode=verify-full)",
            ),
            (
                None,
                key,
                Some("http://db.example"),
                "Err(NEON_API_KEY is not a key, or NEON_BASE_URL is not an https address)",
            ),
        ] {
            let databases = agent_databases_of(server, neon, base);
            assert_eq!(format!("{databases:?}"), expected);
        }
    }
}
