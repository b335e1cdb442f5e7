//! The sweep, every minute. It takes no input: it does everything that is due.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::app::agent::automatic_resume::agents_resume;
use crate::app::agent::moves::moves_continue;
use crate::app::agent::roll_out::roll_out_continue;
use crate::app::job::sweep::{MeasuredBacklog, job_sweep};
use crate::app::node::lost::lost_hosts_continue;
use crate::db;
use crate::db::Database;
use crate::domain::lane::{Backlog, LaneBacklog};
use crate::domain::pricing::Prices;
use crate::events::Publisher;
use crate::metrics::{self, BacklogMetrics, LaneMetrics};

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub publisher: Publisher,
    /// The credit gate is asked before agents are started again.
    pub prices: Prices,
}

/// Counts only.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepResult {
    published: usize,
    /// Batches of product events.
    batches: usize,
    recovered: usize,
    #[serde(rename = "orphaned")]
    ended_starts: u64,
    stops: usize,
    /// Agents that a top-up started again.
    resumed: usize,
    /// Agents that were freed from lost hosts.
    freed: usize,
    /// Steps of moves to other hosts, and of restarts with a new default image.
    moves: usize,
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
    // First, so that the sweep announces the jobs and publishes the events. It does its other duties even if this fails.
    let resumed = agents_resume(&deps.pool, &deps.prices).await;
    let freed = lost_hosts_continue(&deps.pool).await;
    let moves = moves_continue(&deps.pool).await;
    let restarts = roll_out_continue(&deps.pool).await;
    let report = job_sweep(&deps.pool, &deps.publisher).await?;
    if let Some(measured) = report.backlog {
        let MeasuredBacklog { backlog, at, .. } = measured;
        metrics::record_backlog(&backlog_metrics(&backlog, at), at);
        if let Some(percent) = measured.connections_percent {
            metrics::record_connections(percent, at);
        }
    }
    let (resumed, freed, moves, restarts) = (resumed?, freed?, moves?, restarts?);
    let not_accepted = report.unpublished
        + report.unpublished_batches
        + report.unannounced_jobs
        + report.unannounced_tombstones;
    if not_accepted > 0 {
        return Err(SweepError::NotAccepted(not_accepted));
    }
    Ok(SweepResult {
        published: report.published,
        batches: report.published_batches,
        recovered: report.recovered_jobs,
        ended_starts: report.ended_starts,
        stops: report.enqueued_stops,
        resumed: resumed.resumed,
        freed,
        moves: moves.enqueued + moves.ended + restarts,
        announced: report.announced_jobs,
        tombstones: report.announced_tombstones,
        forgotten: report.deleted_idempotency_keys,
    })
}

fn backlog_metrics(backlog: &Backlog, at: DateTime<Utc>) -> BacklogMetrics {
    let of_lane = |lane: LaneBacklog| LaneMetrics {
        due: lane.due,
        running: lane.running,
        oldest: lane.age(at),
    };
    BacklogMetrics {
        stops: of_lane(backlog.stops),
        starts: of_lane(backlog.starts),
    }
}
