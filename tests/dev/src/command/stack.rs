//! Everything `cargo dev` starts, in order.

use std::env;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;

use super::fleet;
use super::host::{self, Host, NoHost};
use super::options::Options;
use super::seed::{self, DEMOS};
use crate::dynamodb::DynamoDb;
use crate::events::EventBus;
use crate::gateway::{Gateway, describe};
use crate::host::image;
use crate::postgres::{self, Server};
use crate::runtime::{Function, Outcome, Pool, RuntimeApi};
use crate::sim::Sim;
use crate::template::{self, Template};
use crate::{build, clock};

pub(crate) const CRON_SECRET: &str = "dev-cron-secret";
const SESSION_SECRET: &str = "a secret of this machine only, of no worth";
const AGENT_BASE_DOMAIN: &str = "agents.localhost";
const FIRST_PORT: u16 = 8787;

/// The running stack; dropping it stops everything, the server last.
pub(crate) struct Stack {
    gateway: Gateway,
    pub(super) functions: Pool,
    _bus: EventBus,
    _cache: DynamoDb,
    pub(super) template: Template,
    pub(crate) database: PgPool,
    /// The address of the database, for other tools.
    url: String,
    /// The simulated hour it starts in; none in real time.
    pub(super) start_of_time: Option<DateTime<Utc>>,
    host: Result<Host, NoHost>,
    /// None where none are wanted.
    sim: Option<Sim>,
    _server: Server,
}

impl Stack {
    /// Starts it with the data in `place`, and the host at the same time.
    pub(crate) async fn start(
        options: &Options,
        place: postgres::Options,
        webhooks: Webhooks,
        template: Template,
        listener: TcpListener,
    ) -> Result<Self> {
        let dir = place.dir.clone();
        let host = Box::pin(async { Ok(host::start(options, &dir).await) });
        let others = Self::start_others(options, place, webhooks, template, listener);
        let others = Box::pin(others);
        let (host, mut stack) = tokio::try_join!(host, others)?;
        host::register(&stack.database, &host).await?;
        stack.host = host;
        let key = host::key(&std::path::absolute(&dir)?);
        stack.sim = fleet::start(options, &key, &stack.database).await?;
        Ok(stack)
    }

    async fn start_others(
        options: &Options,
        place: postgres::Options,
        webhooks: Webhooks,
        template: Template,
        listener: TcpListener,
    ) -> Result<Self> {
        let ssh_key = host::key(&std::path::absolute(&place.dir)?);
        let binaries = build_functions(options.release).await?;
        let server = start_postgres(place).await?;
        // Simulated time runs ahead of the clock, so it never shares a database with real time.
        let name = match options.time_lapse {
            Some(_) => "milady_time_lapse",
            None => "milady",
        };
        if options.time_lapse.is_some() {
            server.drop_database(name).await?;
        }
        if !server.has_database(name).await? {
            server.create_database(name, None).await?;
        }
        let url = server.url(name);
        let bus = EventBus::start(&template).await?;
        let cache = DynamoDb::start().await?;
        for table in &template.tables {
            cache.create_table(table, &table.name)?;
        }
        let around = Surroundings {
            binaries: &binaries,
            url: &url,
            admin_url: &server.url("postgres"),
            ssh_key: ssh_key.to_str().context("the path of the SSH key")?,
            bus: &bus.address(),
            cache: &cache.address(),
            webhooks,
            simulated: fleet::is_wanted(options),
        };
        let functions = template
            .functions
            .iter()
            .map(|function| local(function, &around))
            .collect::<Result<_>>()?;
        let functions = Pool::new(RuntimeApi::start_forwarding_logs().await?, functions);
        bus.deliver_to(functions.clone());
        migrate(&functions, &template).await?;
        let database = PgPoolOptions::new()
            .max_connections(2)
            .connect(&url)
            .await
            .context("cannot connect to the new database")?;
        let start_of_time = match options.time_lapse {
            Some(_) => Some(Utc::now().duration_trunc(TimeDelta::hours(1))?),
            None => None,
        };
        if let Some(at) = start_of_time {
            clock::install(&database, at).await?;
        }
        if seed::seed(&database).await? {
            println!("Seeded {} demo organizations.", DEMOS.len());
        } else {
            println!("The demo organizations are there from an earlier run.");
        }
        Ok(Self {
            gateway: Gateway::start(listener, template.clone(), functions.clone())?,
            functions,
            _bus: bus,
            _cache: cache,
            template,
            database,
            url,
            start_of_time,
            host: Err("it is not started yet.".to_owned()),
            sim: None,
            _server: server,
        })
    }

    /// The address of the API.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.gateway.address())
    }

    /// The description of the API, as its function gives it.
    pub(crate) async fn description(&self) -> Result<String> {
        let event = std::fs::read(build::workspace().join("events/openapi.json"))?;
        let event = serde_json::from_slice(&event)?;
        let timeout = Duration::from_secs(29);
        match self.functions.invoke("openapi", event, timeout).await {
            Ok(Outcome::Success(answer)) => answer["body"].as_str().map(str::to_owned),
            failed => bail!("the API does not describe itself: {}", describe(failed)),
        }
        .context("the description of the API has no body")
    }

    /// Prints where it is and what to try.
    pub(super) fn announce(&self) {
        let base = self.base();
        println!("\nThe API is at {base}, the database at {}", self.url);
        println!("  described in {base}/api/openapi.json");
        println!("{}", host::line(&self.host));
        if let Some(line) = fleet::line(self.sim.as_ref()) {
            println!("{line}");
        }
        for demo in &DEMOS {
            println!("  key of {:<13} {}", demo.name, demo.key());
        }
        let key = DEMOS[0].key();
        println!("Try");
        for path in ["milady/agents", "credits/balance", "credits/transactions"] {
            println!("  curl -H 'X-API-Key: {key}' {base}/api/v1/{path}");
        }
        println!(
            "  curl -X POST -H 'Authorization: Bearer {CRON_SECRET}' {base}/api/cron/milady-billing\n"
        );
    }
}

