//! What looking at a fleet takes, and reading what was seen.
//!
//! Release binaries behind the Runtime API, simulated hosts in this process, an emulator of `DynamoDB`,
//! everything on one machine. It judges counts (connections, channels, what was read), never times: those
//! it prints.

#![expect(clippy::expect_used, reason = "a benchmark that fails says where")]

use std::time::{Duration, Instant};

use dev::events::EventBus;
use dev::runtime::{Instance, Outcome, Pool, RuntimeApi};
use dev::sim::{Fault, Health, Script};
use dev::template::Template;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::simulated::Simulated;
use tests::suite::{self, Request};

const PATH: &str = "/api/v1/admin/infrastructure";
const READS: usize = 1_000;

fn main() {
    suite::run(async {
        let functions = ["admin-infrastructure", "db-migrate", "fleet-refresh"].map(str::to_owned);
        let binaries = dev::build::some_with_progress(&functions, true).await;
        suite::use_binaries(binaries.expect("release binaries"));
        large().await;
        silent().await;
        reading().await;
        dashboards().await;
    });
}

async fn pass(fleet: &Simulated, instance: &Instance) -> (Value, Duration) {
    let began = Instant::now();
    match instance.invoke(json!({}), Duration::from_mins(1)).await {
        Outcome::Success(answer) => {
            assert_eq!(answer["outcome"], json!("done"), "{answer}");
            assert_eq!(answer["late"], json!(0), "{answer}");
            (answer, began.elapsed())
        }
        other => panic!("{} hosts: {other:?}", fleet.sim.hosts().len()),
    }
}

/// 500 hosts with 24 agents each; every twentieth says nothing, the others are 20 ms away.
async fn large() {
    let script = |n: usize| {
        let script = Script::new(&format!("host-{n:03}")).latency(Duration::from_millis(20));
        if n % 20 == 19 {
            script.fault(Fault::Silent)
        } else {
            script
        }
    };
    let fleet = Simulated::new((0..500).map(script).collect(), 24, Health::Well).await;
    let instance = fleet.world.function("fleet-refresh").start().await;
    println!("\n500 hosts of 24 containers, 25 of them silent, the others 20 ms away:");
    for what in ["cold", "warm"] {
        let (answer, took) = pass(&fleet, &instance).await;
        assert_eq!(
            (&answer["read"], &answer["heard"]),
            (&json!(475), &json!(475 * 24)),
            "{answer}"
        );
        println!("  {what} pass {:.1} s", took.as_secs_f64());
    }
    let peak = instance.peak_memory_kib().expect("a process that lives");
    let counts: Vec<_> = fleet
        .sim
        .hosts()
        .iter()
        .map(dev::sim::SimHost::counts)
        .collect();
    let answering = counts.iter().filter(|counts| counts.handshakes > 0);
    assert!(
        answering.clone().all(|counts| counts.connections == 1),
        "one connection per host"
    );
    let channels = counts
        .iter()
        .map(|counts| counts.most_open)
        .max()
        .unwrap_or_default();
    assert!(channels <= 4, "{channels}");
    println!(
        "  connections per host 1, at most {channels} channels at once, peak memory {} MiB",
        peak / 1024
    );
    let whole = size(&fleet, false).await;
    let packed = size(&fleet, true).await;
    println!("  the answer: {whole} bytes, {packed} bytes gzipped");
}

