//! The sweep, every minute. It takes no input: it does everything that is due.

use serde::Serialize;

use crate::app::job::sweep::job_sweep;
use crate::db;
use crate::db::Database;
use crate::events::Publisher;

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub publisher: Publisher,
}

/// Counts only.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepResult {
    published: usize,
    recovered: usize,
    #[serde(rename = "orphaned")]
    ended_starts: u64,
    stops: usize,
    #[serde(rename = "told")]
    announced: usize,
    tombstones: usize,
    forgotten: u64,
}

/// Why the sweep is not complete. What it has done stays done.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// `EventBridge` did not accept all events. The next sweep publishes the others.
    #[error("events not accepted by EventBridge: {0}; the next sweep publishes them again")]
    NotAccepted(usize),
    #[error("the database request failed ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
}

pub async fn handle(deps: &Deps) -> Result<SweepResult, SweepError> {
    let report = job_sweep(&deps.pool, &deps.publisher).await?;
    let not_accepted = report.unpublished + report.unannounced_jobs + report.unannounced_tombstones;
    if not_accepted > 0 {
        return Err(SweepError::NotAccepted(not_accepted));
    }
    Ok(SweepResult {
        published: report.published,
        recovered: report.recovered_jobs,
        ended_starts: report.ended_starts,
        stops: report.enqueued_stops,
        announced: report.announced_jobs,
        tombstones: report.announced_tombstones,
        forgotten: report.deleted_idempotency_keys,
    })
}
