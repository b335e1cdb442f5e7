//! Suspending an agent: it stops and keeps what it needs to start again. Owns: what the request does in each status.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::job_request::publish_and_wait;
use super::stop_request::{StopDeps, StoppableAgent, lock_for_stop};
use crate::app::error::RequestError;
use crate::app::idempotency::{IdempotencyKey, run_once};
use crate::db;
use crate::db::Connection;
use crate::db::agents::lifecycle::StatusChange;
use crate::db::jobs::queue::JobRecord;
use crate::domain::agent::{AgentEvent, AgentStatus, StatusConflict, StopCause, StopReason};
use crate::domain::ids::{AgentRef, JobId};
use crate::domain::job::{DueJob, JobClass, JobKind, StepName, StepStatus};

/// `previous_status` is the database's word for the status before the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Suspended {
    AlreadyStopped,
    /// The agent had no container; its status is `stopped` now. Its start, if one waited, has ended.
    WithoutJob {
        previous_status: String,
    },
    /// A job will stop the agent.
    Enqueued {
        job_id: JobId,
        previous_status: String,
    },
    /// A job has stopped the agent.
    Stopped {
        previous_status: String,
        /// Whether the job saved the agent's state; `None` if there was no state to save.
        is_state_saved: Option<bool>,
    },
}

/// Suspends an agent at its owner's request, and waits for the stop job as long as a request may.
pub async fn agent_suspend(
    deps: StopDeps<'_>,
    agent: AgentRef,
    key: IdempotencyKey,
) -> Result<Suspended, RequestError> {
    run_once(deps.pool, key, async |guard| {
        let mut tx = deps.pool.begin().await?;
        let cause = StopReason::Owner.into();
        let suspended = suspend(&mut tx, agent, cause).await?.suspended;
        guard.complete(&mut tx, &suspended).await?;
        tx.commit().await?;
        let Suspended::Enqueued {
            job_id,
            previous_status,
        } = &suspended
        else {
            return Ok(suspended);
        };
        let StopDeps { pool, publisher } = deps;
        let due = DueJob {
            id: *job_id,
            lane: JobClass::Stop,
        };
        let job = publish_and_wait(pool, publisher, agent.organization_id, due).await?;
        let Some(job) = job else {
            return Ok(suspended);
        };
        let stopped = Suspended::Stopped {
            previous_status: previous_status.clone(),
            is_state_saved: is_state_saved(&job),
        };
        guard.amend(pool, &stopped).await;
        Ok(stopped)
    })
    .await
}

/// Whether the job's snapshot step succeeded; `None` if the job has no such step.
fn is_state_saved(job: &JobRecord) -> Option<bool> {
    let status = job.step_status(StepName::Snapshot)?;
    Some(status == StepStatus::Done)
}

/// A suspension that takes effect when its transaction commits.
pub(super) struct Suspension {
    pub(super) suspended: Suspended,
    /// Whether the agent stands still because of this request. If not, it was stopped before, or is being stopped.
    pub(super) is_cause: bool,
    pub(super) agent_name: Option<String>,
    pub(super) now: DateTime<Utc>,
}

/// Requests the stop. Whoever requests it replaces what stops the agent now and would let it start again by itself. A stop
/// that its owner or an operator has requested before stays theirs if an operator requests it once more.
pub(super) async fn suspend(
    conn: &mut Connection,
    agent: AgentRef,
    cause: StopCause<'_>,
) -> Result<Suspension, RequestError> {
    let stoppable = lock_for_stop(conn, agent).await?;
    let StoppableAgent {
        row,
        jobs,
        has_ended_start,
        now,
        ..
    } = &stoppable;
    let previous_status = row.status.as_str().to_owned();
    let mut is_cause = true;
    let suspended = if let Some(job) = jobs.first() {
        if job.kind == JobKind::Delete {
            return Err(StatusConflict("Agent is being deleted").into());
        }
        // The job that begins a move stops the agent only if its state can be saved. This stop is not conditional.
        let runs = matches!(row.status, AgentStatus::Running | AgentStatus::Disconnected);
        let was_requested = matches!(
            row.stop_reason,
            Some(StopReason::Owner | StopReason::Operator)
        );
        if runs && !row.stop_requested {
            stoppable.end_metering(conn, cause).await?;
        } else if was_requested && !has_ended_start && cause.reason == StopReason::Operator {
            is_cause = false;
        } else {
            stoppable.take_over(conn, cause).await?;
        }
        Suspended::Enqueued {
            job_id: job.id,
            previous_status,
        }
    } else if row.status == AgentStatus::Stopped {
        // From now on neither a top-up nor the move that the agent is stopped for starts it again.
        let is_restarted = matches!(
            row.stop_reason,
            Some(StopReason::Billing | StopReason::Drain)
        );
        is_cause = is_restarted || *has_ended_start;
        if is_cause {
            stoppable.take_over(conn, cause).await?;
        }
        if *has_ended_start {
            Suspended::WithoutJob { previous_status }
        } else {
            Suspended::AlreadyStopped
        }
    } else {
        row.status.after(AgentEvent::StopRequested)?;
        if stoppable.expects_container() {
            stoppable.end_metering(conn, cause).await?;
            let kind = JobKind::Suspend;
            Suspended::Enqueued {
                job_id: stoppable.enqueue(conn, kind, cause.reason).await?,
                previous_status,
            }
        } else {
            let change = StatusChange {
                from: row.status,
                to: row.status.after(AgentEvent::StopFinished)?,
            };
            db::agents::lifecycle::agent_change_status(conn, agent, change, None, *now).await?;
            stoppable.take_over(conn, cause).await?;
            Suspended::WithoutJob { previous_status }
        }
    };
    Ok(Suspension {
        suspended,
        is_cause,
        now: stoppable.now,
        agent_name: stoppable.row.name,
    })
}