/// What a client gets, in bytes as the function returns them; all of its pages.
async fn size(fleet: &Simulated, gzip: bool) -> String {
    let mut sizes = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut request = Request::new("GET", PATH).key(&fleet.operator);
        if let Some(cursor) = &cursor {
            request = Request::new("GET", &format!("{PATH}?cursor={cursor}")).key(&fleet.operator);
        }
        if gzip {
            request = request.header("accept-encoding", "gzip");
        }
        let answer = fleet.world.call(request).await;
        assert_eq!(answer.status(), 200);
        let bytes = answer.0["body"].as_str().unwrap_or_default().len();
        assert!(bytes < 6 << 20, "Lambda takes no answer of {bytes} bytes");
        sizes.push(bytes.to_string());
        if gzip {
            break;
        }
        cursor = answer.json()["data"]["cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    sizes.join(" + ")
}

async fn silent() {
    let script = |n: usize| Script::new(&format!("silent-{n:02}")).fault(Fault::Silent);
    let fleet = Simulated::new((0..20).map(script).collect(), 1, Health::Well).await;
    let instance = fleet.world.function("fleet-refresh").start().await;
    let (answer, took) = pass(&fleet, &instance).await;
    assert_eq!(answer["read"], json!(0));
    println!("\n20 silent hosts: one pass {:.1} s", took.as_secs_f64());
}

/// 20 hosts: a warm function, which reads the head and has the rest; and the whole snapshot by a client
/// that has nothing.
async fn reading() {
    let script = |n: usize| Script::new(&format!("host-{n:02}"));
    let fleet = Simulated::new((0..20).map(script).collect(), 24, Health::Well).await;
    fleet.world.refresh().await;
    let instance = fleet.world.instance("admin-infrastructure").await;
    for _ in 0..READS {
        let answer = fleet
            .world
            .call(Request::new("GET", PATH).key(&fleet.operator))
            .await;
        assert_eq!(answer.status(), 200);
    }
    instance.kill().await;
    let lines = instance.logs();
    let lines = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let handler: Vec<f64> = lines
        .filter(|line| line["message"] == json!("admin-infrastructure answered"))
        .filter_map(|line| line["duration_ms"].as_f64())
        .collect();
    let mut whole = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        let seen = fleet.world.cache().snapshot(suite::epoch()).await;
        assert!(seen.expect("a cache").is_some());
        whole.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    println!("\nReading the snapshot of 20 hosts of 24 containers, ms:");
    for (what, times) in [
        ("the handler, warm", handler),
        ("the whole of it from the cache, by a new client", whole),
    ] {
        println!(
            "  {what}: p50 {:.2}, p99 {:.2}",
            percentile(&times, 50),
            percentile(&times, 99)
        );
    }
}

fn percentile(times: &[f64], percent: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[(times.len() - 1) * percent / 100]
}

/// 200 functions that were just started, an empty cache.
async fn dashboards() {
    let script = |n: usize| Script::new(&format!("host-{n:02}"));
    let mut fleet = Simulated::new((0..20).map(script).collect(), 4, Health::Well).await;
    let template = Template::load().expect("template.yaml");
    let bus = EventBus::start(&template).await.expect("a bus");
    let setting = "AWS_ENDPOINT_URL_EVENTBRIDGE".to_owned();
    fleet.world.settings.insert(setting, bus.address());
    let api = RuntimeApi::start().await.expect("the runtime API");
    bus.deliver_to(Pool::new(
        api,
        vec![fleet.world.function("fleet-refresh").local()],
    ));
    let function = fleet.world.function("admin-infrastructure");
    let starting = (0..200).map(|_| async {
        let instance = function.start().await;
        instance.ready().await.expect("a start");
        instance
    });
    let instances = join_all(starting).await;
    let began = Instant::now();
    let ask = || Request::new("GET", PATH).key(&fleet.operator);
    let answers = join_all(
        instances
            .iter()
            .map(|instance| fleet.world.call_at(instance, ask())),
    )
    .await;
    let took = began.elapsed();
    for answer in &answers {
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert_eq!(answer.json()["data"]["summary"]["healthyNodes"], json!(20));
    }
    for host in fleet.sim.hosts() {
        let counts = host.counts();
        assert_eq!(counts.connections, 1, "{}", host.name());
        assert_eq!(
            counts.requests["GET /containers/json"],
            1,
            "{}",
            host.name()
        );
    }
    println!(
        "\n200 simultaneous requests on an empty cache: all 200 after {:.1} s, each of 20 hosts inspected once",
        took.as_secs_f64()
    );
}
