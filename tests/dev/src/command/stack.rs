//! Starts the parts of the local stack in the right order.

use std::env;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::host::{self, Host, NoHost};
use super::migration_set::is_of_another_set;
use super::options::Options;
use super::seed::{self, DEMOS};
use super::settings_file;
use super::simulated_hosts;
use crate::dynamodb::DynamoDb;
use crate::events::EventBus;
use crate::gateway::{Gateway, describe};
use crate::host::image;
use crate::mailbox::Mailbox;
use crate::postgres::{self, Pooler, Server};
use crate::runtime::{Function, Outcome, Pool, RuntimeApi};
use crate::sim::Sim;
use crate::template::{self, Edge, Template};
use crate::{build, clock, web};

pub(crate) const CRON_SECRET: &str = "dev-cron-secret";
const SESSION_SECRET: &str = "a secret of this machine only, of no worth";
/// Base64 of "a-key-of-32-bytes-of-no-worth-at".
const SECRETS_KEYS: &str = "local:YS1rZXktb2YtMzItYnl0ZXMtb2Ytbm8td29ydGgtYXQ=";
const AGENT_BASE_DOMAIN: &str = "agents.localhost";
/// The role that the functions log in as.
const RUNTIME_ROLE: &str = "cloud_runtime";
/// Behind the pooler.
const POOLED_SESSIONS: u32 = 4;
/// Raised like the demo keys' own limit, and in the same proportion to it as the defaults.
const EDGE_PARAMETERS: [(&str, i32); 2] = [
    ("RequestsPerKey", 2 * seed::REQUESTS_PER_MINUTE),
    ("RequestsPerAddress", 6 * seed::REQUESTS_PER_MINUTE),
];
const DEFAULT_PORT: u16 = 8787;
const PORTS_TO_TRY: u16 = 100;

/// The running stack. Dropping it stops everything; fields drop in order, so the database server
/// goes last.
pub(crate) struct Stack {
    gateway: Gateway,
    pub(super) functions: Pool,
    bus: EventBus,
    _cache: DynamoDb,
    /// Gets every mail that the functions send.
    pub(super) mailbox: Mailbox,
    pub(super) template: Template,
    pub(crate) database: PgPool,
    /// The URL of the database, for other tools.
    url: String,
    /// The functions' settings, for `cargo lambda watch`.
    settings_file: PathBuf,
    /// The simulated hour in which it starts; `None` in real time.
    pub(super) start_of_time: Option<DateTime<Utc>>,
    pub(super) host: Result<Host, NoHost>,
    /// `None` if simulated hosts are disabled.
    sim: Option<Sim>,
    /// Ends before the server.
    _pooler: Option<Pooler>,
    _server: Server,
}

impl Stack {
    /// Starts the stack and, at the same time, the host.
    pub(crate) async fn start(
        options: &Options,
        postgres_options: postgres::Options,
        webhooks: Webhooks,
        template: Template,
        listener: TcpListener,
    ) -> Result<Self> {
        let dir = postgres_options.dir.clone();
        let host = Box::pin(async { Ok(host::start(options, &dir).await) });
        let stack =
            Self::start_without_hosts(options, postgres_options, webhooks, template, listener);
        let stack = Box::pin(stack);
        let (host, mut stack) = tokio::try_join!(host, stack)?;
        host::register(&stack.database, &host).await?;
        stack.host = host;
        let key = host::key_file(&std::path::absolute(&dir)?);
        stack.sim = simulated_hosts::start(options, &key, &stack.database).await?;
        Ok(stack)
    }

