//! Measures the two requests that dashboards repeat, on warm functions.
//!
//! Release binaries behind the Runtime API, Postgres with durable settings, one instance and one
//! request at a time. The handler's time comes from its log line; the round trip is the time from
//! sending the event to receiving the answer, once beside the database and once a millisecond away from it. With
//! `BENCH_BASE=<directory of release binaries>` another build is measured in the same run, or several, if colons separate
//! their directories. The benchmark only prints; it asserts no times.

#![expect(
    clippy::expect_used,
    reason = "a failing benchmark should panic where it fails"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dev::gateway::event::{Request, build};
use dev::gateway::{RouteMatch, Routes};
use dev::postgres::{Options, Server};
use dev::runtime::{Instance, Outcome};
use dev::template::Template;
use serde_json::{Value, json};
use sqlx::PgPool;
use tests::Function;
use tests::suite::{pool, server_options};
use uuid::Uuid;

const AGENT_COUNT: i32 = 20;
const WARM_UP_REQUESTS: usize = 100;
const MEASURED_REQUESTS: usize = 2_000;
const KEY: &str = "eliza_beefbeefbeefbeefbeefbeefbeefbeefbeefbeefbeefbeefbeefbeefbeefbeef";

/// The measurements of one function; times in milliseconds.
struct FunctionMeasurement {
    function: String,
    handler: Vec<f64>,
    round_trip: Vec<f64>,
    /// SQL statements of the last request, when nothing is prepared for the first time.
    statements: u64,
    bytes_of_200: usize,
    bytes_of_304: usize,
}

/// A build of the functions, and the database that its `db-migrate` prepared.
struct Build {
    /// Also of the database.
    name: String,
    binaries: PathBuf,
    agent: Uuid,
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let functions = ["agent-get", "agent-list", "db-migrate"].map(str::to_owned);
        let binaries = dev::build::selected_functions_with_progress(&functions, true).await;
        let binaries = binaries.expect("release binaries");
        let server = Server::start(Options {
            durable: true,
            ..server_options("bench-api")
        })
        .await
        .expect("Postgres");
        let mut builds = Vec::new();
        let bases = std::env::var_os("BENCH_BASE").unwrap_or_default();
        for (n, base) in std::env::split_paths(&bases).enumerate() {
            let name = if n == 0 {
                "base".to_owned()
            } else {
                format!("base{}", n + 1)
            };
            builds.push(prepare(&server, name, base).await);
        }
        builds.push(prepare(&server, "this".to_owned(), binaries).await);
        let mut all = Vec::new();
        for delay in [0, 1] {
            let port = delayed(server.port(), Duration::from_millis(delay));
            for build in &builds {
                let url = format!("postgres://postgres@127.0.0.1:{port}/{}", build.name);
                let list = "/api/v1/milady/agents".to_owned();
                let single = format!("{list}/{}", build.agent);
                for path in [list, single] {
                    all.push((
                        build.name.clone(),
                        delay,
                        measure(&build.binaries, &url, &path).await,
                    ));
                }
            }
        }
        print(&all);
    });
}

async fn prepare(server: &Server, name: String, binaries: PathBuf) -> Build {
    server
        .create_database(&name, None)
        .await
        .expect("a database");
    let url = server.url(&name);
    Function::new("db-migrate", &url)
        .from_directory(&binaries)
        // An older build has one address.
        .with("DATABASE_URL", &url)
        .invoke_ok(json!({}))
        .await;
    Build {
        name,
        binaries,
        agent: insert_agents(&pool(&url, 1)).await,
    }
}

/// A port that leads to the server's. What is sent to the server arrives later by `delay`. Threads sleep more exactly
/// than the runtime's timer.
fn delayed(server: u16, delay: Duration) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let upstream = TcpStream::connect(("127.0.0.1", server)).expect("the server");
            for stream in [&client, &upstream] {
                stream.set_nodelay(true).expect("an option");
            }
            let (from, to) = (
                client.try_clone().expect("a stream"),
                upstream.try_clone().expect("a stream"),
            );
            std::thread::spawn(move || forward(from, to, delay));
            std::thread::spawn(move || forward(upstream, client, Duration::ZERO));
        }
    });
    port
}

fn forward(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        std::thread::sleep(delay);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Inserts an organization with a key and running agents. Returns the id of one agent.
async fn insert_agents(pool: &PgPool) -> Uuid {
    for sql in [
        "INSERT INTO organizations (name, slug, credit_balance) VALUES ('Bench', 'bench', 1000)",
        "INSERT INTO users (organization_id, email, role)
        SELECT id, 'owner@bench.test', 'owner' FROM organizations",
    ] {
        sqlx::query(sql).execute(pool).await.expect(sql);
    }
    sqlx::query(
        // More requests than a key may send by default.
        "INSERT INTO api_keys (name, key, key_hash, key_prefix, organization_id, user_id, rate_limit)
        SELECT 'bench', gen_random_uuid()::text, encode(sha256(convert_to($1, 'UTF8')), 'hex'), left($1, 12),
            organization_id, id, 1000000 FROM users",
    )
    .bind(KEY)
    .execute(pool)
    .await
    .expect("a key");
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status,
            agent_config, environment_vars)
        SELECT organization_id, id, 'agent ' || n, 'running',
            '{\"model\": \"large\", \"tokenName\": \"Milady\"}', '{\"LOG_LEVEL\": \"info\"}'
        FROM users, generate_series(1, $1) n RETURNING milady_sandboxes.id",
    )
    .bind(AGENT_COUNT)
    .fetch_all(pool)
    .await
    .expect("agents");
    sqlx::raw_sql("VACUUM ANALYZE")
        .execute(pool)
        .await
        .expect("statistics");
    ids[0]
}

