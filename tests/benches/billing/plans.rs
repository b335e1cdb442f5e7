//! What the server does for each statement of a run, and whether that grows with history.

use std::collections::BTreeMap;
use std::path::Path;

use dev::postgres::Server;
use sqlx::PgPool;
use tests::suite::pool;
use tests::world::hours;

use crate::organizations::{self, Fleet};
use crate::runs;

/// The hours of the two runs. The hours between them are charged by one run.
const RECENT: i64 = 2;
const LATER: i64 = 26;

/// What one run needed for a statement.
struct Statement {
    count: usize,
    milliseconds: f64,
    buffers: u64,
    /// The plan of the slowest one.
    plan: String,
    slowest: f64,
}

/// Prints the plan of each statement of a run of 100,000 agents, and the pages that it reads in all, with a history of
/// one hour and of a day.
pub async fn print(binaries: &Path) {
    let server = runs::durable_server("plans").await;
    let fleet = Fleet {
        agents: 100_000,
        per_organization: 10,
        balance: 100_000,
    };
    let database = organizations::create(&server, binaries, fleet).await;
    runs::measure_hour(&database, binaries, RECENT - 1, fleet.agents).await;
    explain(&server).await;
    let recent = statements(&database.pool, || {
        runs::measure_hour(&database, binaries, RECENT, fleet.agents)
    })
    .await;
    dev::clock::set(&database.pool, hours(LATER - 1))
        .await
        .expect("the clock");
    runs::run(&database.url, binaries, LATER - 1).await;
    let later = statements(&database.pool, || {
        runs::measure_hour(&database, binaries, LATER, fleet.agents)
    })
    .await;
    println!(
        "\nThe statements of a run of 100,000 agents, by their time; the plan is that of the slowest."
    );
    println!(
        "{:>7} {:>9} {:>11} {:>11}",
        "count", "ms", "pages", "a day later"
    );
    let mut ordered: Vec<(&String, &Statement)> = later.iter().collect();
    ordered.sort_by(|a, b| b.1.milliseconds.total_cmp(&a.1.milliseconds));
    for (query, statement) in &ordered {
        let before = recent.get(*query).map_or(0, |statement| statement.buffers);
        println!(
            "{:>7} {:>9.1} {:>11} {:>11}  {}",
            statement.count,
            statement.milliseconds,
            before,
            statement.buffers,
            query.chars().take(70).collect::<String>()
        );
    }
    for (query, statement) in ordered {
        println!("\n{query}\n{}", statement.plan);
    }
}

/// Makes the server write down the plan of every statement.
async fn explain(server: &Server) {
    let admin = pool(&server.url("postgres"), 1);
    for sql in [
        "LOAD 'auto_explain'",
        "ALTER SYSTEM SET session_preload_libraries = 'auto_explain'",
        "ALTER SYSTEM SET auto_explain.log_min_duration = 0",
        "ALTER SYSTEM SET auto_explain.log_analyze = on",
        "ALTER SYSTEM SET auto_explain.log_buffers = on",
        "ALTER SYSTEM SET auto_explain.log_timing = off",
        "ALTER SYSTEM SET log_parameter_max_length = 0",
        "SELECT pg_reload_conf()",
    ] {
        sqlx::raw_sql(sql).execute(&admin).await.expect(sql);
    }
    admin.close().await;
}

/// The statements on our tables that the server writes down during `work`.
async fn statements<F: Future>(
    pool: &PgPool,
    work: impl FnOnce() -> F,
) -> BTreeMap<String, Statement> {
    let length = "SELECT (pg_stat_file('postgres.log')).size";
    let start: i64 = sqlx::query_scalar(length)
        .fetch_one(pool)
        .await
        .expect("the log");
    work().await;
    let log: String = sqlx::query_scalar("SELECT pg_read_file('postgres.log', $1, 1000000000)")
        .bind(start)
        .fetch_one(pool)
        .await
        .expect("the log");
    let mut statements = BTreeMap::new();
    for entry in log.split(" LOG:  duration: ").skip(1) {
        // An entry ends where the next line begins with a time.
        let Some((milliseconds, rest)) = entry.split_once(" ms  plan:\n") else {
            continue;
        };
        let lines: Vec<&str> = rest
            .lines()
            .take_while(|line| line.starts_with('\t'))
            .collect();
        let first = lines
            .iter()
            .position(|line| line.contains("(cost="))
            .unwrap_or(lines.len());
        let (text, plan) = lines.split_at(first);
        let query = text.join(" ").replace("Query Text:", "");
        let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
        if !query.contains("cloud.") && !query.contains("public.") {
            continue;
        }
        let milliseconds: f64 = milliseconds.parse().expect("a duration");
        let statement = statements.entry(query).or_insert(Statement {
            count: 0,
            milliseconds: 0.0,
            buffers: 0,
            plan: String::new(),
            slowest: -1.0,
        });
        statement.count += 1;
        statement.milliseconds += milliseconds;
        statement.buffers += buffers(plan);
        if milliseconds > statement.slowest {
            statement.slowest = milliseconds;
            statement.plan = plan.join("\n");
        }
    }
    statements
}

/// The pages that a plan's topmost node reports.
fn buffers(plan: &[&str]) -> u64 {
    let line = plan.iter().find(|line| line.contains("Buffers: shared"));
    let words = line.into_iter().flat_map(|line| line.split_whitespace());
    words
        .filter_map(|word| {
            word.strip_prefix("hit=")
                .or_else(|| word.strip_prefix("read="))
        })
        .filter_map(|pages| pages.parse::<u64>().ok())
        .sum()
}
