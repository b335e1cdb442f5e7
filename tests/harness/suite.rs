//! The parts that all tests share: the Postgres server, the template database, the binaries. Owns
//! starting each of them once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use anyhow::Result;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use dev::dynamodb::DynamoDb;
use dev::postgres::{Options, Pooler, Server};
use dev::runtime::{Instance, RuntimeApi};
use dev::template::Template;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::privy;

/// The secret of the cron route.
pub const CRON_SECRET: &str = "test-cron-secret";
/// The key that signs session cookies.
pub const SESSION_SECRET: &str = "test-session-secret-of-32-bytes-at-least";
/// The keys that secrets in the database are encrypted with.
pub const SECRETS_KEYS: &str = "test:dGVzdC1rZXktb2YtMzItYnl0ZXMtZm9yLXNlY3JldHM=";
/// The origin that may call the API from a browser.
pub const ORIGIN: &str = "https://dashboard.example";
/// The audience of the identity provider's tokens.
pub const PRIVY_APP_ID: &str = "test-app";
/// Nothing listens here: publishing and caching fail unless a test configures another endpoint.
const UNREACHABLE: &str = "http://127.0.0.1:9";
/// The role that the functions log in as.
pub const RUNTIME_ROLE: &str = "cloud_runtime";
const TEMPLATE: &str = "template_migrated";

/// A test that waits for ever would otherwise end with the whole run, which would not say which one it was.
const TEST_TIMEOUT: Duration = Duration::from_mins(15);

/// One runtime for all tests: shared servers must outlive the test that started them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
static SERVER: OnceCell<Server> = OnceCell::const_new();
static POOLER: OnceCell<Pooler> = OnceCell::const_new();
static TEMPLATE_READY: OnceCell<()> = OnceCell::const_new();
static DYNAMODB: OnceCell<DynamoDb> = OnceCell::const_new();
static RUNTIME_API: OnceCell<RuntimeApi> = OnceCell::const_new();
static BINARIES: OnceLock<PathBuf> = OnceLock::new();
static SSH_KEY: OnceLock<String> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Runs a test on the shared runtime. Panics if it does not end in time.
pub fn run(test: impl Future<Output = ()>) {
    let test = async {
        let ended = timeout(TEST_TIMEOUT, test).await;
        assert!(ended.is_ok(), "the test has not ended in {TEST_TIMEOUT:?}");
    };
    run_benchmark(test);
}

/// Runs a benchmark on the shared runtime, however long it takes.
pub fn run_benchmark(benchmark: impl Future<Output = ()>) {
    RUNTIME.block_on(benchmark);
}

/// The start of a test's time: a full hour in the past.
#[must_use]
pub fn epoch() -> DateTime<Utc> {
    "2026-03-01T00:00:00Z".parse().expect("a time")
}

/// The settings of a Postgres server for tests.
#[must_use]
pub fn server_options(name: &str) -> Options {
    let dir = dev::build::target_directory()
        .expect("cargo metadata")
        .join("test-postgres");
    Options {
        dir: dir.join(format!("{name}-{}", std::process::id())),
        durable: false,
        keep: false,
    }
}

/// The shared Postgres server, and with `TEST_POOLER=1` the pooler in front of it.
pub async fn server() -> &'static Server {
    let server = SERVER
        .get_or_init(|| async {
            Server::start(server_options("shared"))
                .await
                .expect("Postgres")
        })
        .await;
    if std::env::var("TEST_POOLER").is_ok_and(|value| value == "1") {
        POOLER
            .get_or_init(|| async {
                Pooler::start(server, RUNTIME_ROLE, 8)
                    .await
                    .expect("PgBouncer")
            })
            .await;
    }
    server
}

/// The shared `DynamoDB` emulator.
pub async fn dynamodb() -> &'static DynamoDb {
    DYNAMODB
        .get_or_init(|| async { DynamoDb::start().await.expect("DynamoDB") })
        .await
}

/// Creates the table of the fleet snapshot under this name.
pub fn create_fleet_table(emulator: &DynamoDb, name: &str) {
    let template = Template::load().expect("template.yaml");
    let [table] = template.tables.as_slice() else {
        panic!("one table is expected: {:?}", template.tables);
    };
    emulator.create_table(table, name).expect("a table");
}

/// The directory of the function binaries, which are built on first use.
pub fn binaries() -> &'static PathBuf {
    BINARIES.get_or_init(|| dev::build::functions(false).expect("the functions build"))
}

/// Uses the binaries of this directory instead, for benchmarks. Panics unless it is called before
/// everything else.
pub fn use_binaries(directory: PathBuf) {
    BINARIES
        .set(directory)
        .expect("use_binaries is called before anything else");
}

