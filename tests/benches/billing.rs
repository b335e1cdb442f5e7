//! Compares the hourly run with a per-agent loop, and measures what each function costs to start.
//! `cargo bench` prints everything side by side.
//!
//! Postgres runs with durable settings: a commit waits for the disk. The run is the release binary,
//! started and invoked as Lambda does. The loop is the obvious implementation: for each agent
//! BEGIN, claim, debit, insert, update, COMMIT, over one connection on the same machine.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a failing benchmark should panic where it fails"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dev::postgres::{Options, Server};
use dev::runtime::Outcome;
use rust_decimal::{Decimal, dec};
use serde_json::{Value, json};
use sqlx::{PgPool, Row};
use tests::suite::{epoch, pool, server_options};
use tests::world::hours;
use tests::{Function, audit};
use uuid::Uuid;

const AGENT_COUNTS: [usize; 3] = [1_000, 10_000, 100_000];
const RUNS: i64 = 7;
const STARTS_PER_FUNCTION: usize = 25;

/// The measurements of one billing run of the binary.
struct RunMeasurement {
    seconds: f64,
    statements: u64,
    peak_mib: f64,
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let binaries = dev::build::functions_with_progress(true)
            .await
            .expect("release binaries");
        // `cargo bench -- 1000 10000` measures only these numbers of agents.
        let sizes: Vec<usize> = std::env::args()
            .filter_map(|size| size.parse().ok())
            .collect();
        measure_starts(&binaries).await;
        measure_migration(&binaries).await;
        measure_runs(
            &binaries,
            if sizes.is_empty() {
                &AGENT_COUNTS
            } else {
                &sizes
            },
        )
        .await;
    });
}

async fn measure_runs(binaries: &Path, sizes: &[usize]) {
    let mut options = server_options("bench");
    options.durable = true;
    let server = Server::start(options).await.expect("Postgres");
    println!(
        "\nThe hourly run, one organization per ten agents, all running; median of {RUNS} runs."
    );
    println!(
        "{:>8} {:>10} {:>11} {:>11} {:>11} {:>11} {:>7} {:>10}",
        "agents", "run s", "agents/s", "loop s", "agents/s", "statements", "ratio", "peak MiB"
    );
    let has_statistics = enable_statistics(&server).await;
    for &agents in sizes {
        let run_database = database(&server, binaries, agents).await;
        let mut measured = Vec::new();
        for hour in 1..=RUNS {
            dev::clock::set(&run_database.1, hours(hour))
                .await
                .expect("the clock");
            measured.push(measure_run(&run_database.0, binaries, hour, agents).await);
        }
        audit::check(&run_database.1).await;
        measured.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let median = &measured[measured.len() / 2];
        let peak = measured.iter().map(|run| run.peak_mib).fold(0.0, f64::max);
        let loop_database = database(&server, binaries, agents).await;
        let loop_seconds = per_agent_loop(&loop_database.1, agents).await;
        let count = f64::from(u32::try_from(agents).expect("small"));
        println!(
            "{agents:>8} {:>10.3} {:>11.0} {loop_seconds:>11.2} {:>11.0} {:>11} {:>6.1}x {peak:>10.1}",
            median.seconds,
            count / median.seconds,
            count / loop_seconds,
            median.statements,
            loop_seconds / median.seconds,
        );
        if has_statistics && agents == 10_000 {
            print_statistics(&server, &run_database.0, agents).await;
        }
    }
}

/// Enables `pg_stat_statements`. Returns whether the server has it.
async fn enable_statistics(server: &Server) -> bool {
    let admin = pool(&server.url("postgres"), 1);
    let available: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_stat_statements'",
    )
    .fetch_one(&admin)
    .await
    .expect("extensions");
    if available == 0 {
        return false;
    }
    for sql in [
        "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'",
        "CHECKPOINT",
    ] {
        sqlx::raw_sql(sql).execute(&admin).await.expect(sql);
    }
    admin.close().await;
    server.crash().expect("a stop");
    server.restart().await.expect("a restart");
    let admin = pool(&server.url("postgres"), 1);
    let sql = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements";
    sqlx::raw_sql(sql).execute(&admin).await.expect(sql);
    admin.close().await;
    true
}

