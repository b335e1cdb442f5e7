//! One job is run, once. Owns: claiming it, writing how it ended, and when it is tried again. What
//! writes does so under the fence: a worker that lost its job changes nothing any more.
//!
//! ```text
//! job.due -> claim (attempt + 1 = fence) -> start | stop -> completed
//!                                             |-> pending again, later   (the failure passes)
//!                                             `-> failed, agent in error (it does not, or no tries left)
//! ```

mod bring_up;
mod database;
mod leftovers;
mod place;
mod start;
mod stop;
pub mod webhook;
mod work;

use serde_json::json;
use sqlx::PgPool;
use tracing::{info, warn};
use uuid::Uuid;

use crate::app::agent::state::StateError;
use crate::app::host_access::{Hosts, OpenError};
use crate::db;
use crate::db::jobs::work::{Claimed, Progress};
use crate::domain::agent::Change;
use crate::domain::job::{JobFailure, Step};
use crate::domain::pricing::Prices;
use crate::hosts::EngineError;
use work::Work;

/// What a job is told when the database failed under it.
const NO_DATABASE: &str = "The database did not answer";

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// There was nothing to do: another worker has the job, it is done, or it is not due yet.
    Nothing,
    /// It is done.
    Completed,
    /// It will be tried again.
    Again,
    /// It has failed for good.
    Failed,
    /// Something else took its place while it ran.
    Lost,
    /// An older worker may still run on this database: nothing is claimed before the adoption.
    NotAdopted,
}

/// What a part of a job can end with.
enum Stop {
    Failure(JobFailure),
    Lost,
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<JobFailure> for Stop {
    fn from(failure: JobFailure) -> Self {
        Self::Failure(failure)
    }
}

impl From<OpenError> for Stop {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Engine(error) => error.into(),
            OpenError::Database(error) => error.into(),
        }
    }
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        JobFailure::Outside(error.to_string()).into()
    }
}

impl From<StateError> for Stop {
    fn from(error: StateError) -> Self {
        JobFailure::Outside(error.to_string()).into()
    }
}

/// What running a job takes.
#[derive(Clone, Copy, Debug)]
pub struct Ports<'a> {
    /// The database.
    pub pool: &'a PgPool,
    /// The price list.
    pub prices: &'a Prices,
    /// The hosts.
    pub hosts: &'a Hosts,
}

/// Runs a job that is due.
///
/// # Errors
/// Database errors; the job is then found by the sweep once it is stale.
pub async fn job_run(ports: Ports<'_>, job_id: Uuid) -> sqlx::Result<Ran> {
    let pool = ports.pool;
    let Some(job) = claim(pool, job_id).await? else {
        return Ok(Ran::Nothing);
    };
    let job = match job {
        Ok(job) => job,
        Err(ran) => return Ok(ran),
    };
    let (outcome, steps) = match job.agent_id {
        None => (Err(JobFailure::Malformed.into()), Vec::new()),
        Some(agent_id) => {
            let mut work = Work::new(ports, &job, agent_id);
            let done = if job.kind.starts() {
                start::run(&mut work).await
            } else {
                stop::run(&mut work).await
            };
            if done.is_err() {
                work.fail_step();
            }
            (done, work.steps)
        }
    };
    let ran = match outcome {
        Ok(()) => Ran::Completed,
        Err(Stop::Lost) => Ran::Lost,
        Err(Stop::Failure(failure)) => {
            let text = failure.to_string();
            give_up_try(pool, &job, &text, failure.passes(), &steps).await?
        }
        Err(Stop::Database(error)) => {
            warn!(error = db::error_class(&error), "the database failed a job");
            // If it answers again, the next try need not wait until this one is stale.
            give_up_try(pool, &job, NO_DATABASE, true, &steps).await?
        }
    };
    info!(job.id = %job.id, job.kind = job.kind.as_str(), job.attempt = job.attempt, ?ran, "job ran");
    Ok(ran)
}

/// The outer option: whether there was anything to claim; the inner result: whether to go on.
async fn claim(pool: &PgPool, job_id: Uuid) -> sqlx::Result<Option<Result<Claimed, Ran>>> {
    let mut tx = pool.begin().await?;
    let (now, adoption_required) = db::clock::readiness(&mut tx).await?;
    if adoption_required {
        return Ok(Some(Err(Ran::NotAdopted)));
    }
    let Some(job) = db::jobs::work::job_claim(&mut tx, job_id, now).await? else {
        return Ok(None);
    };
    // A job that names somebody else's agent must not stand in its owner's way.
    if let Some(agent_id) = job.agent_id.filter(|_| job.agent_known)
        && !db::jobs::work::job_adopt(&mut tx, job.id, agent_id).await?
    {
        let progress = failed("Another job does this already");
        db::jobs::work::job_write(&mut tx, (job.id, job.attempt), &progress, now).await?;
        tx.commit().await?;
        return Ok(Some(Err(Ran::Failed)));
    }
    tx.commit().await?;
    Ok(Some(Ok(job)))
}

/// Ends a try without success: the job is due again later, or has failed for good. Then an agent that
/// it was starting is in error, and says why.
///
/// # Errors
/// Database errors.
pub(super) async fn give_up_try(
    pool: &PgPool,
    job: &Claimed,
    error: &str,
    passes: bool,
    steps: &[Step],
) -> sqlx::Result<Ran> {
    let mut tx = pool.begin().await?;
    let agent = match job.agent_id {
        Some(id) => db::agents::owner::agent_lock(&mut tx, job.organization_id, id).await?,
        None => None,
    };
    let now = db::clock::billing_clock(&mut tx).await?;
    let wait = job.kind.retry_after(job.attempt).filter(|_| passes);
    let steps = (!steps.is_empty()).then(|| json!(steps));
    let progress = Progress {
        steps: steps.as_ref(),
        status: if wait.is_some() { "pending" } else { "failed" },
        again_at: wait.map(|wait| now + wait),
        ..failed(error)
    };
    if !db::jobs::work::job_write(&mut tx, (job.id, job.attempt), &progress, now).await? {
        return Ok(Ran::Lost);
    }
    if let (None, true, Some(agent), Some(id)) = (wait, job.kind.starts(), agent, job.agent_id)
        && let Ok(to) = agent.status.after(Change::FailStart)
    {
        let ids = (job.organization_id, id);
        let change = (agent.status, to);
        db::agents::owner::agent_move(&mut tx, ids, change, Some(error), now).await?;
    }
    tx.commit().await?;
    if wait.is_some() {
        return Ok(Ran::Again);
    }
    warn!(job.id = %job.id, job.kind = job.kind.as_str(), error, "a job failed for good");
    Ok(Ran::Failed)
}

fn failed(error: &str) -> Progress<'_> {
    Progress {
        status: "failed",
        steps: None,
        result: None,
        error: Some(error),
        again_at: None,
    }
}
