//! What the tests share: the server, the template database, the binaries. Owns: starting them once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, OnceLock};

use anyhow::Result;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use dev::dynamodb::DynamoDb;
use dev::postgres::{Options, Server};
use dev::runtime::{Instance, RuntimeApi};
use dev::template::Template;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::privy;

/// The secret of the cron route in tests.
pub const CRON_SECRET: &str = "test-cron-secret";
/// What session cookies are signed with in tests.
pub const SESSION_SECRET: &str = "test-session-secret-of-32-bytes-at-least";
/// The origin that browsers may call from in tests.
pub const ORIGIN: &str = "https://dashboard.example";
/// What the identity provider's tokens are meant for in tests.
pub const PRIVY_APP_ID: &str = "test-app";
/// Nobody listens there: events are not taken, and nothing is cached, unless a test says otherwise.
const NOWHERE: &str = "http://127.0.0.1:9";
const TEMPLATE: &str = "template_migrated";

/// One runtime for all tests: what is started once must outlive the test that started it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
static SERVER: OnceCell<Server> = OnceCell::const_new();
static TEMPLATE_READY: OnceCell<()> = OnceCell::const_new();
static DYNAMODB: OnceCell<DynamoDb> = OnceCell::const_new();
static RUNTIME_API: OnceCell<RuntimeApi> = OnceCell::const_new();
static BINARIES: OnceLock<PathBuf> = OnceLock::new();
static SSH_KEY: OnceLock<String> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Runs a test on the shared runtime.
pub fn run(test: impl Future<Output = ()>) {
    RUNTIME.block_on(test);
}

/// Where a test's time begins: a full hour in the past.
#[must_use]
pub fn epoch() -> DateTime<Utc> {
    "2026-03-01T00:00:00Z".parse().expect("a time")
}

/// Settings of a server that serves tests.
#[must_use]
pub fn options(name: &str) -> Options {
    let dir = dev::build::target_directory()
        .expect("cargo metadata")
        .join("test-postgres");
    Options {
        dir: dir.join(format!("{name}-{}", std::process::id())),
        durable: false,
        keep: false,
    }
}

/// The shared server.
pub async fn server() -> &'static Server {
    SERVER
        .get_or_init(|| async { Server::start(options("shared")).await.expect("Postgres") })
        .await
}

/// The shared emulator of `DynamoDB`.
pub async fn dynamodb() -> &'static DynamoDb {
    DYNAMODB
        .get_or_init(|| async { DynamoDb::start().await.expect("DynamoDB") })
        .await
}

/// The table of the fleet's snapshot, made in an emulator under this name.
pub fn fleet_table(at: &DynamoDb, name: &str) {
    let template = Template::load().expect("template.yaml");
    let [table] = template.tables.as_slice() else {
        panic!("one table is expected: {:?}", template.tables);
    };
    at.create_table(table, name).expect("a table");
}

/// The directory of the function binaries, built if they are not.
pub fn binaries() -> &'static PathBuf {
    BINARIES.get_or_init(|| dev::build::functions(false).expect("the functions build"))
}

/// Takes the binaries from this directory instead: for benchmarks, before anything else.
///
/// # Panics
/// When they were taken from elsewhere before.
pub fn use_binaries(directory: PathBuf) {
    BINARIES.set(directory).expect("nothing is started yet");
}

/// The path of a key that opens no host, made for this run. A test that has a host sets its own.
pub fn ssh_key() -> &'static str {
    SSH_KEY.get_or_init(|| {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("a key");
        let text = STANDARD.encode(pkcs8);
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        let target = dev::build::target_directory().expect("cargo metadata");
        let path = target.join("test-ssh-key");
        // Another run may read it at this moment.
        let fresh = target.join(format!("test-ssh-key-{}", std::process::id()));
        std::fs::write(&fresh, pem).expect("a file");
        std::fs::rename(&fresh, &path).expect("a file");
        path.to_str().expect("a path in UTF-8").to_owned()
    })
}

