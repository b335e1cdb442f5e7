//! Restarting agents with a new version of the default image, as a roll-out says. Owns: the next step of each restart. Does
//! not own: which agents are restarted (`roll_out`), nor the jobs that carry the steps out (`app::job::run`).
//!
//! ```text
//! restart -> stop job (snapshot, then stop) -> start job with the new version, on the agent's host -> restarted
//!            |                                 `-> failed: start job with the image that it ran before -> put back
//!            |                                       `-> given up: five starts have failed; the agent is in error
//!            `-> skipped: the state cannot be saved, or no start would be admitted; the agent keeps running
//! ```
//!
//! The agent stays on its host, where its volume is, unless that is lost or removed: the volume is newer than every backup.
//! Every minute the sweep takes one step of each open restart, as it does with moves.

use std::time::Instant;

use chrono::{DateTime, Utc};
use tracing::warn;

use super::moves::{SWEEP_TIME, ask_gate, enqueue_start, enqueue_stop, leave_stopped, note};
use crate::db;
use crate::db::agents::image_restarts::OpenRestart;
use crate::db::agents::lifecycle::LockedAgent;
use crate::db::{Connection, Database};
use crate::domain::agent::{AgentStatus, StopReason};
use crate::domain::ids::AgentRef;
use crate::domain::roll_out::{RESTART_NOT_STARTED, RestartOutcome};
use crate::domain::withdrawal::{MAX_MOVE_STARTS, move_start_delay};

const STOPPED_MEANWHILE: &str = "The agent was stopped meanwhile";

/// Takes the next step of each open restart. Returns how many were taken. One that fails does not keep the others from
/// going on.
///
/// # Errors
/// The first error of the database, after every restart was attempted.
pub(super) async fn restarts_continue(pool: &Database) -> sqlx::Result<usize> {
    let mut conn = pool.statements();
    db::agents::image_restarts::restarts_forget_of_any_organization(&mut conn).await?;
    db::agents::image_restarts::restarts_transfer_of_any_organization(&mut conn).await?;
    let agents = db::agents::image_restarts::restarts_open_of_any_organization(&mut conn).await?;
    drop(conn);
    let mut steps = 0;
    let mut first_error = None;
    let started = Instant::now();
    for agent in agents {
        if started.elapsed() > SWEEP_TIME {
            warn!("not every restart was continued; the next sweep goes on");
            break;
        }
        match continue_restart(pool, agent).await {
            Ok(is_taken) => steps += usize::from(is_taken),
            Err(error) => note(&mut first_error, error, "a restart was not continued"),
        }
    }
    first_error.map_or(Ok(steps), Err)
}

/// Takes the next step of a restart. Returns `false` if there is none now.
async fn continue_restart(pool: &Database, agent: AgentRef) -> sqlx::Result<bool> {
    let mut tx = pool.begin().await?;
    db::identity::organizations::organizations_lock(&mut tx, &[agent.organization_id]).await?;
    let row = db::agents::lifecycle::agent_lock(&mut tx, agent).await?;
    let open = db::agents::image_restarts::restart_find(&mut tx, agent).await?;
    let jobs = db::jobs::queue::jobs_active(&mut tx, agent).await?;
    let (Some(row), Some(open)) = (row, open) else {
        return Ok(false);
    };
    if !jobs.is_empty() {
        return Ok(false);
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    match decide(&row, &open, now) {
        Decision::Nothing => return Ok(false),
        Decision::Stop => stop(&mut tx, agent, &row, now).await?,
        Decision::Start => start(&mut tx, agent, &row, &open, now).await?,
        Decision::PutBack => {
            db::agents::image_restarts::restart_fail(&mut tx, agent, now).await?;
            start(&mut tx, agent, &row, &open, now).await?;
        }
        Decision::GiveUp => {
            let outcome = RestartOutcome::Failed;
            end(&mut tx, agent, &row, outcome, RESTART_NOT_STARTED, now).await?;
        }
        Decision::End(outcome, error) => {
            db::agents::image_restarts::restart_end(&mut tx, agent, outcome, error, now).await?;
        }
    }
    tx.commit().await?;
    Ok(true)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// It is not time for the next step.
    Nothing,
    Stop,
    Start,
    /// The new version could not be started: the agent is started with the image that it ran before.
    PutBack,
    /// No start has succeeded, and a further one would fail, too.
    GiveUp,
    /// With a reason if the agent was skipped.
    End(RestartOutcome, Option<&'static str>),
}

/// The agent has no active job.
fn decide(row: &LockedAgent, open: &OpenRestart, now: DateTime<Utc>) -> Decision {
    let was_stopped = open.previous_image.is_some();
    let skipped = |reason| Decision::End(RestartOutcome::Skipped, Some(reason));
    match row.status {
        AgentStatus::Running if row.stop_requested => Decision::Nothing,
        AgentStatus::Running if !was_stopped => Decision::Stop,
        // An agent that was put back stays failed.
        AgentStatus::Running => Decision::End(RestartOutcome::Restarted, None),
        AgentStatus::Error if !was_stopped => skipped("The agent failed meanwhile"),
        AgentStatus::Error if !open.has_failed => Decision::PutBack,
        AgentStatus::Stopped if row.stop_reason != Some(StopReason::Drain) => {
            skipped(STOPPED_MEANWHILE)
        }
        AgentStatus::Pending => skipped(STOPPED_MEANWHILE),
        AgentStatus::Stopped | AgentStatus::Error if open.starts >= MAX_MOVE_STARTS => {
            Decision::GiveUp
        }
        AgentStatus::Stopped | AgentStatus::Error if open.start_due_at <= now => Decision::Start,
        _ => Decision::Nothing,
    }
}

/// Enqueues the stop. If no start would be admitted, the agent keeps running as it is.
async fn stop(
    conn: &mut Connection,
    agent: AgentRef,
    row: &LockedAgent,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if let Err(refusal) = ask_gate(conn, agent, row).await? {
        let outcome = RestartOutcome::Skipped;
        return end(conn, agent, row, outcome, &refusal.to_string(), now).await;
    }
    enqueue_stop(conn, agent, row, now).await?;
    Ok(())
}

async fn start(
    conn: &mut Connection,
    agent: AgentRef,
    row: &LockedAgent,
    open: &OpenRestart,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let clearance = match ask_gate(conn, agent, row).await? {
        Ok(clearance) => clearance,
        Err(refusal) => {
            let outcome = RestartOutcome::Skipped;
            return end(conn, agent, row, outcome, &refusal.to_string(), now).await;
        }
    };
    enqueue_start(conn, &clearance, row, now).await?;
    let again_at = now + move_start_delay(open.starts + 1);
    db::agents::image_restarts::restart_started(conn, agent, again_at).await
}

/// Ends a restart whose agent is not started, as a move ends.
async fn end(
    conn: &mut Connection,
    agent: AgentRef,
    row: &LockedAgent,
    outcome: RestartOutcome,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    db::agents::image_restarts::restart_end(conn, agent, outcome, Some(reason), now).await?;
    leave_stopped(conn, agent, row, Some(reason), now).await
}
