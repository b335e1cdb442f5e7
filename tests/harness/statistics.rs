//! What a Postgres server spent on the statements of a database, by `pg_stat_statements`.

use dev::postgres::Server;
use sqlx::PgPool;

use crate::suite::pool;

/// A statement, shortened, and what all its executions took.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct StatementTime {
    pub query: String,
    pub milliseconds: f64,
}

/// Enables `pg_stat_statements`, for which the server restarts. Returns whether the server has it.
pub async fn enable(server: &Server) -> bool {
    let admin = admin(server);
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
    execute(server, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await;
    true
}

/// Forgets what was spent until now.
pub async fn reset(server: &Server) {
    execute(server, "SELECT pg_stat_statements_reset()").await;
}

/// What was spent on the database at this URL, the most expensive statement first. Without the test's own statements.
pub async fn statement_times(server: &Server, url: &str) -> Vec<StatementTime> {
    let admin = admin(server);
    let name = url.rsplit('/').next().unwrap_or_default();
    let times = sqlx::query_as(
        "SELECT left(regexp_replace(query, '\\s+', ' ', 'g'), 70) AS query, sum(total_exec_time) AS milliseconds
        FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
        WHERE d.datname = $1 AND query !~ 'CREATE|VACUUM|dev_clock|pg_stat|pg_total'
        GROUP BY 1 ORDER BY 2 DESC",
    )
    .bind(name)
    .fetch_all(&admin)
    .await
    .expect("statistics");
    admin.close().await;
    times
}

/// What all these statements took, in microseconds.
#[must_use]
pub fn microseconds(times: &[StatementTime]) -> f64 {
    let milliseconds: f64 = times.iter().map(|time| time.milliseconds).sum();
    milliseconds * 1_000.0
}

fn admin(server: &Server) -> PgPool {
    pool(&server.url("postgres"), 1)
}

async fn execute(server: &Server, sql: &'static str) {
    let admin = admin(server);
    sqlx::raw_sql(sql).execute(&admin).await.expect(sql);
    admin.close().await;
}
