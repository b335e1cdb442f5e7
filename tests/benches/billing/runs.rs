//! The hourly run beside another build's run and beside the loop; large debts; a large fleet.

use std::path::Path;
use std::time::{Duration, Instant};

use dev::postgres::Server;
use dev::runtime::Outcome;
use rust_decimal::{Decimal, dec};
use serde_json::{Value, json};
use sqlx::{PgPool, Row};
use tests::suite::server_options;
use tests::world::hours;
use tests::{Function, audit, statistics};
use uuid::Uuid;

use crate::organizations::{self, Database, Fleet};
use crate::storage;

const RUNS: i64 = 7;
const PER_ORGANIZATION: [usize; 3] = [10, 1, 200];

/// One billing run of a binary.
pub struct RunMeasurement {
    seconds: f64,
    statements: u64,
    peak_mib: f64,
}

/// Some runs of a binary.
struct Summary {
    /// The median.
    seconds: f64,
    statements: u64,
    peak_mib: f64,
    bytes_per_agent_hour: f64,
}

pub async fn durable_server(name: &str) -> Server {
    let mut options = server_options(name);
    options.durable = true;
    Server::start(options).await.expect("Postgres")
}

pub async fn measure(binaries: &Path, base: Option<&Path>, sizes: &[usize]) {
    let server = durable_server("bench").await;
    println!(
        "\nThe hourly run, all agents running; median of {RUNS} runs. A ratio is to this build."
    );
    println!(
        "{:>8} {:>4} {:>8} {:>9} {:>8} {:>7} {:>9} {:>7} {:>8} {:>7} {:>11}",
        "agents",
        "per",
        "run s",
        "agents/s",
        "base s",
        "ratio",
        "loop s",
        "ratio",
        "peak MiB",
        "bytes",
        "statements"
    );
    let has_statistics = statistics::enable(&server).await;
    storage::disable_autovacuum(&server).await;
    for &agents in sizes {
        for per_organization in PER_ORGANIZATION {
            let fleet = Fleet {
                agents,
                per_organization,
                balance: 100_000,
            };
            measure_fleet(&server, binaries, base, fleet, has_statistics).await;
        }
    }
}

async fn measure_fleet(
    server: &Server,
    binaries: &Path,
    base: Option<&Path>,
    fleet: Fleet,
    has_statistics: bool,
) {
    let database = organizations::create(server, binaries, fleet).await;
    let other = match base {
        Some(base) => Some((base, organizations::create(server, base, fleet).await)),
        None => None,
    };
    if has_statistics {
        statistics::reset(server).await;
    }
    let (mut runs, mut base_runs) = (Vec::new(), Vec::new());
    let (empty, base_empty) = (
        storage::appended_bytes(&database.pool).await,
        match &other {
            Some((_, other)) => storage::appended_bytes(&other.pool).await,
            None => 0.0,
        },
    );
    for hour in 1..=RUNS {
        runs.push(measure_hour(&database, binaries, hour, fleet.agents).await);
        if let Some((base, other)) = &other {
            base_runs.push(measure_hour(other, base, hour, fleet.agents).await);
        }
    }
    audit::check(&database.pool).await;
    let this = summary(runs, &database.pool, empty, fleet).await;
    let base_seconds = match &other {
        Some((_, other)) => Some(summary(base_runs, &other.pool, base_empty, fleet).await),
        None => None,
    };
    let loop_seconds = if fleet.per_organization == 10 {
        let looped = organizations::create(server, binaries, fleet).await;
        Some(per_agent_loop(&looped.pool, fleet.agents).await)
    } else {
        None
    };
    let column =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let ratio = |value: Option<f64>| {
        value.map_or_else(
            || "-".to_owned(),
            |value| format!("{:.1}x", value / this.seconds),
        )
    };
    let base_time = base_seconds.as_ref().map(|base| base.seconds);
    println!(
        "{:>8} {:>4} {:>8.3} {:>9.0} {:>8} {:>7} {:>9} {:>7} {:>8.1} {:>7.0} {:>11}",
        fleet.agents,
        fleet.per_organization,
        this.seconds,
        float(fleet.agents) / this.seconds,
        column(base_time),
        ratio(base_time),
        column(loop_seconds),
        ratio(loop_seconds),
        this.peak_mib,
        this.bytes_per_agent_hour,
        this.statements,
    );
    if let Some(base) = base_seconds {
        println!(
            "         the other build: {:.0} bytes per agent and hour, peak {:.1} MiB",
            base.bytes_per_agent_hour, base.peak_mib
        );
    }
    if has_statistics && fleet.per_organization == 10 {
        let agent_runs = float(fleet.agents) * 7.0;
        storage::print_statistics(server, &database.url, agent_runs).await;
    }
}

