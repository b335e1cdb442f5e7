//! Measures what an honest tenant notices of a hostile one.
//!
//! The local stack with release binaries: the gateway behind the edge with its default limits, the event bus, Postgres
//! with durable settings, and an instance of a function for each simultaneous request, as in Lambda. An honest client
//! sends ten requests a second, for ten seconds alone, then beside 50 clients of another organization. Those send as
//! fast as they are answered, with one key whose limit is the default. Both organizations have credit and 20 agents.
//! Until the edge refuses the flood it is measured apart, and then for 30 seconds.
//!
//! In a deployment each instance has a processor of its own, and so have the edge and the clients. Only Postgres works for
//! both tenants. Here all share one machine, so the hostile clients are a process of their own, with a gateway and functions,
//! which runs with the lowest priority, and the sessions of Postgres do not. With `BENCH_BASE=<directory of release binaries>`
//! another build is measured first, on a database of its own. With the argument `pooled` the functions reach Postgres
//! through `PgBouncer`. The benchmark only prints; it asserts no times.

#![expect(
    clippy::expect_used,
    reason = "a failing benchmark should panic where it fails"
)]

mod figures;
mod flood;
mod priority;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dev::events::EventBus;
use dev::gateway::Gateway;
use dev::postgres::{Options, Pooler, Server};
use dev::runtime::{Pool, RuntimeApi};
use dev::template::Template;
use figures::{Figures, NO_ANSWER, REFUSED_AT_THE_EDGE, Sample};
use flood::{Attacker, Flood, HOSTILE, HOSTILE_CLIENTS};
use priority::SessionShare;
use serde_json::json;
use tests::suite::{self, RUNTIME_ROLE, server_options};
use tests::{Function, World};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Those that the clients call, and what their requests lead to.
const FUNCTIONS: [&str; 10] = [
    "agent-create",
    "agent-get",
    "agent-list",
    "agent-logs",
    "agent-provision",
    "agent-snapshot",
    "agent-stream",
    "credit-get",
    "credit-history",
    "job-run",
];
/// As `cargo dev --pooler` has.
const POOLED_SESSIONS: u32 = 4;
const AGENTS: usize = 20;
/// More than there are clients, so that no request waits for an instance.
const MAX_INSTANCES: usize = HOSTILE_CLIENTS + 50;
const ALONE: Duration = Duration::from_secs(10);
const BESIDE: Duration = Duration::from_secs(30);
const HONEST_INTERVAL: Duration = Duration::from_millis(100);
const WARM_UP_ROUNDS: usize = 10;
/// Longer than the gateway waits.
const TIMEOUT: Duration = Duration::from_secs(40);
const LIST: &str = "/api/v1/milady/agents";
const BALANCE: &str = "/api/v1/credits/balance";

/// A gateway with functions behind it. Fields drop in order.
struct Stack {
    gateway: Gateway,
    _bus: EventBus,
    edge_body: String,
}

/// A caller with an API key.
struct Client {
    http: reqwest::Client,
    base_url: String,
    key: String,
    /// The body of the edge's answer.
    edge_body: String,
}

fn main() {
    if std::env::args()
        .nth(1)
        .is_some_and(|argument| argument == HOSTILE)
    {
        return tests::suite::run_benchmark(flood::run());
    }
    tests::suite::run_benchmark(async {
        let mut names = FUNCTIONS.map(str::to_owned).to_vec();
        names.push("db-migrate".to_owned());
        let binaries = dev::build::selected_functions_with_progress(&names, true).await;
        let binaries = binaries.expect("release binaries");
        suite::use_binaries(binaries.clone());
        let server = Server::start(Options {
            durable: true,
            ..server_options("bench-tenants")
        })
        .await
        .expect("Postgres");
        let pooler = if std::env::args().any(|argument| argument == "pooled") {
            let pooler = Pooler::start(&server, RUNTIME_ROLE, POOLED_SESSIONS).await;
            Some(pooler.expect("a pooler"))
        } else {
            None
        };
        let _share = SessionShare::enlarge();
        let print_figures = async |name: &str, binaries: &Path| {
            let url = migrated_database(&server, name, binaries).await;
            let runtime_url = pooler.as_ref().map_or_else(
                || suite::runtime_url(&url),
                |pooler| pooler.url_of(RUNTIME_ROLE, name),
            );
            figures::print(name, &measure(&url, runtime_url, binaries).await);
        };
        if let Some(base) = std::env::var_os("BENCH_BASE") {
            print_figures("base", &PathBuf::from(base)).await;
        }
        print_figures("this", &binaries).await;
    });
}

