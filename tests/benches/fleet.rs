//! Measures the inspection of a fleet and the requests for its snapshot.
//!
//! Release binaries behind the Runtime API, simulated hosts in this process, a `DynamoDB` emulator,
//! all on one machine. The benchmark asserts counts (connections, channels, inspected hosts) and
//! prints times.

#![expect(
    clippy::expect_used,
    reason = "a failing benchmark should panic where it fails"
)]

use std::time::{Duration, Instant};

use dev::events::EventBus;
use dev::runtime::{Instance, Outcome, Pool, RuntimeApi};
use dev::sim::{Fault, Health, Script};
use dev::template::Template;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::simulated_world::SimulatedWorld;
use tests::suite::{self, Request};

const PATH: &str = "/api/v1/admin/infrastructure";
const SNAPSHOT_READS: usize = 1_000;

fn main() {
    suite::run(async {
        let functions = ["admin-infrastructure", "db-migrate", "fleet-refresh"].map(str::to_owned);
        let binaries = dev::build::selected_functions_with_progress(&functions, true).await;
        suite::use_binaries(binaries.expect("release binaries"));
        inspect_large_fleet().await;
        inspect_silent_hosts().await;
        read_snapshot().await;
        serve_cold_dashboards().await;
    });
}

async fn refresh_run(fleet: &SimulatedWorld, instance: &Instance) -> (Value, Duration) {
    let started_at = Instant::now();
    match instance.invoke(json!({}), Duration::from_mins(1)).await {
        Outcome::Success(answer) => {
            assert_eq!(answer["outcome"], json!("done"), "{answer}");
            assert_eq!(answer["late"], json!(0), "{answer}");
            (answer, started_at.elapsed())
        }
        other => panic!("{} hosts: {other:?}", fleet.sim.hosts().len()),
    }
}

/// 500 hosts with 24 agents each. Every twentieth host is silent; the others have a latency of 20
/// ms.
async fn inspect_large_fleet() {
    let script = |n: usize| {
        let script = Script::new(&format!("host-{n:03}")).latency(Duration::from_millis(20));
        if n % 20 == 19 {
            script.fault(Fault::Silent)
        } else {
            script
        }
    };
    let fleet = SimulatedWorld::new((0..500).map(script).collect(), 24, Health::Healthy).await;
    let instance = fleet.world.function("fleet-refresh").start().await;
    println!(
        "\n500 hosts with 24 containers each, 25 hosts silent, the others with 20 ms latency:"
    );
    for state in ["cold", "warm"] {
        let (answer, duration) = refresh_run(&fleet, &instance).await;
        assert_eq!(
            (&answer["read"], &answer["heard"]),
            (&json!(475), &json!(475 * 24)),
            "{answer}"
        );
        println!("  {state} run {:.1} s", duration.as_secs_f64());
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
        .map(|counts| counts.max_open_channels)
        .max()
        .unwrap_or_default();
    assert!(channels <= 4, "{channels}");
    println!(
        "  1 connection per host, at most {channels} channels at once, peak memory {} MiB",
        peak / 1024
    );
    let plain = answer_sizes(&fleet, false).await;
    let gzipped = answer_sizes(&fleet, true).await;
    println!("  the answer: {plain} bytes, {gzipped} bytes gzipped");
}

/// The sizes of all pages of the answer, in bytes as the function returns them.
async fn answer_sizes(fleet: &SimulatedWorld, gzip: bool) -> String {
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
        assert!(
            bytes < 6 << 20,
            "{bytes} bytes exceed Lambda's limit for answers"
        );
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

async fn inspect_silent_hosts() {
    let script = |n: usize| Script::new(&format!("silent-{n:02}")).fault(Fault::Silent);
    let fleet = SimulatedWorld::new((0..20).map(script).collect(), 1, Health::Healthy).await;
    let instance = fleet.world.function("fleet-refresh").start().await;
    let (answer, duration) = refresh_run(&fleet, &instance).await;
    assert_eq!(answer["read"], json!(0));
    println!("\n20 silent hosts: one run {:.1} s", duration.as_secs_f64());
}

/// 20 hosts: a warm function, which reads the head of the snapshot and has the rest; and a new
/// client, which reads the whole snapshot.
async fn read_snapshot() {
    let script = |n: usize| Script::new(&format!("host-{n:02}"));
    let fleet = SimulatedWorld::new((0..20).map(script).collect(), 24, Health::Healthy).await;
    fleet.world.refresh().await;
    let instance = fleet.world.instance("admin-infrastructure").await;
    for _ in 0..SNAPSHOT_READS {
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
        .filter(|line| line["message"] == json!("admin-infrastructure responded"))
        .filter_map(|line| line["duration_ms"].as_f64())
        .collect();
    let mut full_reads = Vec::new();
    for _ in 0..100 {
        let started_at = Instant::now();
        let snapshot = fleet.world.cache().snapshot(suite::epoch()).await;
        assert!(snapshot.expect("a cache").is_some());
        full_reads.push(started_at.elapsed().as_secs_f64() * 1_000.0);
    }
    println!("\nReading the snapshot of 20 hosts with 24 containers each, ms:");
    for (label, times) in [
        ("warm handler", handler),
        ("full snapshot from the cache, new client", full_reads),
    ] {
        println!(
            "  {label}: p50 {:.2}, p99 {:.2}",
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

/// 200 instances that have just started, with an empty cache.
async fn serve_cold_dashboards() {
    let script = |n: usize| Script::new(&format!("host-{n:02}"));
    let mut fleet = SimulatedWorld::new((0..20).map(script).collect(), 4, Health::Healthy).await;
    let template = Template::load().expect("template.yaml");
    let bus = EventBus::start(&template).await.expect("a bus");
    let setting = "AWS_ENDPOINT_URL_EVENTBRIDGE".to_owned();
    fleet.world.settings.insert(setting, bus.address());
    let api = RuntimeApi::start().await.expect("the runtime API");
    bus.deliver_to(Pool::new(
        api,
        vec![fleet.world.function("fleet-refresh").to_runtime_function()],
    ));
    let function = fleet.world.function("admin-infrastructure");
    let starting = (0..200).map(|_| async {
        let instance = function.start().await;
        instance.wait_until_ready().await.expect("a start");
        instance
    });
    let instances = join_all(starting).await;
    let started_at = Instant::now();
    let request = || Request::new("GET", PATH).key(&fleet.operator);
    let answers = join_all(
        instances
            .iter()
            .map(|instance| fleet.world.call_instance(instance, request())),
    )
    .await;
    let duration = started_at.elapsed();
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
        "\n200 concurrent requests on an empty cache: all answered after {:.1} s, each of 20 hosts inspected once",
        duration.as_secs_f64()
    );
}
