//! What the database spent and stored for a number of runs.

use dev::postgres::Server;
use sqlx::PgPool;
use tests::statistics;
use tests::suite::pool;

/// Leaves vacuuming to the benchmark, so that it falls between two measured runs.
pub async fn disable_autovacuum(server: &Server) {
    let admin = pool(&server.url("postgres"), 1);
    for sql in [
        "ALTER SYSTEM SET autovacuum = off",
        "SELECT pg_reload_conf()",
    ] {
        sqlx::raw_sql(sql).execute(&admin).await.expect(sql);
    }
    admin.close().await;
}

/// Prints where the database spent its time, per agent and run.
pub async fn print_statistics(server: &Server, url: &str, agent_runs: f64) {
    let times = statistics::statement_times(server, url).await;
    println!(
        "         where the database's time went, microseconds per agent and run; {:.1} in all:",
        statistics::microseconds(&times) / agent_runs
    );
    for time in times.iter().take(12) {
        println!(
            "         {:>7.1}  {}",
            time.milliseconds * 1_000.0 / agent_runs,
            time.query
        );
    }
}

/// The bytes of what runs append, with all indexes: charges and entries, or the rows of `credit_transactions`.
pub async fn appended_bytes(pool: &PgPool) -> f64 {
    let bytes: i64 = sqlx::query_scalar(
        "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
        WHERE relkind = 'r' AND (relname = 'credit_transactions' OR relname ~ '^(usage_charges|ledger_entries)_')",
    )
    .fetch_one(pool)
    .await
    .expect("sizes");
    bytes_to_float(bytes)
}

fn bytes_to_float(bytes: i64) -> f64 {
    // Exact to a KiB.
    f64::from(i32::try_from(bytes / 1024).expect("small")) * 1024.0
}
