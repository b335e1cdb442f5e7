//! What the database spent and stored for a number of runs.

use dev::postgres::Server;
use sqlx::PgPool;
use tests::suite::pool;

/// Enables `pg_stat_statements`. Returns whether the server has it.
pub async fn enable_statistics(server: &Server) -> bool {
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

/// Forgets what was spent until now.
pub async fn reset_statistics(server: &Server) {
    let admin = pool(&server.url("postgres"), 1);
    let sql = "SELECT pg_stat_statements_reset()";
    sqlx::raw_sql(sql).execute(&admin).await.expect(sql);
    admin.close().await;
}

/// Prints where the database spent its time, per agent and run.
pub async fn print_statistics(server: &Server, url: &str, agent_runs: f64) {
    let admin = pool(&server.url("postgres"), 1);
    let name = url.rsplit('/').next().unwrap_or_default();
    let rows: Vec<(String, f64)> = sqlx::query_as(
        "SELECT left(regexp_replace(query, '\\s+', ' ', 'g'), 70), sum(total_exec_time) AS ms
        FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
        WHERE d.datname = $1 AND query !~ 'CREATE|VACUUM|dev_clock|pg_stat|pg_total'
        GROUP BY 1 ORDER BY 2 DESC",
    )
    .bind(name)
    .fetch_all(&admin)
    .await
    .expect("statistics");
    let sum: f64 = rows.iter().map(|(_, milliseconds)| milliseconds).sum();
    println!(
        "         where the database's time went, microseconds per agent and run; {:.1} in all:",
        sum * 1_000.0 / agent_runs
    );
    for (query, milliseconds) in rows.iter().take(12) {
        println!(
            "         {:>7.1}  {query}",
            milliseconds * 1_000.0 / agent_runs
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
