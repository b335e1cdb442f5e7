//! Running one attempt of a job. Owns: claiming the job, and how the attempt ends. Every write of a worker is fenced by
//! the number of its attempt: a worker that lost its job changes nothing any more.
//!
//! ```text
//! job.due -> claim (attempt + 1 = fence) -> body of its kind -> completed
//!                                             |-> pending again, due later  (another attempt may succeed)
//!                                             `-> failed, agent in error    (it cannot, or no attempt is left)
//! ```

mod attempt;
mod cleanup;
mod context;
mod database;
mod death;
mod definition;
mod error;
mod health;
mod kind;
mod launch;
mod launch_spec;
mod placement;
mod start;
mod stop;
mod surplus;
pub mod teardown;
mod volume_copy;
pub mod webhook;

use tracing::{info, warn};

use crate::db;
use crate::db::jobs::lanes::{Announce, WaitingJob};
use crate::db::jobs::worker::{ClaimedJob, JobProgress};
use crate::db::{Connection, Database};
use crate::domain::ids::{AgentRef, JobId};
use crate::domain::job::{DueJob, JobClass, JobFailure, JobStatus, Step};
use crate::domain::lane;

pub use attempt::JobOutcome;
pub(super) use attempt::{FailedAttempt, finish_failed_attempt};
use context::JobContext;
pub use context::JobDeps;
use error::StepError;

const DUPLICATE_JOB_ERROR: &str = "Another job of this kind is active for the agent";

/// Runs an attempt of a job that is due.
///
/// # Errors
/// The database fails while the job is claimed or while the attempt's end is recorded. The sweep recovers the job once
/// it is stale.
pub async fn job_run(deps: JobDeps<'_>, job_id: JobId) -> sqlx::Result<JobOutcome> {
    let job = match claim(deps.pool, job_id).await? {
        Claim::Claimed(job) => job,
        Claim::Ended(outcome) => return Ok(outcome),
    };
    let Attempt { result, steps } = run_steps(deps, &job).await;
    match result {
        Ok(()) => {
            info!(
                job.id = %job.id, job.kind = job.kind.as_str(), attempt = job.attempt,
                "job {} completed", job.id
            );
            Ok(JobOutcome::Completed)
        }
        Err(StepError::Lost) => {
            info!(
                job.id = %job.id, job.kind = job.kind.as_str(), attempt = job.attempt,
                "job {} was lost; its worker stops", job.id
            );
            Ok(JobOutcome::Lost)
        }
        Err(error) => {
            let attempt = FailedAttempt {
                error: &error.to_string(),
                is_retryable: error.is_retryable(),
                is_out_of_time: matches!(
                    error,
                    StepError::OutOfTime | StepError::PullUnfinished | StepError::CopyRefused(_)
                ),
                is_unspent: matches!(error, StepError::PullUnfinished | StepError::CopyRefused(_)),
                steps: &steps,
            };
            let outcome = finish_failed_attempt(deps.pool, &job, &attempt).await;
            log_failure(&job, &error, &outcome);
            outcome
        }
    }
}

/// A job of the lane that an earlier worker found no room for and that has some now, for a worker that has ended its own
/// job: otherwise the job would wait for the next sweep.
///
/// # Errors
/// The database fails. The sweep announces the job.
pub async fn job_turned_away(pool: &Database, lane: JobClass) -> sqlx::Result<Option<DueJob>> {
    let mut conn = pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    let announce = Announce::OneTurnedAway;
    let jobs =
        db::jobs::lanes::jobs_announce_of_any_organization(&mut conn, lane, announce, now).await?;
    Ok(jobs.first().copied())
}

