//! Measures the inspection of a fleet and the requests for its snapshot.
//!
//! Release binaries behind the Runtime API, simulated hosts in this process, a `DynamoDB` emulator,
//! all on one machine. The benchmark asserts counts (connections, channels, inspected hosts) and
//! prints times, and what they cost: processor time, memory, file descriptors, and the database's
//! time beside that of the hourly billing run. With `BENCH_BASE=<directory of release binaries>` another build reads the
//! snapshot in turn with this one; `-- reads` measures nothing but the reads.

#![expect(
    clippy::expect_used,
    reason = "a failing benchmark should panic where it fails"
)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use dev::events::EventBus;
use dev::runtime::{Instance, Outcome, Pool, RuntimeApi};
use dev::sim::{Fault, Health, Script};
use dev::template::Template;
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::api::admin::fleet_render::render_overview;
use shared::cache::Cache;
use tests::fleet;
use tests::simulated_world::SimulatedWorld;
use tests::statistics;
use tests::suite::{self, Request, epoch};
use tests::world::{hours, minutes};

const PATH: &str = "/api/v1/admin/infrastructure";
/// Reads per view and build. A process counts its time in steps of 10 ms.
const SNAPSHOT_READS: usize = 1_000;
const READS_IN_TURN: usize = 100;
const WARM_UP_READS: usize = 20;
const LARGE_FLEET: usize = 500;
const AGENTS_PER_HOST: usize = 24;
/// Organizations of 200 agents, as many as one may have by default.
const ORGANIZATIONS: usize = 60;
/// As many runs over a shard.
const MERGE_ROUNDS: i64 = 50;
/// The runs in which each heartbeat is recorded once.
const RUNS_PER_HEARTBEAT: usize = 3;

