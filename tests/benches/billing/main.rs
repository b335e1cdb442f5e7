//! Compares the hourly run with a per-agent loop and with the run of another build, and measures what debt and a large
//! fleet need, and what each function costs to start. `cargo bench -p tests --bench billing` prints everything side by
//! side; `-- runs`, `-- debt`, `-- million`, `-- plans`, `-- starts` and `-- migration` print one part, and numbers
//! choose the agents of `runs`.
//!
//! Postgres runs with durable settings: a commit waits for the disk. The run is the release binary, started and invoked
//! as Lambda does. The loop is the obvious implementation: for each agent BEGIN, claim, debit, insert, update, COMMIT,
//! over one connection on the same machine. With `BENCH_BASE=<directory of release binaries>` another build's run is
//! measured on a database of its own, in turn with this one.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a failing benchmark should panic where it fails"
)]

mod organizations;
mod plans;
mod runs;
mod storage;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use dev::postgres::{Options, Server};
use serde_json::json;
use tests::Function;
use tests::suite::{pool, server_options};

const AGENT_COUNTS: [usize; 3] = [1_000, 10_000, 100_000];
const STARTS_PER_FUNCTION: usize = 25;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let base = std::env::var_os("BENCH_BASE").map(PathBuf::from);
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let mut sizes: Vec<usize> = arguments
            .iter()
            .filter_map(|size| size.parse().ok())
            .collect();
        let names: Vec<&str> = ["starts", "migration", "runs", "debt", "million", "plans"]
            .into_iter()
            .filter(|name| arguments.iter().any(|argument| argument == name))
            .collect();
        let is_chosen = |name| names.is_empty() && sizes.is_empty() || names.contains(&name);
        let (starts, migration, debt, million, plans) = (
            is_chosen("starts"),
            is_chosen("migration"),
            is_chosen("debt"),
            is_chosen("million"),
            is_chosen("plans"),
        );
        let runs = is_chosen("runs") || !sizes.is_empty();
        let needed = ["billing-hourly".to_owned(), "db-migrate".to_owned()];
        let binaries = if starts {
            dev::build::functions_with_progress(true).await
        } else {
            dev::build::selected_functions_with_progress(&needed, true).await
        };
        let binaries = binaries.expect("release binaries");
        tests::suite::use_binaries(binaries.clone());
        if starts {
            measure_starts(&binaries).await;
        }
        if migration {
            measure_migration(&binaries).await;
        }
        if runs {
            if sizes.is_empty() {
                sizes = AGENT_COUNTS.to_vec();
            }
            runs::measure(&binaries, base.as_deref(), &sizes).await;
        }
        if debt {
            runs::measure_debt(&binaries).await;
        }
        if million {
            runs::measure_million(&binaries).await;
        }
        if plans {
            plans::print(&binaries).await;
        }
    });
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
