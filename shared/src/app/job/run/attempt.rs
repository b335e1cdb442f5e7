//! How an attempt of a job ends without success. Owns: whether the job is retried later or has failed for good, and
//! what that means for the agent.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::db;
use crate::db::agents::lifecycle::StatusChange;
use crate::db::jobs::worker::{ClaimedJob, JobProgress};
use crate::db::{Connection, Database};
use crate::domain::agent::AgentEvent;
use crate::domain::ids::AgentRef;
use crate::domain::job::{JobStatus, Step};
use crate::domain::limits::STARTS;

/// How many attempts of a job may be kept unspent. Few, because many engines begin a pull that was broken off anew: what takes
/// longer than an attempt is never pulled there.
const MAX_UNSPENT_ATTEMPTS: i32 = 2;

/// How a run of a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// There was nothing to do: another worker has the job, it has ended, or it is not due yet.
    NothingToDo,
    /// As many jobs of the organization, or on the host, run as may. The job waits: a worker that has ended another one
    /// goes on with it, or the sweep announces it again.
    Waiting,
    Completed,
    /// The attempt failed, and the job is due again later.
    Retried,
    /// The job has failed for good.
    Failed,
    /// The job's fence was raised while it ran: something else took its place.
    Lost,
    /// The existing deployment is not adopted yet. Its older worker may still run, so no job is claimed.
    NotAdopted,
}

/// An attempt that ended without success.
pub(in crate::app::job) struct FailedAttempt<'a> {
    /// Shown to the owner.
    pub(in crate::app::job) error: &'a str,
    pub(in crate::app::job) is_retryable: bool,
    /// The function had too little time left for the next step, or the next attempt takes another way. It is due at once.
    pub(in crate::app::job) is_out_of_time: bool,
    /// The attempt does not count against the limit of attempts, unless too many did not: its image was not pulled in time, or
    /// the next attempt starts the agent where its volume is.
    pub(in crate::app::job) is_unspent: bool,
    /// If there are none, the recorded ones stay.
    pub(in crate::app::job) steps: &'a [Step],
}

/// Ends a failed attempt: the job is due again later, or has failed for good. A start also fails for good if its agent may
/// not be started again by the time of the next attempt. If a start has failed for good, its agent goes to `error`.
pub(in crate::app::job) async fn finish_failed_attempt(
    pool: &Database,
    job: &ClaimedJob,
    attempt: &FailedAttempt<'_>,
) -> sqlx::Result<JobOutcome> {
    let mut tx = pool.begin().await?;
    let agent = job.agent_id.map(|agent_id| AgentRef {
        organization_id: job.organization_id,
        agent_id,
    });
    // Requests lock the agent before they change its jobs: the other order could deadlock.
    let locked = match agent {
        Some(agent) => db::agents::lifecycle::agent_lock(&mut tx, agent).await?,
        None => None,
    };
    let now = db::clock::billing_clock(&mut tx).await?;
    let retry = job.kind.retry();
    let is_unspent = attempt.is_unspent && job.unspent_attempts < MAX_UNSPENT_ATTEMPTS;
    let spent_attempts = job.attempt - job.unspent_attempts - i32::from(is_unspent);
    let mut wait = retry
        .wait_after(spent_attempts)
        .filter(|_| attempt.is_retryable)
        .map(|wait| {
            if attempt.is_out_of_time {
                TimeDelta::zero()
            } else {
                wait
            }
        });
    if let (Some(pause), true, Some(agent)) = (wait, job.kind.is_start(), agent)
        && !may_start(&mut tx, agent, now + pause).await?
    {
        wait = None;
    }
    let steps = (!attempt.steps.is_empty()).then(|| json!(attempt.steps));
    let status = match wait {
        Some(_) => JobStatus::Pending,
        None => JobStatus::Failed,
    };
    let progress = JobProgress {
        status,
        steps: steps.as_ref(),
        result: None,
        error: Some(attempt.error),
        again_at: wait.map(|wait| now + wait),
    };
    if is_unspent {
        db::jobs::worker::attempt_keep_unspent(&mut tx, job.fence()).await?;
    }
    if !db::jobs::worker::job_write(&mut tx, job.fence(), &progress, now).await? {
        return Ok(JobOutcome::Lost);
    }
    if let (None, true, Some(locked), Some(agent)) = (wait, job.kind.is_start(), locked, agent)
        && let Ok(to) = locked.status.after(AgentEvent::StartFailed)
    {
        let change = StatusChange {
            from: locked.status,
            to,
        };
        db::agents::lifecycle::agent_change_status(
            &mut tx,
            agent,
            change,
            Some(attempt.error),
            now,
        )
        .await?;
    }
    tx.commit().await?;
    Ok(match wait {
        Some(_) => JobOutcome::Retried,
        None => JobOutcome::Failed,
    })
}

/// Whether the agent may have another attempt to start it at this time. This one counts already. Without this check a
/// start that is accepted last would have as many attempts more as a job may have.
async fn may_start(
    conn: &mut Connection,
    agent: AgentRef,
    at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let limits = db::identity::limits::limits_find(conn, agent.organization_id).await?;
    let recent = db::jobs::queue::starts_since(conn, agent, at - STARTS.period).await?;
    Ok(limits.check_rate(STARTS, &recent, at).is_ok())
}