    async fn start_without_hosts(
        options: &Options,
        postgres_options: postgres::Options,
        webhooks: Webhooks,
        mut template: Template,
        listener: TcpListener,
    ) -> Result<Self> {
        template.edge = Edge::load(&EDGE_PARAMETERS)?;
        let dir = std::path::absolute(&postgres_options.dir)?;
        let ssh_key = host::key_file(&dir);
        if !options.no_dashboard {
            web::build().await;
        }
        let binaries = build_functions(options.release).await?;
        let server = start_postgres(postgres_options).await?;
        let name = prepare_database(&server, options).await?;
        let url = server.url(name);
        let bus = EventBus::start(&template).await?;
        let cache = DynamoDb::start().await?;
        for table in &template.tables {
            cache.create_table(table, &table.name)?;
        }
        let pooler = if options.pooler {
            Some(Pooler::start(&server, RUNTIME_ROLE, POOLED_SESSIONS).await?)
        } else {
            None
        };
        let runtime_url = match &pooler {
            Some(pooler) => pooler.url_of(RUNTIME_ROLE, name),
            None => server.url_of(RUNTIME_ROLE, name),
        };
        let port = listener.local_addr()?.port();
        let mailbox = Mailbox::start().await?;
        let environment = StackEnvironment {
            binaries: &binaries,
            origins: &format!("http://127.0.0.1:{port},http://localhost:{port}"),
            owner_url: &url,
            runtime_url: &runtime_url,
            admin_url: &server.url("postgres"),
            ssh_key: ssh_key.to_str().context("the path of the SSH key")?,
            bus: &bus.address(),
            cache: &cache.address(),
            smtp_url: &mailbox.url(),
            app_url: &format!("http://127.0.0.1:{port}"),
            webhooks,
            has_simulated_hosts: simulated_hosts::is_enabled(options),
        };
        let functions = template
            .functions
            .iter()
            .map(|function| with_local_settings(function, &environment))
            .collect::<Result<Vec<Function>>>()?;
        let settings_file = settings_file::write(&dir, &functions)?;
        let functions = Pool::new(RuntimeApi::start_forwarding_logs().await?, functions);
        bus.deliver_to(functions.clone());
        migrate(&functions, &template).await?;
        let database = PgPoolOptions::new()
            .max_connections(2)
            .connect(&url)
            .await
            .context("cannot connect to the stack's database")?;
        let start_of_time = match options.time_lapse {
            Some(_) => Some(Utc::now().duration_trunc(TimeDelta::hours(1))?),
            None => None,
        };
        if let Some(at) = start_of_time {
            clock::install(&database, at).await?;
        }
        seed_database(&database).await?;
        let gateway = Gateway::start(listener, template.clone(), functions.clone())?;
        if let Some(at) = start_of_time {
            gateway.set_time(at);
        }
        gateway.show_mails(mailbox.clone());
        Ok(Self {
            gateway,
            functions,
            bus,
            _cache: cache,
            mailbox,
            template,
            database,
            url,
            settings_file,
            start_of_time,
            host: Err("it has not started yet.".to_owned()),
            sim: None,
            _pooler: pooler,
            _server: server,
        })
    }

    /// Moves simulated time.
    pub(super) async fn set_time(&self, at: DateTime<Utc>) -> Result<()> {
        clock::set(&self.database, at).await?;
        self.gateway.set_time(at);
        Ok(())
    }

    /// Waits, for a limited time, until the events that were published are delivered. A job is worked on as long as the
    /// delivery of its event lasts.
    pub(super) async fn finish_deliveries(&self, limit: Duration) {
        let _ = timeout(limit, self.bus.wait_until_idle()).await;
    }

    /// The base URL of the API.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.gateway.address())
    }

    /// The `OpenAPI` description, as the function `openapi` returns it.
    pub(crate) async fn description(&self) -> Result<String> {
        let event = std::fs::read(build::workspace().join("events/openapi.json"))?;
        let event = serde_json::from_slice(&event)?;
        let timeout = Duration::from_secs(29);
        match self.functions.invoke("openapi", event, timeout).await {
            Ok(Outcome::Success(answer)) => answer["body"].as_str().map(str::to_owned),
            failed => bail!(
                "the function openapi returned no description: {}",
                describe(failed)
            ),
        }
        .context("the function openapi answered without a body")
    }

    /// Prints the addresses, the demo keys and commands to try.
    pub(super) fn announce(&self) {
        let base_url = self.base_url();
        println!("\nThe dashboard is at {base_url}/ (sign in with a key below)");
        println!("The API is at {base_url}/api/v1, described at {base_url}/api/openapi.json");
        println!("The mails to owners are at {base_url}/dev/mails");
        println!("The database is at {}", self.url);
        println!(
            "The functions' settings are in {}",
            self.settings_file.display()
        );
        println!("{}", host::summary(&self.host));
        if let Some(line) = simulated_hosts::summary(self.sim.as_ref()) {
            println!("{line}");
        }
        for demo in &DEMOS {
            println!("  key of {:<13} {}", demo.name, demo.key());
        }
        let key = DEMOS[0].key();
        println!("Try");
        for path in ["milady/agents", "credits/balance", "credits/transactions"] {
            println!("  curl -H 'X-API-Key: {key}' {base_url}/api/v1/{path}");
        }
        println!(
            "  curl -X POST -H 'Authorization: Bearer {CRON_SECRET}' {base_url}/api/cron/milady-billing\n"
        );
    }
}