/// Prints where the database spent its time, per agent and run.
async fn print_statistics(server: &Server, url: &str, agents: usize) {
    let admin = pool(&server.url("postgres"), 1);
    let name = url.rsplit('/').next().unwrap_or_default();
    let rows: Vec<(String, f64)> = sqlx::query_as(
        "SELECT left(regexp_replace(query, '\\s+', ' ', 'g'), 60), sum(total_exec_time) AS ms
        FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
        WHERE d.datname = $1 AND query ~ 'UNNEST|locked|unsettled|settled|ANY|COMMIT|FULL JOIN'
            AND query !~ 'CREATE|VACUUM'
        GROUP BY 1 ORDER BY 2 DESC LIMIT 9",
    )
    .bind(name)
    .fetch_all(&admin)
    .await
    .expect("statistics");
    println!("         where the database's time went, microseconds per agent and run:");
    let runs = f64::from(u32::try_from(RUNS).expect("small"));
    for (query, milliseconds) in rows {
        let count = f64::from(u32::try_from(agents).expect("small"));
        println!(
            "         {:>7.1}  {query}",
            milliseconds * 1_000.0 / count / runs
        );
    }
}

/// Creates a migrated database with this many running agents, at hour 0. Returns its URL and a
/// pool.
async fn database(server: &Server, binaries: &Path, agents: usize) -> (String, PgPool) {
    let name = format!("bench_{}", Uuid::new_v4().simple());
    server
        .create_database(&name, None)
        .await
        .expect("a database");
    let url = server.url(&name);
    Function::new("db-migrate", &url)
        .from_directory(binaries)
        .invoke_ok(json!({}))
        .await;
    let pool = pool(&url, 2);
    dev::clock::install(&pool, epoch()).await.expect("a clock");
    let organizations = i32::try_from(agents / 10).expect("small");
    for sql in [
        "INSERT INTO organizations (name, slug, credit_balance)
        SELECT 'Organization ' || n, 'o-' || n, 1000 FROM generate_series(1, $1) n",
        "INSERT INTO users (organization_id, email)
        SELECT id, slug || '@example.test' FROM organizations WHERE $1 > 0",
        "INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status, node_id,
            container_name, bridge_port, agent_config, environment_vars, created_at)
        SELECT organization_id, id, 'agent ' || n, 'running', 'node-' || id, 'milady-' || id, n,
            '{\"model\": \"large\", \"tokenName\": \"Milady\"}', '{\"LOG_LEVEL\": \"info\"}',
            billing_clock()
        FROM users, generate_series(1, 10) n WHERE $1 > 0",
    ] {
        sqlx::query(sql)
            .bind(organizations)
            .execute(&pool)
            .await
            .expect(sql);
    }
    sqlx::raw_sql("VACUUM ANALYZE")
        .execute(&pool)
        .await
        .expect("statistics");
    sqlx::raw_sql("CHECKPOINT")
        .execute(&pool)
        .await
        .expect("a checkpoint");
    (url, pool)
}

/// One cold invocation of the release binary.
async fn measure_run(url: &str, binaries: &Path, hour: i64, agents: usize) -> RunMeasurement {
    let instance = Function::new("billing-hourly", url)
        .from_directory(binaries)
        .start()
        .await;
    instance.wait_until_ready().await.expect("a first poll");
    let started = Instant::now();
    let event = json!({"scheduledTime": hours(hour)});
    let outcome = instance.invoke(event, Duration::from_mins(5)).await;
    let seconds = started.elapsed().as_secs_f64();
    let Outcome::Success(answer) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(answer["slices"], json!(agents), "{answer}");
    let peak = u32::try_from(instance.peak_memory_kib().unwrap_or_default()).expect("small");
    instance.kill().await;
    let statements = instance
        .logs()
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|line| line["db_queries"].as_u64())
        .unwrap_or_default();
    RunMeasurement {
        seconds,
        statements,
        peak_mib: f64::from(peak) / 1024.0,
    }
}