/// A database of its own, empty.
pub async fn empty_database() -> String {
    let name = format!("it_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    server()
        .await
        .create_database(&name, None)
        .await
        .expect("a database");
    name
}

/// A database of its own, migrated by the real function, with a clock that stands at [`epoch`].
pub async fn database() -> String {
    TEMPLATE_READY.get_or_init(make_template).await;
    let name = format!("it_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    server()
        .await
        .create_database(&name, Some(TEMPLATE))
        .await
        .expect("a database");
    name
}

async fn make_template() {
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
    dev::clock::install(&pool, epoch()).await.expect("a clock");
    pool.close().await;
}

/// A pool that speaks UTC.
#[must_use]
pub fn pool(url: &str, connections: u32) -> PgPool {
    let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
    let options = options.options([("TimeZone", "UTC"), ("lock_timeout", "5s")]);
    PgPoolOptions::new()
        .max_connections(connections)
        .connect_lazy_with(options)
}

/// A function binary with its settings.
#[derive(Clone, Debug)]
pub struct Function(dev::runtime::Function);

impl Function {
    /// The binary as it ships, on the database at `url`.
    #[must_use]
    pub fn new(name: &str, url: &str) -> Self {
        // Agents' databases are on the shared server: their names are the agents' own.
        let agents = SERVER.get().map(|server| server.url("postgres"));
        let settings = [
            ("DATABASE_URL", url),
            ("CRON_SECRET", CRON_SECRET),
            ("LOG_LEVEL", "info"),
            ("SESSION_SECRET", SESSION_SECRET),
            ("ALLOWED_ORIGINS", ORIGIN),
            ("PRIVY_APP_ID", PRIVY_APP_ID),
            ("PRIVY_VERIFICATION_KEY", privy::public_pem()),
            ("AGENT_BASE_DOMAIN", "agents.example"),
            ("EVENT_BUS", "local-events"),
            ("AWS_ENDPOINT_URL_EVENTBRIDGE", NOWHERE),
            ("FLEET_TABLE", "nowhere"),
            ("AWS_ENDPOINT_URL_DYNAMODB", NOWHERE),
            ("AGENT_DATABASE_ADMIN_URL", agents.as_deref().unwrap_or("")),
            ("MILADY_SSH_KEY_PATH", ssh_key()),
            ("ALLOW_PRIVATE_NODES", "true"),
        ];
        Self(dev::runtime::Function {
            name: name.to_owned(),
            binary: binaries().join(name),
            env: settings
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        })
    }

    /// With one more setting.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.0.env.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Without a setting.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.0.env.remove(key);
        self
    }

    /// From another directory of binaries.
    #[must_use]
    pub fn from_directory(mut self, directory: &std::path::Path) -> Self {
        self.0.binary = directory.join(&self.0.name);
        self
    }

    /// What the local stack starts: for a pool of its own.
    #[must_use]
    pub fn local(&self) -> dev::runtime::Function {
        self.0.clone()
    }

    /// Starts an instance.
    pub async fn start(&self) -> Instance {
        self.try_start().await.expect("the binary starts")
    }

    async fn try_start(&self) -> Result<Instance> {
        let api = RUNTIME_API
            .get_or_init(|| async { RuntimeApi::start().await.expect("the runtime API") })
            .await;
        api.spawn(self.0.clone())
    }

    /// Starts an instance for one event.
    pub async fn invoke(&self, event: serde_json::Value) -> dev::runtime::Outcome {
        self.start()
            .await
            .invoke(event, std::time::Duration::from_mins(1))
            .await
    }

    /// The answer to one event, which must be one.
    pub async fn invoke_ok(&self, event: serde_json::Value) -> serde_json::Value {
        match self.invoke(event).await {
            dev::runtime::Outcome::Success(answer) => answer,
            other => panic!("{} failed: {other:?}", self.0.name),
        }
    }

    /// The answer to an HTTP request that came in through `route`.
    pub async fn http(&self, route: &str, request: Request) -> Response {
        let instance = self.start().await;
        Self::http_on(&instance, route, &BTreeMap::new(), &request).await
    }

    /// The same on an instance that runs, with the path's parameters.
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

/// An HTTP request.
#[derive(Clone, Debug)]
pub struct Request(pub(crate) dev::gateway::event::Request);

impl Request {
    /// A request without a body.
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

    /// With an API key.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header("x-api-key", key)
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(self, body: &serde_json::Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }

    /// With a body as it is.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = body.into();
        self
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.0.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// An HTTP answer as the gateway gets it.
#[derive(Clone, Debug)]
pub struct Response(pub serde_json::Value);

impl Response {
    /// Its status code.
    #[must_use]
    pub fn status(&self) -> u64 {
        self.0["statusCode"].as_u64().unwrap_or_default()
    }

    /// One of its headers.
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

    /// Its body's text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0["body"].as_str().unwrap_or_default()
    }

    /// Its body.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.text()).unwrap_or_default()
    }
}
