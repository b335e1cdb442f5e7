//! Measures what an honest tenant notices of a hostile one.
//!
//! The local stack with release binaries: the gateway, the event bus, Postgres with durable settings, and an instance
//! of a function for each simultaneous request, as in Lambda. An honest client sends ten requests a second, for ten
//! seconds alone, then for 30 seconds beside 50 clients of another organization. Those send as fast as they are
//! answered, with one key whose limit is the default. Both organizations have credit and 20 agents.
//!
//! Clients, functions and Postgres share one machine. So the figures contain what a deployment does not have: waiting
//! for a processor. With `BENCH_BASE=<directory of release binaries>` another build is measured first, on a database of
//! its own. The benchmark only prints; it asserts no times.

#![expect(
    clippy::expect_used,
    reason = "a failing benchmark should panic where it fails"
)]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dev::events::EventBus;
use dev::gateway::Gateway;
use dev::postgres::{Options, Server};
use dev::runtime::{Pool, RuntimeApi};
use dev::template::Template;
use serde_json::json;
use tests::suite::{self, server_options};
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
const AGENTS: usize = 20;
const HOSTILE_CLIENTS: usize = 50;
/// More than there are clients, so that no request waits for an instance.
const MAX_INSTANCES: usize = HOSTILE_CLIENTS + 50;
const ALONE: Duration = Duration::from_secs(10);
const BESIDE: Duration = Duration::from_secs(30);
const HONEST_INTERVAL: Duration = Duration::from_millis(100);
const WARM_UP_ROUNDS: usize = 10;
/// Longer than the gateway waits.
const TIMEOUT: Duration = Duration::from_secs(40);
/// Stands for a status where the connection failed.
const NO_ANSWER: u16 = 0;
const LIST: &str = "/api/v1/milady/agents";
const BALANCE: &str = "/api/v1/credits/balance";

/// What hostile clients send, in turn.
struct Attack {
    name: &'static str,
    method: &'static str,
    /// `{own}` is an agent of the organization, `{foreign}` one of the honest organization.
    path: &'static str,
    body: &'static str,
}

static ATTACKS: [Attack; 9] = [
    Attack {
        name: "list agents",
        method: "GET",
        path: LIST,
        body: "",
    },
    Attack {
        name: "create an agent",
        method: "POST",
        path: LIST,
        body: r#"{"agentName": "one of many"}"#,
    },
    Attack {
        name: "start",
        method: "POST",
        path: "/api/v1/milady/agents/{own}/provision",
        body: "",
    },
    Attack {
        name: "snapshot",
        method: "POST",
        path: "/api/v1/milady/agents/{own}/snapshot",
        body: "",
    },
    Attack {
        name: "stream",
        method: "POST",
        path: "/api/v1/milady/agents/{own}/stream",
        body: r#"{"jsonrpc": "2.0", "id": 1, "method": "message.send", "params": {"text": "Hello"}}"#,
    },
    Attack {
        name: "log",
        method: "GET",
        path: "/api/v1/milady/agents/{own}/logs",
        body: "",
    },
    Attack {
        name: "credit page",
        method: "GET",
        path: "/api/v1/credits/transactions?limit=200",
        body: "",
    },
    Attack {
        name: "invalid JSON",
        method: "POST",
        path: LIST,
        body: "{",
    },
    Attack {
        name: "foreign agent",
        method: "GET",
        path: "/api/v1/milady/agents/{foreign}",
        body: "",
    },
];

/// How many responses have each status.
type Statuses = BTreeMap<u16, u32>;

/// The responses to hostile clients, by the name of the attack.
type Attacks = BTreeMap<&'static str, Statuses>;

struct Sample {
    status: u16,
    milliseconds: f64,
}

/// The measurements of one build.
struct Figures {
    alone: Vec<Sample>,
    beside: Vec<Sample>,
    attacks: Attacks,
}

/// The running stack. Fields drop in order.
struct Stack {
    gateway: Gateway,
    _bus: EventBus,
    world: World,
}

/// A caller with an API key.
struct Client {
    http: reqwest::Client,
    base_url: String,
    key: String,
}

/// The agents that hostile clients name.
struct Targets {
    own: Vec<Uuid>,
    foreign: Uuid,
}

fn main() {
    tests::run(async {
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
        if let Some(base) = std::env::var_os("BENCH_BASE") {
            print(
                "base",
                &measure(&server, "base", &PathBuf::from(base)).await,
            );
        }
        print("this", &measure(&server, "this", &binaries).await);
    });
}

async fn measure(server: &Server, name: &str, binaries: &Path) -> Figures {
    let stack = start(server, name, binaries).await;
    let world = &stack.world;
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
    let hostile = Arc::new(stack.client(hostile_key));
    let targets = Arc::new(Targets { own, foreign });
    for _ in 0..WARM_UP_ROUNDS {
        for path in honest_paths(foreign) {
            honest.send("GET", &path, "").await;
        }
    }
    let alone = sample(&honest, foreign, ALONE).await;
    let deadline = Instant::now() + BESIDE;
    let mut clients = JoinSet::new();
    for first in 0..HOSTILE_CLIENTS {
        clients.spawn(attack(
            Arc::clone(&hostile),
            Arc::clone(&targets),
            first,
            deadline,
        ));
    }
    let beside = sample(&honest, foreign, BESIDE).await;
    let mut attacks = Attacks::new();
    for (name, statuses) in clients.join_all().await.into_iter().flatten() {
        let all = attacks.entry(name).or_default();
        for (status, count) in statuses {
            *all.entry(status).or_default() += count;
        }
    }
    Figures {
        alone,
        beside,
        attacks,
    }
}