/// The only log line about a failed attempt.
fn log_failure(job: &ClaimedJob, error: &StepError, outcome: &sqlx::Result<JobOutcome>) {
    let consequence = match outcome {
        Ok(JobOutcome::Retried) => "it is retried later",
        Ok(JobOutcome::Lost) => "it was lost meanwhile",
        Ok(_) => "it is not retried",
        Err(_) => "the failure could not be recorded; the sweep recovers the job",
    };
    let cause = error.cause();
    let agent_id = job.agent_id.map(tracing::field::display);
    warn!(
        job.id = %job.id, job.kind = job.kind.as_str(), attempt = job.attempt, agent.id = agent_id,
        %error, cause, "job {} failed: {error}; {consequence}", job.id
    );
}

enum Claim {
    Claimed(ClaimedJob),
    /// There is no attempt to run.
    Ended(JobOutcome),
}

async fn claim(pool: &Database, job_id: JobId) -> sqlx::Result<Claim> {
    let mut tx = pool.begin().await?;
    let readiness = db::clock::readiness(&mut tx).await?;
    let now = readiness.now;
    if readiness.adoption_required {
        return Ok(Claim::Ended(JobOutcome::NotAdopted));
    }
    let waiting = db::jobs::lanes::job_waiting_of_any_organization(&mut tx, job_id, now).await?;
    if let Some(waiting) = waiting
        && !has_room(&mut tx, &waiting).await?
    {
        db::jobs::lanes::job_turn_away_of_any_organization(&mut tx, job_id, now).await?;
        tx.commit().await?;
        info!(
            job.id = %job_id, lane = waiting.lane.as_str(),
            "job {job_id} waits: as many jobs of its organization, or on its host, run as may"
        );
        return Ok(Claim::Ended(JobOutcome::Waiting));
    }
    let Some(job) = db::jobs::worker::job_claim_of_any_organization(&mut tx, job_id, now).await?
    else {
        return Ok(Claim::Ended(JobOutcome::NothingToDo));
    };
    // Only an agent of the job's own organization: otherwise the job would occupy the one-job index of an agent that
    // belongs to somebody else, and its owner could not start or stop it.
    let agent = job.agent_id.filter(|_| job.agent_exists);
    let agent = agent.map(|agent_id| AgentRef {
        organization_id: job.organization_id,
        agent_id,
    });
    if let Some(agent) = agent
        && !db::jobs::worker::job_assign_agent(&mut tx, &job, agent).await?
    {
        let progress = JobProgress {
            status: JobStatus::Failed,
            steps: None,
            result: None,
            error: Some(DUPLICATE_JOB_ERROR),
            again_at: None,
        };
        db::jobs::worker::job_write(&mut tx, job.fence(), &progress, now).await?;
        tx.commit().await?;
        warn!(
            job.id = %job.id, job.kind = job.kind.as_str(),
            "job {} failed: another job of its kind is active for the agent", job.id
        );
        return Ok(Claim::Ended(JobOutcome::Failed));
    }
    tx.commit().await?;
    Ok(Claim::Claimed(job))
}

/// Whether there is room in the lane for one more job of the organization and on the host. Other workers that want to begin
/// one wait until the transaction ends.
async fn has_room(conn: &mut Connection, job: &WaitingJob) -> sqlx::Result<bool> {
    db::jobs::lanes::lane_lock(conn, job).await?;
    let limits = db::identity::limits::limits_find(conn, job.organization_id).await?;
    let running = db::jobs::lanes::jobs_running_of_any_organization(conn, job).await?;
    Ok(lane::has_room(job.lane, limits, running))
}

struct Attempt {
    result: Result<(), StepError>,
    /// Only of an attempt that failed: a completed job has recorded its steps itself.
    steps: Vec<Step>,
}

async fn run_steps(deps: JobDeps<'_>, job: &ClaimedJob) -> Attempt {
    let Some(agent_id) = job.agent_id else {
        return Attempt {
            result: Err(JobFailure::Malformed.into()),
            steps: Vec::new(),
        };
    };
    let definition = kind::definition(job.kind);
    let mut context = JobContext::new(deps, job, agent_id, definition.steps);
    let result = (definition.run)(&mut context).await;
    Attempt {
        result,
        steps: context.into_failed_steps(),
    }
}