/// Repeats `GET path` on one warm instance.
async fn measure(binaries: &Path, url: &str, path: &str) -> FunctionMeasurement {
    let routes = Routes::new(&Template::load().expect("the template"));
    let route = routes.find("GET", path).expect("a route");
    let instance = Function::new(&route.function, url)
        .from_directory(binaries)
        .with("SESSION_SECRET", "a secret of the benchmark, of no worth")
        .with("DATABASE_URL", url)
        .start()
        .await;
    let first = get(&instance, &route, path, None).await;
    assert_eq!(first["statusCode"], 200, "{first}");
    let unchanged = get(&instance, &route, path, header(&first, "etag")).await;
    assert_eq!(unchanged["statusCode"], 304, "{unchanged}");
    for _ in 0..WARM_UP_REQUESTS {
        get(&instance, &route, path, None).await;
    }
    let mut round_trip = Vec::new();
    for _ in 0..MEASURED_REQUESTS {
        let started = Instant::now();
        get(&instance, &route, path, None).await;
        round_trip.push(milliseconds(started.elapsed()));
    }
    instance.kill().await;
    let lines: Vec<Value> = instance
        .logs()
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        // Of each request, whatever words a build has for it.
        .filter(|line| line["duration_ms"].is_number())
        .collect();
    let measured = &lines[lines.len() - MEASURED_REQUESTS..];
    FunctionMeasurement {
        handler: measured
            .iter()
            .map(|line| line["duration_ms"].as_f64().expect("a duration"))
            .collect(),
        round_trip,
        statements: measured[MEASURED_REQUESTS - 1]["db_queries"]
            .as_u64()
            .expect("a count"),
        bytes_of_200: response_bytes(&first, "200 OK"),
        bytes_of_304: response_bytes(&unchanged, "304 Not Modified"),
        function: route.function,
    }
}

async fn get(instance: &Instance, route: &RouteMatch, path: &str, etag: Option<&str>) -> Value {
    let mut headers = vec![("x-api-key".to_owned(), KEY.to_owned())];
    headers.extend(etag.map(|etag| ("if-none-match".to_owned(), etag.to_owned())));
    let request = Request {
        method: "GET".to_owned(),
        path: path.to_owned(),
        headers,
        source_ip: "127.0.0.1".to_owned(),
        ..Default::default()
    };
    let event = build(&request, &route.key, &route.parameters);
    match instance.invoke(event, Duration::from_secs(29)).await {
        Outcome::Success(answer) => answer,
        other => panic!("{path}: {other:?}"),
    }
}

fn header<'a>(answer: &'a Value, name: &str) -> Option<&'a str> {
    let repeated = answer["multiValueHeaders"][name][0].as_str();
    answer["headers"][name].as_str().or(repeated)
}

/// The size of an HTTP response: status line, headers and body.
fn response_bytes(answer: &Value, status: &str) -> usize {
    let mut names: Vec<&String> = ["headers", "multiValueHeaders"]
        .iter()
        .filter_map(|key| answer[key].as_object())
        .flat_map(|headers| headers.keys())
        .collect();
    names.sort();
    names.dedup();
    let headers: usize = names
        .into_iter()
        .filter_map(|name| Some(format!("{name}: {}\r\n", header(answer, name)?).len()))
        .sum();
    let body = answer["body"].as_str().unwrap_or_default();
    format!("HTTP/1.1 {status}\r\n").len() + headers + "\r\n".len() + body.len()
}

fn print(all: &[(String, u64, FunctionMeasurement)]) {
    println!(
        "\n{MEASURED_REQUESTS} requests each to a warm function, {AGENT_COUNT} agents; times in ms; the ratio is to the \
        base's handler p50."
    );
    println!(
        "{:>10} {:>6} {:>12} {:>12} {:>12} {:>14} {:>14} {:>11} {:>10} {:>10} {:>6}",
        "function",
        "build",
        "to database",
        "handler p50",
        "handler p99",
        "round trip p50",
        "round trip p99",
        "statements",
        "200 bytes",
        "304 bytes",
        "ratio"
    );
    for (build, delay, measurement) in all {
        let p50 = percentile(&measurement.handler, 50);
        let base = all.iter().find(|(build, same_delay, base)| {
            build == "base" && same_delay == delay && base.function == measurement.function
        });
        let ratio = base.map_or_else(String::new, |(.., base)| {
            format!("{:.2}", p50 / percentile(&base.handler, 50))
        });
        println!(
            "{:>10} {build:>6} {delay:>12} {p50:>12.2} {:>12.2} {:>14.2} {:>14.2} {:>11} {:>10} {:>10} {ratio:>6}",
            measurement.function,
            percentile(&measurement.handler, 99),
            percentile(&measurement.round_trip, 50),
            percentile(&measurement.round_trip, 99),
            measurement.statements,
            measurement.bytes_of_200,
            measurement.bytes_of_304,
        );
    }
}

fn percentile(times: &[f64], percent: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[(times.len() - 1) * percent / 100]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