pub async fn measure_hour(
    database: &Database,
    binaries: &Path,
    hour: i64,
    agents: usize,
) -> RunMeasurement {
    dev::clock::set(&database.pool, hours(hour))
        .await
        .expect("the clock");
    // An hour lies between two runs: what one left to vacuum and to write to the disk delays no other.
    for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
        sqlx::raw_sql(statement)
            .execute(&database.pool)
            .await
            .expect(statement);
    }
    let (measurement, answer) = run(&database.url, binaries, hour).await;
    assert_eq!(answer["slices"], json!(agents), "{answer}");
    measurement
}

async fn summary(
    mut runs: Vec<RunMeasurement>,
    pool: &PgPool,
    empty: f64,
    fleet: Fleet,
) -> Summary {
    let bytes = storage::appended_bytes(pool).await - empty;
    let peak_mib = runs.iter().map(|run| run.peak_mib).fold(0.0, f64::max);
    let agent_hours = float(fleet.agents) * float(runs.len());
    runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let median = &runs[runs.len() / 2];
    Summary {
        seconds: median.seconds,
        statements: median.statements,
        peak_mib,
        bytes_per_agent_hour: bytes / agent_hours,
    }
}

/// One cold invocation of the release binary.
pub async fn run(url: &str, binaries: &Path, hour: i64) -> (RunMeasurement, Value) {
    let instance = Function::new("billing-hourly", url)
        .from_directory(binaries)
        .with("DATABASE_URL", url)
        .start()
        .await;
    instance.wait_until_ready().await.expect("a first poll");
    let started = Instant::now();
    let event = json!({"scheduledTime": hours(hour)});
    let outcome = instance.invoke(event, Duration::from_mins(15)).await;
    let seconds = started.elapsed().as_secs_f64();
    let Outcome::Success(answer) = outcome else {
        panic!("{outcome:?}")
    };
    let peak = u32::try_from(instance.peak_memory_kib().unwrap_or_default()).expect("small");
    instance.kill().await;
    let statements = instance
        .logs()
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|line| line["db_queries"].as_u64())
        .unwrap_or_default();
    let measurement = RunMeasurement {
        seconds,
        statements,
        peak_mib: f64::from(peak) / 1024.0,
    };
    (measurement, answer)
}

/// Runs the loop and returns the seconds that it took for all agents.
async fn per_agent_loop(pool: &PgPool, agents: usize) -> f64 {
    let mut conn = pool.acquire().await.expect("a connection");
    let due = sqlx::query(
        "SELECT id, organization_id, user_id, agent_name, hourly_rate FROM milady_sandboxes
        WHERE status = 'running' AND billing_status = 'active'",
    )
    .fetch_all(&mut *conn)
    .await
    .expect("agents");
    assert_eq!(due.len(), agents);
    let started = Instant::now();
    for agent in due {
        let (id, organization): (Uuid, Uuid) = (agent.get(0), agent.get(1));
        let rate: Decimal = agent.get::<Option<Decimal>, _>(4).unwrap_or(dec!(0.02));
        sqlx::query("BEGIN")
            .execute(&mut *conn)
            .await
            .expect("begin");
        let claimed = sqlx::query(
            "UPDATE milady_sandboxes SET last_billed_at = $2
            WHERE id = $1 AND (last_billed_at IS NULL OR last_billed_at < $2)",
        )
        .bind(id)
        .bind(hours(1))
        .execute(&mut *conn)
        .await
        .expect("claim");
        assert_eq!(claimed.rows_affected(), 1);
        let balance: Decimal = sqlx::query_scalar(
            "UPDATE organizations SET credit_balance = credit_balance - $2
            WHERE id = $1 AND credit_balance >= $2 RETURNING credit_balance",
        )
        .bind(organization)
        .bind(rate)
        .fetch_one(&mut *conn)
        .await
        .expect("debit");
        assert!(balance >= dec!(0));
        sqlx::query(
            "INSERT INTO credit_transactions (organization_id, user_id, amount, type, description,
                metadata)
            VALUES ($1, $2, $3, 'debit', 'Milady agent hosting (running): ' || $4, $5)",
        )
        .bind(organization)
        .bind(agent.get::<Uuid, _>(2))
        .bind(-rate)
        .bind(agent.get::<String, _>(3))
        .bind(json!({"sandbox_id": id, "billing_type": "running", "hourly_rate": 0.02}))
        .execute(&mut *conn)
        .await
        .expect("insert");
        sqlx::query("UPDATE milady_sandboxes SET total_billed = total_billed + $2 WHERE id = $1")
            .bind(id)
            .bind(rate)
            .execute(&mut *conn)
            .await
            .expect("update");
        sqlx::query("COMMIT")
            .execute(&mut *conn)
            .await
            .expect("commit");
    }
    started.elapsed().as_secs_f64()
}

