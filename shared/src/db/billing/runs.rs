//! `billing_runs`: one row per billing run. Owns: recording it, and the list of runs.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use crate::db::session::Connection;
use crate::domain::ids::OrganizationId;

/// The figures of a billing run.
#[derive(Clone, Debug, Default)]
pub struct RunCounts {
    pub organizations: i32,
    pub agents_processed: i32,
    pub agents_billed: i32,
    pub slices: i32,
    pub warned: i32,
    pub suspended: i32,
    /// Organizations that could not be decided, or whose metering could not be repaired.
    pub errors: i32,
    pub repaired_spans: i32,
    pub revenue: Decimal,
    pub owed: Decimal,
    pub written_off: Decimal,
    /// Debt of organizations that are deleted.
    pub uncollected: Decimal,
    /// The organizations counted in `errors`, and why; at most 100.
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

/// A billing run as it was recorded.
#[derive(Clone, Debug)]
pub struct RunRecord {
    pub id: i64,
    pub period_end: DateTime<Utc>,
    pub source: String,
    pub started_at: DateTime<Utc>,
    /// `None` for a run that has not ended, or has died.
    pub finished_at: Option<DateTime<Utc>>,
    pub complete: bool,
    pub counts: RunCounts,
}

/// An organization that failed in a run, as [`RunCounts::failures`] lists it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunFailure {
    pub organization_id: OrganizationId,
    /// The class of the error.
    pub reason: String,
}

impl RunRecord {
    #[must_use]
    pub fn failures(&self) -> Vec<RunFailure> {
        serde_json::from_value(self.counts.failures.clone()).unwrap_or_default()
    }
}

/// One page of runs, newest first, before the run with this id.
pub async fn runs_page(
    conn: &mut Connection,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<RunRecord>> {
    let rows = sqlx::query!(
        "SELECT id, period_end, source, started_at, finished_at, complete, organizations, agents_processed,
            agents_billed, slices, warned, suspended, errors, repaired_spans, revenue, owed, written_off,
            uncollected, failures, oldest_undecided
        FROM cloud.billing_runs WHERE $1::bigint IS NULL OR id < $1 ORDER BY id DESC LIMIT $2",
        before,
        limit
    )
    .fetch_all(conn)
    .await?;
    let runs = rows.into_iter().map(|row| RunRecord {
        id: row.id,
        period_end: row.period_end,
        source: row.source,
        started_at: row.started_at,
        finished_at: row.finished_at,
        complete: row.complete,
        counts: RunCounts {
            organizations: row.organizations,
            agents_processed: row.agents_processed,
            agents_billed: row.agents_billed,
            slices: row.slices,
            warned: row.warned,
            suspended: row.suspended,
            errors: row.errors,
            repaired_spans: row.repaired_spans,
            revenue: row.revenue,
            owed: row.owed,
            written_off: row.written_off,
            uncollected: row.uncollected,
            failures: row.failures,
            oldest_undecided: row.oldest_undecided,
        },
    });
    Ok(runs.collect())
}