/// Listens on the requested port, or on the first free one from the default port on.
pub(crate) async fn listen(port: Option<u16>) -> Result<TcpListener> {
    let (first, last) = match port {
        Some(port) => (port, port),
        None => (DEFAULT_PORT, DEFAULT_PORT + PORTS_TO_TRY),
    };
    for port in first..=last {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error).with_context(|| format!("cannot listen on {port}")),
        }
    }
    match port {
        Some(port) => bail!("port {port} is in use; leave out --port to use a free one"),
        None => bail!("all ports from {first} to {last} are in use; choose one with --port"),
    }
}

async fn build_functions(release: bool) -> Result<PathBuf> {
    let profile = if release { "release" } else { "debug" };
    println!("Building the functions ({profile}; the first build takes minutes) ...");
    let started = Instant::now();
    let binaries = build::functions_with_progress(release).await?;
    println!("Built in {:.1} s.", started.elapsed().as_secs_f64());
    Ok(binaries)
}

async fn start_postgres(postgres_options: postgres::Options) -> Result<Server> {
    println!("Starting Postgres ...");
    let started = Instant::now();
    let server = Server::start(postgres_options).await?;
    println!(
        "Postgres listens on port {} after {:.1} s.",
        server.port(),
        started.elapsed().as_secs_f64()
    );
    Ok(server)
}

/// Creates the database unless it exists and returns its name.
async fn prepare_database(server: &Server, options: &Options) -> Result<&'static str> {
    // Simulated time runs ahead of the clock, so it gets a database of its own.
    let name = match options.time_lapse {
        Some(_) => "milady_time_lapse",
        None => "milady",
    };
    if options.time_lapse.is_some() {
        server.drop_database(name).await?;
    } else if server.has_database(name).await? && is_of_another_set(&server.url(name)).await? {
        println!(
            "The data of an earlier version of the tables cannot be carried over; starting over."
        );
        server.drop_database(name).await?;
    }
    if !server.has_database(name).await? {
        server.create_database(name, None).await?;
    }
    Ok(name)
}

async fn seed_database(database: &PgPool) -> Result<()> {
    if seed::seed(database).await? {
        println!("Seeded {} demo organizations.", DEMOS.len());
    } else {
        println!("The demo organizations exist from an earlier run.");
    }
    Ok(())
}

async fn migrate(functions: &Pool, template: &Template) -> Result<()> {
    const MIGRATE: &str = "db-migrate";
    println!("Migrating ...");
    let timeout = template
        .function(MIGRATE)
        .context("template.yaml has no function db-migrate")?
        .timeout;
    match functions.invoke(MIGRATE, json!({}), timeout).await {
        Ok(Outcome::Success(answer)) => println!("Migrated: {answer}"),
        failed => bail!("the migrations failed: {}", describe(failed)),
    }
    Ok(())
}

/// The addresses that webhooks may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Webhooks {
    /// Any address, including this machine and its network.
    Anywhere,
    /// Public addresses only, as in a deployment.
    AsDeployed,
}

/// What the functions' settings refer to.
struct StackEnvironment<'a> {
    binaries: &'a Path,
    /// The origins of the dashboard.
    origins: &'a str,
    owner_url: &'a str,
    runtime_url: &'a str,
    /// The superuser's URL, with which the agents' own databases are created.
    admin_url: &'a str,
    /// The file of the private key that hosts accept.
    ssh_key: &'a str,
    bus: &'a str,
    cache: &'a str,
    /// The mailbox.
    smtp_url: &'a str,
    /// Where mails link to.
    app_url: &'a str,
    webhooks: Webhooks,
    has_simulated_hosts: bool,
}