/// On the database at `url`, to which the functions connect with `runtime_url`.
async fn measure(url: &str, runtime_url: String, binaries: &Path) -> Figures {
    let stack = Stack::start(&runtime_url, binaries).await;
    let world = World::with_url(url.to_owned());
    let (honest, honest_key) = world.tenant("1000").await;
    let (hostile, hostile_key) = world.tenant("1000").await;
    world
        .execute("UPDATE api_keys SET rate_limit = DEFAULT")
        .await;
    let (mut honest_agents, mut own) = (Vec::new(), Vec::new());
    for _ in 0..AGENTS {
        honest_agents.push(world.agent(honest, "running").await);
        own.push(world.agent(hostile, "pending").await);
    }
    let foreign = honest_agents[0];
    let honest = Arc::new(stack.client(honest_key));
    for _ in 0..WARM_UP_ROUNDS {
        for path in honest_paths(foreign) {
            honest.send("GET", &path, "").await;
        }
    }
    let alone = sample(&honest, foreign, tokio::time::sleep(ALONE)).await;
    let attacker = Attacker {
        runtime_url,
        binaries: binaries.to_owned(),
        key: hostile_key,
        own,
        foreign,
    };
    let mut flood = Flood::start(&attacker).await;
    let mut has_reached_edge = false;
    let reached_edge = async {
        let reached = tokio::time::timeout(BESIDE, flood.reached_edge());
        has_reached_edge = reached.await.is_ok();
    };
    let at_first = sample(&honest, foreign, reached_edge).await;
    let reached_edge_after = has_reached_edge.then(|| flood.started.elapsed());
    let beside = sample(&honest, foreign, tokio::time::sleep(BESIDE)).await;
    let flood_lasted = flood.started.elapsed();
    Figures {
        alone,
        at_first,
        beside,
        attacks: flood.end().await,
        reached_edge_after,
        flood_lasted,
    }
}

/// Creates a database with the build's tables and returns its URL.
async fn migrated_database(server: &Server, name: &str, binaries: &Path) -> String {
    server
        .create_database(name, None)
        .await
        .expect("a database");
    let url = server.url(name);
    let migrate = Function::new("db-migrate", &url).from_directory(binaries);
    migrate.invoke_ok(json!({})).await;
    url
}

impl Stack {
    async fn start(runtime_url: &str, binaries: &Path) -> Self {
        let template = Template::load().expect("template.yaml");
        let bus = EventBus::start(&template).await.expect("a bus");
        let functions = FUNCTIONS.map(|name| {
            Function::new(name, runtime_url)
                .from_directory(binaries)
                .with("RUNTIME_DATABASE_URL", runtime_url)
                .with("AWS_ENDPOINT_URL_EVENTBRIDGE", &bus.address())
                .with("LOG_LEVEL", "error")
                .to_runtime_function()
        });
        let api = RuntimeApi::start().await.expect("the runtime API");
        let pool = Pool::with_max_instances(api, functions.to_vec(), MAX_INSTANCES);
        bus.deliver_to(pool.clone());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let rule = template.edge.rules.first().expect("a rule of the edge");
        let edge_body = rule.refusal.body.clone();
        let gateway = Gateway::start(listener.expect("a port"), template, pool);
        Self {
            gateway: gateway.expect("the gateway"),
            _bus: bus,
            edge_body,
        }
    }

    fn client(&self, key: String) -> Client {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .build();
        Client {
            http: http.expect("a client"),
            base_url: format!("http://{}", self.gateway.address()),
            key,
            edge_body: self.edge_body.clone(),
        }
    }
}

impl Client {
    /// Sends a request, reads the whole response and returns its status, or what stands for it.
    async fn send(&self, method: &str, path: &str, body: &'static str) -> u16 {
        let method: reqwest::Method = method.parse().expect("a method");
        let url = format!("{}{path}", self.base_url);
        let mut request = self
            .http
            .request(method, url)
            .header("x-api-key", &self.key);
        if !body.is_empty() {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let Ok(response) = request.send().await else {
            return NO_ANSWER;
        };
        let status = response.status().as_u16();
        match response.bytes().await {
            Ok(body) if body[..] == self.edge_body.as_bytes()[..] => REFUSED_AT_THE_EDGE,
            Ok(_) => status,
            Err(_) => NO_ANSWER,
        }
    }
}

fn honest_paths(agent: Uuid) -> [String; 3] {
    [
        LIST.to_owned(),
        BALANCE.to_owned(),
        format!("{LIST}/{agent}"),
    ]
}

/// Sends the honest client's requests at their times, whether or not the earlier ones were answered, until `end`.
async fn sample(client: &Arc<Client>, agent: Uuid, end: impl Future) -> Vec<Sample> {
    let mut ticks = tokio::time::interval(HONEST_INTERVAL);
    let mut requests = JoinSet::new();
    let mut end = std::pin::pin!(end);
    for path in honest_paths(agent).iter().cycle() {
        tokio::select! {
            biased;
            _ = &mut end => break,
            _ = ticks.tick() => {}
        }
        let (client, path) = (Arc::clone(client), path.clone());
        requests.spawn(async move {
            let started = Instant::now();
            let status = client.send("GET", &path, "").await;
            Sample {
                status,
                milliseconds: started.elapsed().as_secs_f64() * 1_000.0,
            }
        });
    }
    requests.join_all().await
}