/// Charges large debts: one organization that pays after 2,000 hours, and an outage of the runs.
pub async fn measure_debt(binaries: &Path) {
    let server = durable_server("debt").await;
    println!("\nLarge debts, each charged by one run.");
    let indebted = Fleet {
        agents: 200,
        per_organization: 200,
        balance: 0,
    };
    let database = organizations::create(&server, binaries, indebted).await;
    dev::clock::set(&database.pool, hours(2_000))
        .await
        .expect("the clock");
    let (measured, _) = run(&database.url, binaries, 2_000).await;
    print_debt("200 agents, 2,000 h, no credit", &measured, 0);
    // As a purchase does, so that the books balance.
    sqlx::raw_sql(
        "UPDATE organizations SET credit_balance = credit_balance + 100000;
        INSERT INTO credit_transactions (organization_id, amount, type, created_at)
        SELECT id, 100000, 'credit', billing_clock() AT TIME ZONE 'UTC' FROM organizations",
    )
    .execute(&database.pool)
    .await
    .expect("a top-up");
    dev::clock::set(&database.pool, hours(2_001))
        .await
        .expect("the clock");
    let (measured, answer) = run(&database.url, binaries, 2_001).await;
    print_debt(
        "200 agents, 2,001 h, paid at once",
        &measured,
        slices(&answer),
    );
    assert_eq!(slices(&answer), 200 * 2_001);
    audit::check(&database.pool).await;
    let outage = Fleet {
        agents: 100_000,
        per_organization: 10,
        balance: 100_000,
    };
    let database = organizations::create(&server, binaries, outage).await;
    dev::clock::set(&database.pool, hours(57))
        .await
        .expect("the clock");
    let (measured, answer) = run(&database.url, binaries, 57).await;
    print_debt(
        "100,000 agents, 57 h without runs",
        &measured,
        slices(&answer),
    );
    assert_eq!(slices(&answer), 100_000 * 57);
}

/// A million agents in organizations of ten.
pub async fn measure_million(binaries: &Path) {
    let server = durable_server("million").await;
    let fleet = Fleet {
        agents: 1_000_000,
        per_organization: 10,
        balance: 1_000,
    };
    let database = organizations::create(&server, binaries, fleet).await;
    println!("\nA million agents, one hour.");
    for hour in 1..=2 {
        dev::clock::set(&database.pool, hours(hour))
            .await
            .expect("the clock");
        let (measured, answer) = run(&database.url, binaries, hour).await;
        print_debt(&format!("hour {hour}"), &measured, slices(&answer));
        assert_eq!(slices(&answer), fleet.agents);
    }
}

fn slices(answer: &Value) -> usize {
    answer["slices"]
        .as_u64()
        .and_then(|slices| usize::try_from(slices).ok())
        .expect("a number")
}

fn print_debt(label: &str, measured: &RunMeasurement, slices: usize) {
    println!(
        "{label:>34}: {slices:>9} charges, {:>8.2} s, {:>9.0} charges/s, peak {:>6.1} MiB, {} statements",
        measured.seconds,
        float(slices) / measured.seconds,
        measured.peak_mib,
        measured.statements
    );
}

fn float(n: usize) -> f64 {
    f64::from(u32::try_from(n).expect("small"))
}