fn main() {
    suite::run_benchmark(async {
        let functions = [
            "admin-infrastructure",
            "billing-hourly",
            "db-migrate",
            "fleet-refresh",
        ];
        let functions = functions.map(str::to_owned);
        let base = std::env::var_os("BENCH_BASE").map(PathBuf::from);
        let reads_only = std::env::args().any(|argument| argument == "reads");
        let binaries = dev::build::selected_functions_with_progress(&functions, true).await;
        suite::use_binaries(binaries.expect("release binaries"));
        if !reads_only {
            // Before the first database exists, because the server restarts.
            let has_statistics = statistics::enable(suite::server().await).await;
            inspect_large_fleet(has_statistics).await;
            inspect_silent_hosts().await;
            merge_shards().await;
        }
        read_snapshot(base.as_deref()).await;
        if !reads_only {
            serve_cold_dashboards().await;
        }
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
async fn inspect_large_fleet(has_statistics: bool) {
    let script = |n: usize| {
        let script = Script::new(&format!("host-{n:03}")).latency(Duration::from_millis(20));
        if n % 20 == 19 {
            script.fault(Fault::Silent)
        } else {
            script
        }
    };
    let scripts = (0..LARGE_FLEET).map(script).collect();
    let fleet =
        SimulatedWorld::with_tenants(scripts, AGENTS_PER_HOST, Health::Healthy, ORGANIZATIONS)
            .await;
    let instance = fleet.world.function("fleet-refresh").start().await;
    println!(
        "\n{LARGE_FLEET} hosts with {AGENTS_PER_HOST} containers each, 25 hosts silent, the others with 20 ms latency:"
    );
    for state in ["cold", "warm"] {
        let before = instance.processor_time().unwrap_or_default();
        let run = refresh_run(&fleet, &instance);
        let ((answer, duration), descriptors) = with_most_descriptors(&instance, run).await;
        assert_eq!(
            (&answer["read"], &answer["heard"]),
            (&json!(475), &json!(475 * AGENTS_PER_HOST)),
            "{answer}"
        );
        let processor_time = instance.processor_time().expect("a process that lives");
        let processor_time = processor_time.saturating_sub(before);
        println!(
            "  {state} run {:.1} s, {:.1} s of processor time, at most {descriptors} file descriptors",
            duration.as_secs_f64(),
            processor_time.as_secs_f64()
        );
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
    if has_statistics {
        compare_with_billing(&fleet, &instance).await;
    } else {
        println!("  the database's time is not known: the server has no pg_stat_statements");
    }
}

/// Awaits `work`, and counts the file descriptors of the function meanwhile.
async fn with_most_descriptors<T>(
    instance: &Instance,
    work: impl Future<Output = T>,
) -> (T, usize) {
    let mut most = 0;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return (result, most),
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                most = most.max(instance.open_descriptors().unwrap_or_default());
            }
        }
    }
}

/// Prints the database's time for an hour of inspection and for the hourly billing run of the same
/// agents, both warm.
async fn compare_with_billing(fleet: &SimulatedWorld, instance: &Instance) {
    let (server, world) = (suite::server().await, &fleet.world);
    let count = |number: usize| f64::from(u32::try_from(number).expect("a small number"));
    let agents = count(LARGE_FLEET * AGENTS_PER_HOST);
    world.execute("VACUUM ANALYZE").await;
    statistics::reset(server).await;
    for minute in (1..).take(RUNS_PER_HEARTBEAT) {
        world.set_clock(minutes(minute)).await;
        refresh_run(fleet, instance).await;
    }
    let times = statistics::statement_times(server, &world.url).await;
    let cycles_per_hour = count(60 / RUNS_PER_HEARTBEAT);
    let inspection = statistics::microseconds(&times) * cycles_per_hour / agents;
    println!("  the database's time for inspection, most of it in");
    for time in times.iter().take(6) {
        let microseconds = time.milliseconds * 1_000.0 * cycles_per_hour / agents;
        println!("    {microseconds:>7.1}  {}", time.query);
    }
    let biller = world.function("billing-hourly").start().await;
    world.set_clock(hours(1)).await;
    statistics::reset(server).await;
    let event = json!({"scheduledTime": hours(1)});
    let outcome = biller.invoke(event, Duration::from_mins(15)).await;
    let Outcome::Success(answer) = outcome else {
        panic!("{outcome:?}");
    };
    // The agents of silent hosts are disconnected, and not charged.
    let charged = answer["slices"].as_u64().expect("a number");
    let charged = usize::try_from(charged).expect("a number");
    assert!(charged >= 475 * AGENTS_PER_HOST, "{answer}");
    let times = statistics::statement_times(server, &world.url).await;
    println!(
        "  microseconds of the database per agent and hour: {inspection:.0} for inspection, {:.0} for billing",
        statistics::microseconds(&times) / count(charged)
    );
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

/// What operators ask for: a name, the query, and whether they accept gzip.
const VIEWS: [(&str, &str, bool); 4] = [
    ("all", "", true),
    ("all, not compressed", "", false),
    ("the summary", "?view=summary", true),
    ("one host", "?nodeId=host-00", true),
];

/// A build with a fleet of its own, whose snapshot it has cached.
struct Build {
    name: &'static str,
    fleet: SimulatedWorld,
    /// A warm instance for each of [`VIEWS`].
    readers: Vec<Reader>,
}

/// What one view of the snapshot takes.
struct Reader {
    instance: Instance,
    processor_time: Duration,
}

impl Build {
    /// 20 hosts with 24 containers each. `binaries` is the directory of another build's binaries.
    async fn new(name: &'static str, binaries: Option<&Path>) -> Self {
        let script = |n: usize| Script::new(&format!("host-{n:02}"));
        let fleet = SimulatedWorld::new((0..20).map(script).collect(), 24, Health::Healthy).await;
        let start = async |name: &str| {
            let function = fleet.world.function(name);
            let function = match binaries {
                Some(binaries) => function.from_directory(binaries),
                None => function,
            };
            function.start().await
        };
        refresh_run(&fleet, &start("fleet-refresh").await).await;
        let mut readers = Vec::new();
        for _ in VIEWS {
            readers.push(Reader {
                instance: start("admin-infrastructure").await,
                processor_time: Duration::ZERO,
            });
        }
        Self {
            name,
            fleet,
            readers,
        }
    }

    async fn read(&self, view: usize) {
        let (_, query, gzip) = VIEWS[view];
        let mut request = Request::new("GET", &format!("{PATH}{query}")).key(&self.fleet.operator);
        if gzip {
            request = request.header("accept-encoding", "gzip");
        }
        let instance = &self.readers[view].instance;
        let answer = self.fleet.world.call_instance(instance, request).await;
        assert_eq!(answer.status(), 200, "{} {query}", self.name);
    }

    /// Reads a view some times, and adds up the processor time.
    async fn measure(&mut self, view: usize, reads: usize) {
        let processor_time = |build: &Self| {
            let time = build.readers[view].instance.processor_time();
            time.expect("a process that lives")
        };
        let before = processor_time(self);
        for _ in 0..reads {
            self.read(view).await;
        }
        let spent = processor_time(self).saturating_sub(before);
        self.readers[view].processor_time += spent;
    }

    /// How long the requests for a view took in the handler, in milliseconds, without the one that read the snapshot.
    async fn handler_times(&self, view: usize) -> Vec<f64> {
        let instance = &self.readers[view].instance;
        instance.kill().await;
        let lines = instance.logs();
        let lines = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line["message"] == json!("admin-infrastructure responded"))
            .filter_map(|line| line["duration_ms"].as_f64())
            .skip(WARM_UP_READS)
            .collect()
    }
}

/// 20 hosts: a warm function, which reads the head of the snapshot and has the rest, for each view, in turn with that of
/// another build; and a new client, which reads the whole snapshot.
async fn read_snapshot(base: Option<&Path>) {
    let mut builds = Vec::new();
    if let Some(base) = base {
        builds.push(Build::new("base", Some(base)).await);
    }
    builds.push(Build::new("this", None).await);
    for view in 0..VIEWS.len() {
        for build in &builds {
            for _ in 0..WARM_UP_READS {
                build.read(view).await;
            }
        }
        for _ in 0..SNAPSHOT_READS / READS_IN_TURN {
            for build in &mut builds {
                build.measure(view, READS_IN_TURN).await;
            }
        }
    }
    println!(
        "\nReading the snapshot of 20 hosts with 24 containers each, {SNAPSHOT_READS} times, ms:\n  {:<20} {:>5} {:>10} {:>12} {:>12}",
        "view", "build", "processor", "handler p50", "handler p99"
    );
    let count = f64::from(u32::try_from(SNAPSHOT_READS).expect("a small number"));
    for (view, (label, ..)) in VIEWS.iter().enumerate() {
        let mut processor_times = Vec::new();
        for build in &builds {
            let processor_time = build.readers[view].processor_time.as_secs_f64() * 1_000.0 / count;
            let times = build.handler_times(view).await;
            assert_eq!(times.len(), SNAPSHOT_READS, "{label}");
            println!(
                "  {label:<20} {:>5} {processor_time:>10.2} {:>12.2} {:>12.2}",
                build.name,
                percentile(&times, 50),
                percentile(&times, 99)
            );
            processor_times.push(processor_time);
        }
        if let [base, this] = processor_times[..] {
            println!("  {:<20} {:>5} {:>9.1}x", "", "", base / this);
        }
    }
    let Some(this) = builds.last() else {
        return;
    };
    let mut full_reads = Vec::new();
    for _ in 0..100 {
        let started_at = Instant::now();
        let snapshot = this.fleet.world.cache().snapshot(suite::epoch()).await;
        assert!(snapshot.expect("a cache").is_some());
        full_reads.push(started_at.elapsed().as_secs_f64() * 1_000.0);
    }
    println!(
        "  the whole snapshot from the cache, new client: p50 {:.2}, p99 {:.2}",
        percentile(&full_reads, 50),
        percentile(&full_reads, 99)
    );
}

fn percentile(times: &[f64], percent: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[(times.len() - 1) * percent / 100]
}

/// What a run does between rendering its own shard and the end: it writes that, reads what the newest runs over all other
/// shards found, and writes an overview of the whole fleet.
async fn merge_shards() {
    let emulator = suite::dynamodb().await;
    let tokens = AtomicI64::new(1);
    println!(
        "\nWriting a shard of {LARGE_FLEET} hosts and the overview of the fleet, without a copy of earlier ones:"
    );
    for count in [1, 10] {
        let hosts = LARGE_FLEET * usize::try_from(count).expect("a count");
        let reading = fleet::refresh_run(hosts, AGENTS_PER_HOST, epoch());
        let shards = fleet::shards(&reading, count);
        let table = format!("merge-{count}");
        suite::create_fleet_table(emulator, &table);
        let mut times = Vec::new();
        for minute in 0..=MERGE_ROUNDS / i64::from(count) {
            let at = minutes(minute);
            let token = || tokens.fetch_add(1, Ordering::Relaxed);
            for new in fleet::shard_runs(&reading, &shards, at, token) {
                let cache = Cache::at(&emulator.address(), table.clone());
                let started_at = Instant::now();
                let written = cache.run_write(&new, render_overview, at).await;
                assert!(matches!(written, Ok(Some(_))), "{written:?}");
                // Until each shard had a run there is less to read.
                if minute > 0 {
                    times.push(started_at.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
        println!(
            "  {count:>2} shards: p50 {:.0} ms, p99 {:.0} ms",
            percentile(&times, 50),
            percentile(&times, 99)
        );
    }
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