/// The path of a private key that no host accepts. Tests with hosts set another one.
pub fn ssh_key() -> &'static str {
    SSH_KEY.get_or_init(|| {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("a key");
        let text = STANDARD.encode(pkcs8);
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        let target = dev::build::target_directory().expect("cargo metadata");
        let path = target.join("test-ssh-key");
        // Rename, because another test run may be reading the file.
        let temporary = target.join(format!("test-ssh-key-{}", std::process::id()));
        std::fs::write(&temporary, pem).expect("a file");
        std::fs::rename(&temporary, &path).expect("a file");
        path.to_str().expect("a path in UTF-8").to_owned()
    })
}

/// Creates an empty database and returns its name.
pub async fn empty_database() -> String {
    let name = format!("it_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    server()
        .await
        .create_database(&name, None)
        .await
        .expect("a database");
    name
}

/// Creates a database that `db-migrate` has migrated, with a clock that stands at [`epoch`], and
/// returns its name.
pub async fn database() -> String {
    TEMPLATE_READY.get_or_init(create_template).await;
    let name = format!("it_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    server()
        .await
        .create_database(&name, Some(TEMPLATE))
        .await
        .expect("a database");
    name
}

async fn create_template() {
    let server = server().await;
    server
        .create_database(TEMPLATE, None)
        .await
        .expect("the template");
    let url = server.url(TEMPLATE);
    Function::new("db-migrate", &url)
        .invoke_ok(serde_json::json!({}))
        .await;
    let pool = pool(&url, 1);
    // In a deployment they are the role's settings in its database, which a copy of the database does
    // not have.
    for (setting, value) in shared::db::settings::SETTINGS {
        let value = if setting == "search_path" {
            value.to_owned()
        } else {
            format!("'{value}'")
        };
        let sql = format!("ALTER ROLE {RUNTIME_ROLE} SET {setting} = {value}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&pool)
            .await
            .expect("a setting");
    }
    dev::clock::install(&pool, epoch()).await.expect("a clock");
    pool.close().await;
}

/// The URL of the same database for the role that the functions log in as. With `TEST_POOLER=1` it leads to the
/// shared server through a pooler in transaction mode.
#[must_use]
pub fn runtime_url(url: &str) -> String {
    let url = url.replacen(
        "postgres://postgres@",
        &format!("postgres://{RUNTIME_ROLE}@"),
        1,
    );
    match (SERVER.get(), POOLER.get()) {
        (Some(server), Some(pooler)) => url.replacen(
            &format!(":{}/", server.port()),
            &format!(":{}/", pooler.port()),
            1,
        ),
        _ => url,
    }
}

#[must_use]
pub fn pool(url: &str, connections: u32) -> PgPool {
    let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
    let options = options.options([("TimeZone", "UTC"), ("lock_timeout", "5s")]);
    PgPoolOptions::new()
        .max_connections(connections)
        .connect_lazy_with(options)
}

async fn runtime_api() -> &'static RuntimeApi {
    RUNTIME_API
        .get_or_init(|| async { RuntimeApi::start().await.expect("the runtime API") })
        .await
}

/// A function binary with its settings.
#[derive(Clone, Debug)]
pub struct Function(dev::runtime::Function);

impl Function {
    /// A function on the database at `url`, with the settings that all tests share.
    #[must_use]
    pub fn new(name: &str, url: &str) -> Self {
        // Agents' databases are on the shared server; their names contain the agents' ids and so
        // never collide.
        let agents = SERVER.get().map(|server| server.url("postgres"));
        let runtime_url = runtime_url(url);
        let settings = [
            ("RUNTIME_DATABASE_URL", runtime_url.as_str()),
            // Only `db-migrate` reads it, as in the template.
            (
                "OWNER_DATABASE_URL",
                if name == "db-migrate" { url } else { "" },
            ),
            ("CRON_SECRET", CRON_SECRET),
            ("LOG_LEVEL", "info"),
            ("SESSION_SECRET", SESSION_SECRET),
            ("SECRETS_KEYS", SECRETS_KEYS),
            ("ALLOWED_ORIGINS", ORIGIN),
            ("PRIVY_APP_ID", PRIVY_APP_ID),
            ("PRIVY_VERIFICATION_KEY", privy::public_pem()),
            ("AGENT_BASE_DOMAIN", "agents.example"),
            ("EVENT_BUS", "local-events"),
            ("AWS_ENDPOINT_URL_EVENTBRIDGE", UNREACHABLE),
            ("FLEET_TABLE", "nowhere"),
            ("AWS_ENDPOINT_URL_DYNAMODB", UNREACHABLE),
            ("AGENT_DATABASE_ADMIN_URL", agents.as_deref().unwrap_or("")),
            ("ALLOW_SHARED_DATABASE_SERVER", "true"),
            ("MILADY_SSH_KEY_PATH", ssh_key()),
            ("ALLOW_PRIVATE_NODES", "true"),
            ("MAIL_FROM", "Milady Cloud <mails@cloud.example>"),
            ("APP_URL", "https://app.example"),
            ("SMTP_URL", "smtp://127.0.0.1:9"),
        ];
        Self(dev::runtime::Function {
            name: name.to_owned(),
            binary: binaries().join(name),
            env: settings
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        })
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.0.env.insert(key.to_owned(), value.to_owned());
        self
    }

    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.0.env.remove(key);
        self
    }

    /// Takes the binary from another directory.
    #[must_use]
    pub fn from_directory(mut self, directory: &std::path::Path) -> Self {
        self.0.binary = directory.join(&self.0.name);
        self
    }

    /// The function in the form that a [`dev::runtime::Pool`] takes.
    #[must_use]
    pub fn to_runtime_function(&self) -> dev::runtime::Function {
        self.0.clone()
    }

    pub async fn start(&self) -> Instance {
        self.try_start().await.expect("the binary starts")
    }

    /// Starts an instance whose process first runs a shell script, which its start does not count.
    pub async fn start_after(&self, preparation: &str) -> Instance {
        let api = runtime_api().await;
        let started = api.spawn_after(preparation, self.0.clone()).await;
        started.expect("the binary starts")
    }

    async fn try_start(&self) -> Result<Instance> {
        runtime_api().await.spawn(self.0.clone())
    }

    /// Starts an instance and invokes it once.
    pub async fn invoke(&self, event: serde_json::Value) -> dev::runtime::Outcome {
        self.start()
            .await
            .invoke(event, std::time::Duration::from_mins(1))
            .await
    }

    /// Invokes a new instance and panics unless it succeeds.
    pub async fn invoke_ok(&self, event: serde_json::Value) -> serde_json::Value {
        match self.invoke(event).await {
            dev::runtime::Outcome::Success(answer) => answer,
            other => panic!("{} failed: {other:?}", self.0.name),
        }
    }

    /// Invokes a new instance and returns its error; panics unless there is one.
    pub async fn invoke_error(&self, event: serde_json::Value) -> String {
        match self.invoke(event).await {
            dev::runtime::Outcome::FunctionError { message, .. } => message,
            other => panic!("{} did not fail: {other:?}", self.0.name),
        }
    }

    /// Sends an HTTP request through `route` to a new instance.
    pub async fn http(&self, route: &str, request: Request) -> Response {
        let instance = self.start().await;
        Self::http_on(&instance, route, &BTreeMap::new(), &request).await
    }

    /// Sends an HTTP request to this instance, with path parameters.
    pub async fn http_on(
        instance: &Instance,
        route: &str,
        parameters: &BTreeMap<String, String>,
        request: &Request,
    ) -> Response {
        let event = dev::gateway::event::build(&request.0, route, parameters);
        match instance
            .invoke(event, std::time::Duration::from_secs(29))
            .await
        {
            dev::runtime::Outcome::Success(answer) => Response(answer),
            other => panic!("{route} failed: {other:?}"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Request(pub(crate) dev::gateway::event::Request);

impl Request {
    /// `target` is the path, optionally with a query.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self(dev::gateway::event::Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            source_ip: "127.0.0.1".to_owned(),
            headers: vec![("host".to_owned(), "api.example".to_owned())],
            ..Default::default()
        })
    }

    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header("x-api-key", key)
    }

    #[must_use]
    pub fn json(self, body: &serde_json::Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = body.into();
        self
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.0.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// The event-format answer of a function to an HTTP request.
#[derive(Clone, Debug)]
pub struct Response(pub serde_json::Value);

impl Response {
    #[must_use]
    pub fn status(&self) -> u64 {
        self.0["statusCode"].as_u64().unwrap_or_default()
    }

    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let cookie = || {
            self.0["cookies"][0]
                .as_str()
                .filter(|_| name == "set-cookie")
        };
        self.0["headers"][name]
            .as_str()
            .or_else(|| self.0["multiValueHeaders"][name][0].as_str())
            .or_else(cookie)
    }

    #[must_use]
    pub fn text(&self) -> &str {
        self.0["body"].as_str().unwrap_or_default()
    }

    /// The body as JSON; null if it is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.text()).unwrap_or_default()
    }
}
