//! Compares the hourly run with a per-agent loop and with the run of another build, and measures what debt and a large
//! fleet need. `cargo bench -p tests --bench billing` prints everything side by side; `-- runs`, `-- debt`, `-- million`,
//! `-- plans` and `-- migration` print one part, and numbers choose the agents of `runs`.
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
use std::time::Instant;

use dev::postgres::{Options, Server};
use serde_json::json;
use tests::Function;
use tests::suite::{pool, server_options};

const AGENT_COUNTS: [usize; 3] = [1_000, 10_000, 100_000];

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let base = std::env::var_os("BENCH_BASE").map(PathBuf::from);
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let mut sizes: Vec<usize> = arguments
            .iter()
            .filter_map(|size| size.parse().ok())
            .collect();
        let names: Vec<&str> = ["migration", "runs", "debt", "million", "plans"]
            .into_iter()
            .filter(|name| arguments.iter().any(|argument| argument == name))
            .collect();
        let is_chosen = |name| names.is_empty() && sizes.is_empty() || names.contains(&name);
        let (migration, debt, million, plans) = (
            is_chosen("migration"),
            is_chosen("debt"),
            is_chosen("million"),
            is_chosen("plans"),
        );
        let runs = is_chosen("runs") || !sizes.is_empty();
        let needed = ["billing-hourly".to_owned(), "db-migrate".to_owned()];
        let binaries = dev::build::selected_functions_with_progress(&needed, true).await;
        let binaries = binaries.expect("release binaries");
        tests::suite::use_binaries(binaries.clone());
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