async fn start(server: &Server, name: &str, binaries: &Path) -> Stack {
    server
        .create_database(name, None)
        .await
        .expect("a database");
    let url = server.url(name);
    let function = |name| Function::new(name, &url).from_directory(binaries);
    function("db-migrate").invoke_ok(json!({})).await;
    let template = Template::load().expect("template.yaml");
    let bus = EventBus::start(&template).await.expect("a bus");
    let functions = FUNCTIONS.map(|name| {
        function(name)
            .with("AWS_ENDPOINT_URL_EVENTBRIDGE", &bus.address())
            .with("LOG_LEVEL", "error")
            .to_runtime_function()
    });
    let api = RuntimeApi::start().await.expect("the runtime API");
    let pool = Pool::with_max_instances(api, functions.to_vec(), MAX_INSTANCES);
    bus.deliver_to(pool.clone());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let gateway = Gateway::start(listener.expect("a port"), template, pool);
    Stack {
        gateway: gateway.expect("the gateway"),
        _bus: bus,
        world: World::with_url(url),
    }
}

impl Stack {
    fn client(&self, key: String) -> Client {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .build();
        Client {
            http: http.expect("a client"),
            base_url: format!("http://{}", self.gateway.address()),
            key,
        }
    }
}

impl Client {
    /// Sends a request, reads the whole response and returns its status.
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

/// Sends the honest client's requests at their times, whether or not the earlier ones were answered.
async fn sample(client: &Arc<Client>, agent: Uuid, duration: Duration) -> Vec<Sample> {
    let deadline = Instant::now() + duration;
    let mut ticks = tokio::time::interval(HONEST_INTERVAL);
    let mut requests = JoinSet::new();
    for path in honest_paths(agent).iter().cycle() {
        ticks.tick().await;
        if Instant::now() >= deadline {
            break;
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

/// Sends requests one after the other, beginning with this attack.
async fn attack(
    client: Arc<Client>,
    targets: Arc<Targets>,
    first: usize,
    deadline: Instant,
) -> Attacks {
    let mut attacks = Attacks::new();
    let foreign = targets.foreign.to_string();
    for n in first.. {
        if Instant::now() >= deadline {
            break;
        }
        let attack = &ATTACKS[n % ATTACKS.len()];
        let own = targets.own[n % targets.own.len()].to_string();
        let path = attack
            .path
            .replace("{own}", &own)
            .replace("{foreign}", &foreign);
        let status = client.send(attack.method, &path, attack.body).await;
        let statuses = attacks.entry(attack.name).or_default();
        *statuses.entry(status).or_default() += 1;
    }
    attacks
}

fn print(build: &str, figures: &Figures) {
    println!("\nThe {build} build. The honest client, ten requests a second, ms:");
    println!(
        "{:>16} {:>9} {:>9} {:>9} {:>9}  statuses",
        "", "requests", "p50", "p95", "p99"
    );
    for (name, samples) in [("alone", &figures.alone), ("beside", &figures.beside)] {
        let [p50, p95, p99] = percentiles(samples);
        let statuses = text(&statuses(samples));
        println!(
            "{name:>16} {:>9} {p50:>9.1} {p95:>9.1} {p99:>9.1}  {statuses}",
            samples.len()
        );
    }
    let (alone, beside) = (percentiles(&figures.alone), percentiles(&figures.beside));
    println!(
        "{:>16} {:>9} {:>8.1}x {:>8.1}x {:>8.1}x",
        "ratio",
        "",
        beside[0] / alone[0],
        beside[1] / alone[1],
        beside[2] / alone[2]
    );
    let all: u32 = figures.attacks.values().flat_map(BTreeMap::values).sum();
    println!(
        "{HOSTILE_CLIENTS} clients of the hostile tenant, {:.0} requests/s:",
        f64::from(all) / BESIDE.as_secs_f64()
    );
    for (name, statuses) in &figures.attacks {
        println!("{name:>16} {}", text(statuses));
    }
    let mut unexpected = statuses(&figures.alone);
    for (status, count) in statuses(&figures.beside) {
        *unexpected.entry(status).or_default() += count;
    }
    // 429 is the honest client's own limit.
    unexpected.retain(|status, _| ![200, 429].contains(status));
    if unexpected.is_empty() {
        println!("The honest client saw no status but 200 and its own limits.");
    } else {
        println!("THE HONEST CLIENT ALSO SAW {}", text(&unexpected));
    }
}

fn statuses(samples: &[Sample]) -> Statuses {
    let mut statuses = Statuses::new();
    for sample in samples {
        *statuses.entry(sample.status).or_default() += 1;
    }
    statuses
}

/// `200: 300, no answer: 2`.
fn text(statuses: &Statuses) -> String {
    let parts = statuses.iter().map(|(status, count)| match *status {
        NO_ANSWER => format!("no answer: {count}"),
        status => format!("{status}: {count}"),
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn percentiles(samples: &[Sample]) -> [f64; 3] {
    let mut times: Vec<f64> = samples.iter().map(|sample| sample.milliseconds).collect();
    times.sort_by(f64::total_cmp);
    [50, 95, 99].map(|percent| times[(times.len() - 1) * percent / 100])
}