/// Measures the adoption of 100,000 agents: all migrations together, and the one that blocks
/// writers.
async fn measure_migration(binaries: &Path) {
    let server = Server::start(Options {
        durable: true,
        ..server_options("migration")
    })
    .await
    .expect("Postgres");
    server
        .create_database("existing", None)
        .await
        .expect("a database");
    let url = server.url("existing");
    let pool = pool(&url, 1);
    tests::legacy::create(&pool).await;
    sqlx::raw_sql(
        "INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status, agent_config)
        SELECT organization_id, id, 'agent ' || n, 'running', '{\"model\": \"large\"}'
        FROM users, generate_series(1, 50000) n",
    )
    .execute(&pool)
    .await
    .expect("agents");
    sqlx::raw_sql("CREATE TABLE copy (LIKE milady_sandboxes INCLUDING ALL)")
        .execute(&pool)
        .await
        .expect("a copy");
    sqlx::raw_sql("INSERT INTO copy SELECT * FROM milady_sandboxes")
        .execute(&pool)
        .await
        .expect("rows");
    let started = Instant::now();
    let widen =
        "ALTER TABLE copy ALTER COLUMN total_billed TYPE numeric(16,6), SET (fillfactor = 45)";
    sqlx::raw_sql(widen).execute(&pool).await.expect(widen);
    let widening = started.elapsed().as_secs_f64();
    let started = Instant::now();
    Function::new("db-migrate", &url)
        .from_directory(binaries)
        .invoke_ok(json!({}))
        .await;
    let total = started.elapsed().as_secs_f64();
    println!(
        "\nMigrating 100,000 agents: {total:.2} s, of which writers wait {widening:.2} s while total_billed is widened."
    );
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
        let rate: Decimal = agent.get(4);
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

async fn measure_starts(binaries: &Path) {
    println!(
        "Each function, {STARTS_PER_FUNCTION} starts: process start to first poll, and its size."
    );
    println!(
        "{:>18} {:>9} {:>9} {:>10} {:>12} {:>11}",
        "function", "p50 ms", "max ms", "peak MiB", "binary MiB", "zipped MiB"
    );
    for name in dev::build::function_names().expect("functions") {
        let (mut times, mut peak) = (Vec::new(), 0);
        for _ in 0..STARTS_PER_FUNCTION {
            let url = "postgres://nobody@127.0.0.1:9/nowhere";
            let instance = Function::new(&name, url)
                .from_directory(binaries)
                .start()
                .await;
            times.push(
                instance
                    .wait_until_ready()
                    .await
                    .expect("a first poll")
                    .as_secs_f64()
                    * 1_000.0,
            );
            peak = peak.max(instance.peak_memory_kib().unwrap_or_default());
            instance.kill().await;
        }
        times.sort_by(f64::total_cmp);
        let binary = binaries.join(&name);
        println!(
            "{name:>18} {:>9.2} {:>9.2} {:>10.1} {:>12.2} {:>11.2}",
            times[times.len() / 2],
            times[times.len() - 1],
            mib(peak * 1024),
            mib(std::fs::metadata(&binary).expect("a binary").len()),
            mib(zipped(&binary)),
        );
    }
}

/// The size of a deployment package. zip uses deflate, as gzip does.
fn zipped(binary: &PathBuf) -> u64 {
    let output = Command::new("gzip")
        .arg("-9c")
        .arg(binary)
        .output()
        .expect("gzip");
    u64::try_from(output.stdout.len()).expect("small")
}

fn mib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).expect("small")) / 1024.0
}