/// The port that was asked for, or the first free one from the usual one on.
pub(crate) async fn listen(port: Option<u16>) -> Result<TcpListener> {
    let (first, last) = match port {
        Some(port) => (port, port),
        None => (FIRST_PORT, FIRST_PORT + 100),
    };
    for port in first..=last {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error).with_context(|| format!("cannot listen on {port}")),
        }
    }
    match port {
        Some(port) => bail!("port {port} is in use: leave --port out to take a free one"),
        None => bail!("the ports {first} to {last} are all in use: choose one with --port"),
    }
}

async fn build_functions(release: bool) -> Result<std::path::PathBuf> {
    let profile = if release { "release" } else { "debug" };
    println!("Building the functions ({profile}; the first time takes minutes) ...");
    let started = Instant::now();
    let binaries = build::functions_with_progress(release).await?;
    println!("Built in {:.1} s.", started.elapsed().as_secs_f64());
    Ok(binaries)
}

async fn start_postgres(place: postgres::Options) -> Result<Server> {
    println!("Starting Postgres ...");
    let started = Instant::now();
    let server = Server::start(place).await?;
    println!(
        "Postgres is on port {} after {:.1} s.",
        server.port(),
        started.elapsed().as_secs_f64()
    );
    Ok(server)
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
        failed => bail!("migrating failed: {}", describe(failed)),
    }
    Ok(())
}

/// Where webhooks may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Webhooks {
    /// To this machine and its network too: what a machine of one's own is for.
    Anywhere,
    /// To public addresses only.
    AsDeployed,
}

/// What functions are told about the stack they run in.
struct Surroundings<'a> {
    binaries: &'a Path,
    url: &'a str,
    /// The superuser's way in, below which agents get databases of their own.
    admin_url: &'a str,
    /// The file of the key that hosts let in.
    ssh_key: &'a str,
    bus: &'a str,
    cache: &'a str,
    webhooks: Webhooks,
    /// Whether there are simulated hosts.
    simulated: bool,
}

/// A function of the template with the settings it declares there, secrets replaced by local values.
fn local(function: &template::Function, around: &Surroundings) -> Result<Function> {
    let mut env = function.env.clone();
    for name in &function.secrets {
        let value = match name.as_str() {
            "DATABASE_URL" => around.url,
            "CRON_SECRET" => CRON_SECRET,
            "SESSION_SECRET" => SESSION_SECRET,
            "AGENT_DATABASE_ADMIN_URL" => around.admin_url,
            // The agents' databases are made on our own server.
            "NEON_API_KEY" => continue,
            _ => bail!("{} of {} has no local value", name, function.name),
        };
        env.insert(name.clone(), value.to_owned());
    }
    for (setting, endpoint, address) in [
        ("EVENT_BUS", "AWS_ENDPOINT_URL_EVENTBRIDGE", around.bus),
        ("FLEET_TABLE", "AWS_ENDPOINT_URL_DYNAMODB", around.cache),
    ] {
        if env.contains_key(setting) {
            env.insert(endpoint.to_owned(), address.to_owned());
        }
    }
    let private_webhooks = match around.webhooks {
        Webhooks::Anywhere => "true",
        Webhooks::AsDeployed => "false",
    };
    for (name, value) in [
        ("AGENT_BASE_DOMAIN", AGENT_BASE_DOMAIN),
        ("ALLOW_PRIVATE_WEBHOOKS", private_webhooks),
    ] {
        if let Some(setting) = env.get_mut(name) {
            value.clone_into(setting);
        }
    }
    // The key comes as a file.
    env.remove("MILADY_SSH_KEY_ARN");
    // Each function reads its own of these.
    for (name, value) in [
        ("MILADY_SSH_KEY_PATH", around.ssh_key),
        ("ALLOW_PRIVATE_NODES", "true"),
        ("DEFAULT_AGENT_IMAGE", image::SAMPLE),
        ("AGENT_IMAGE_ALLOW", "milady/"),
        ("AGENT_DATABASE_ADMIN_URL", around.admin_url),
    ] {
        env.insert(name.to_owned(), value.to_owned());
    }
    // One line per invocation would drown the ticks, as would each minute's word on every simulated host
    // that is out of order; whoever wants it says so.
    let calm = around.simulated && function.name == "fleet-refresh";
    let usual = if calm { "error" } else { "warn" };
    let level = env::var("LOG_LEVEL").unwrap_or_else(|_| usual.to_owned());
    env.insert("LOG_LEVEL".to_owned(), level);
    let memory = function.memory_mib.to_string();
    env.insert("AWS_LAMBDA_FUNCTION_MEMORY_SIZE".to_owned(), memory);
    Ok(Function {
        name: function.name.clone(),
        binary: around.binaries.join(&function.name),
        env,
    })
}