/// A function with the settings of the template and local values for those that Secrets Manager keeps.
fn with_local_settings(
    function: &template::Function,
    environment: &StackEnvironment,
) -> Result<Function> {
    let mut env = function.env.clone();
    // The local stack passes the settings themselves.
    let stored = env.extract_if(.., |name, _| name.ends_with("_ARN"));
    let mut stored: Vec<String> = stored.map(|(name, _)| name).collect();
    stored.extend(function.secrets.iter().cloned());
    for name in stored {
        let name = name.strip_suffix("_ARN").unwrap_or(&name);
        if let Some(value) = local_secret(name, function, environment)? {
            env.insert(name.to_owned(), value.to_owned());
        }
    }
    for (setting, endpoint, address) in [
        ("EVENT_BUS", "AWS_ENDPOINT_URL_EVENTBRIDGE", environment.bus),
        (
            "FLEET_TABLE",
            "AWS_ENDPOINT_URL_DYNAMODB",
            environment.cache,
        ),
    ] {
        if env.contains_key(setting) {
            env.insert(endpoint.to_owned(), address.to_owned());
        }
    }
    let private_webhooks = match environment.webhooks {
        Webhooks::Anywhere => "true",
        Webhooks::AsDeployed => "false",
    };
    for (name, value) in [
        ("AGENT_BASE_DOMAIN", AGENT_BASE_DOMAIN),
        ("ALLOW_PRIVATE_WEBHOOKS", private_webhooks),
        ("APP_URL", environment.app_url),
    ] {
        if let Some(setting) = env.get_mut(name) {
            value.clone_into(setting);
        }
    }
    // Set for every function; each reads only those it needs.
    for (name, value) in [
        ("ALLOWED_ORIGINS", environment.origins),
        ("MILADY_SSH_KEY_PATH", environment.ssh_key),
        ("ALLOW_PRIVATE_NODES", "true"),
        ("DEFAULT_AGENT_IMAGE", image::SAMPLE),
        ("AGENT_IMAGE_ALLOW", "milady/"),
        ("AGENT_DATABASE_ADMIN_URL", environment.admin_url),
        ("ALLOW_SHARED_DATABASE_SERVER", "true"),
    ] {
        env.insert(name.to_owned(), value.to_owned());
    }
    // One line per invocation would hide the billing runs in the output, and so would a warning per run
    // about every faulty simulated host. LOG_LEVEL overrides both.
    let visits_hosts = ["fleet-refresh", "host-upkeep"].contains(&function.name.as_str());
    let warns_always = environment.has_simulated_hosts && visits_hosts;
    let default_level = if warns_always { "error" } else { "warn" };
    let level = env::var("LOG_LEVEL").unwrap_or_else(|_| default_level.to_owned());
    env.insert("LOG_LEVEL".to_owned(), level);
    let memory = function.memory_mib.to_string();
    env.insert("AWS_LAMBDA_FUNCTION_MEMORY_SIZE".to_owned(), memory);
    Ok(Function {
        name: function.name.clone(),
        binary: environment.binaries.join(&function.name),
        env,
    })
}

/// The local value of a secret; `None` if the local stack leaves it unset.
fn local_secret<'a>(
    name: &str,
    function: &template::Function,
    environment: &StackEnvironment<'a>,
) -> Result<Option<&'a str>> {
    Ok(Some(match name {
        "OWNER_DATABASE_URL" => environment.owner_url,
        "RUNTIME_DATABASE_URL" => environment.runtime_url,
        "CRON_SECRET" => CRON_SECRET,
        "SESSION_SECRET" => SESSION_SECRET,
        "SECRETS_KEYS" => SECRETS_KEYS,
        "SMTP_URL" => environment.smtp_url,
        "AGENT_DATABASE_ADMIN_URL" => environment.admin_url,
        // The key is in a file. Agents' databases are created on the local Postgres server, not at Neon. There is neither
        // an account at a registry nor a private network, and nothing stands in front of the API.
        "MILADY_SSH_KEY"
        | "NEON_API_KEY"
        | "REGISTRY_ACCOUNTS"
        | "HEADSCALE_API_KEY"
        | "ORIGIN_SECRET"
        | "ORIGIN_SECRET_OTHER" => {
            return Ok(None);
        }
        _ => bail!("the secret {name} of {} has no local value", function.name),
    }))
}
