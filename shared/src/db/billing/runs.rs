//! `billing_runs`: one row per billing run. Owns: recording it.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;

use crate::db::session::Connection;

/// The figures of a billing run.
#[derive(Clone, Debug, Default)]
pub struct RunCounts {
    pub organizations: i32,
    pub agents_processed: i32,
    pub agents_billed: i32,
    pub slices: i32,
    pub warned: i32,
    pub suspended: i32,
    /// Organizations that could not be decided.
    pub errors: i32,
    pub repaired_spans: i32,
    pub revenue: Decimal,
    pub owed: Decimal,
    pub written_off: Decimal,
    /// Debt of organizations that are deleted.
    pub uncollected: Decimal,
    /// The organizations that could not be decided, and why.
    pub failures: Value,
    /// The period up to which the organization that has waited longest is decided; `None` if all are decided.
    pub oldest_undecided: Option<DateTime<Utc>>,
}

/// Records that a run began. Returns the run's id.
pub async fn run_start(
    conn: &mut Connection,
    period_end: DateTime<Utc>,
    source: &str,
    started_at: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "INSERT INTO cloud.billing_runs (period_end, source, started_at) VALUES ($1, $2, $3) RETURNING id",
        period_end,
        source,
        started_at
    )
    .fetch_one(conn)
    .await
}

/// Records how a run ended. Returns the time of billing's clock.
pub async fn run_finish(
    conn: &mut Connection,
    id: i64,
    complete: bool,
    counts: &RunCounts,
) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(
        r#"UPDATE cloud.billing_runs SET finished_at = cloud.billing_clock(), complete = $2, organizations = $3,
            agents_processed = $4, agents_billed = $5, slices = $6, warned = $7, suspended = $8,
            errors = $9, repaired_spans = $10, revenue = $11, owed = $12, written_off = $13, uncollected = $14,
            failures = $15, oldest_undecided = $16
        WHERE id = $1 RETURNING finished_at AS "finished_at!""#,
        id,
        complete,
        counts.organizations,
        counts.agents_processed,
        counts.agents_billed,
        counts.slices,
        counts.warned,
        counts.suspended,
        counts.errors,
        counts.repaired_spans,
        counts.revenue,
        counts.owed,
        counts.written_off,
        counts.uncollected,
        counts.failures,
        counts.oldest_undecided
    )
    .fetch_one(conn)
    .await
}
