//! An agent is asked to stop (suspend) or to go for good (delete). Owns: what becomes of the request
//! in each state. Accepting it ends metering, however late the host answers: a job does it, and the
//! request waits for that job as long as it may.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::app::error::RequestError;
use crate::app::idempotency::{Begun, Once, Repeatable, begin};
use crate::app::job::wait::job_await;
use crate::app::publish;
use crate::db;
use crate::db::agents::owner::Locked;
use crate::db::jobs::queue::{Active, Job, Stop};
use crate::domain::agent::{AgentStatus, Change, NotNow};
use crate::domain::job::JobKind;
use crate::events::Publisher;

/// What stopping takes.
#[derive(Clone, Copy, Debug)]
pub struct Ports<'a> {
    /// The database.
    pub pool: &'a PgPool,
    /// Who is told that the job is due.
    pub publisher: &'a Publisher,
}

/// How a request to suspend was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Suspended {
    /// It was stopped already.
    Already,
    /// It had nothing running; it is stopped now. Its status before.
    Done(String),
    /// This job stops it. Its status before.
    Enqueued(Uuid, String),
    /// Its container is gone. Its status before, and whether its state could be saved; none where there
    /// was nothing to save.
    Stopped(String, Option<bool>),
}

/// How a request to delete was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Done,
    /// This job removes what is left of it on a host, and then the rest.
    Enqueued(Uuid),
}

/// Stops an agent and keeps what it needs to go on later.
///
/// # Errors
/// [`RequestError`]; then nothing has changed.
pub async fn agent_suspend(
    ports: Ports<'_>,
    agent: (Uuid, Uuid),
    repeatable: Repeatable,
) -> Result<Suspended, RequestError> {
    let mut once = match begin(ports.pool, repeatable).await? {
        Begun::Again(suspended) => return Ok(suspended),
        Begun::First(once) => once,
    };
    let result = suspend(ports.pool, agent, &mut once).await;
    let suspended = once.settle(ports.pool, result).await?;
    let Suspended::Enqueued(job, before) = &suspended else {
        return Ok(suspended);
    };
    let Some(done) = see_done(ports, agent.0, *job).await? else {
        return Ok(suspended);
    };
    let stopped = Suspended::Stopped(before.clone(), saved(&done));
    once.amend(ports.pool, &stopped).await;
    Ok(stopped)
}

fn saved(job: &Job) -> Option<bool> {
    let steps = job.steps.as_ref()?.as_array()?;
    let step = steps.iter().find(|step| step["name"] == "snapshot")?;
    Some(step["status"] == "done")
}

/// Says that a job is due, and sees whether it is done within what a request may take. None if that
/// takes longer, or nobody could be told.
async fn see_done(
    ports: Ports<'_>,
    organization_id: Uuid,
    job_id: Uuid,
) -> Result<Option<Job>, RequestError> {
    if publish::jobs_due(ports.publisher, &[job_id]).await == 0 {
        return Ok(None);
    }
    let job = job_await(ports.pool, organization_id, job_id).await?;
    Ok(job.filter(|job| job.status == "completed"))
}

async fn suspend(
    pool: &PgPool,
    (organization_id, agent_id): (Uuid, Uuid),
    once: &mut Once,
) -> Result<Suspended, RequestError> {
    let mut tx = pool.begin().await?;
    let (agent, jobs, now) = look(&mut tx, organization_id, agent_id).await?;
    let before = agent.status.as_str().to_owned();
    let suspended = if let Some(job) = jobs.first() {
        if job.kind == JobKind::Delete {
            return Err(NotNow("Agent is being deleted").into());
        }
        Suspended::Enqueued(job.id, before)
    } else if agent.status == AgentStatus::Stopped {
        Suspended::Already
    } else {
        agent.status.after(Change::AskStop)?;
        if agent.status.expects_container(agent.recorded) {
            db::agents::owner::agent_ask_stop(&mut tx, organization_id, agent_id, now).await?;
            let stop = stop(organization_id, agent_id, &agent);
            let job = enqueue(&mut tx, JobKind::Suspend, &stop, now).await?;
            Suspended::Enqueued(job, before)
        } else {
            let to = agent.status.after(Change::FinishStop)?;
            let change = (agent.status, to);
            let ids = (organization_id, agent_id);
            db::agents::owner::agent_move(&mut tx, ids, change, None, now).await?;
            Suspended::Done(before)
        }
    };
    once.complete(&mut tx, &suspended).await?;
    tx.commit().await?;
    Ok(suspended)
}

/// Stops an agent and removes all of it.
///
/// # Errors
/// [`RequestError`]; then nothing has changed.
pub async fn agent_delete(
    ports: Ports<'_>,
    organization_id: Uuid,
    agent_id: Uuid,
) -> Result<Deleted, RequestError> {
    let mut tx = ports.pool.begin().await?;
    let (agent, jobs, now) = look(&mut tx, organization_id, agent_id).await?;
    if let Some(job) = jobs.iter().find(|job| job.kind == JobKind::Delete) {
        drop(tx);
        let done = see_done(ports, organization_id, job.id).await?;
        return Ok(done.map_or(Deleted::Enqueued(job.id), |_| Deleted::Done));
    }
    agent.status.after(Change::AskDelete)?;
    for job in &jobs {
        let reason = "Superseded by the agent's deletion";
        db::jobs::queue::job_supersede(&mut tx, job.id, false, reason, now).await?;
    }
    if !agent.leftovers && !agent.status.expects_container(agent.recorded) {
        db::agents::owner::agent_delete(&mut tx, organization_id, agent_id).await?;
        tx.commit().await?;
        return Ok(Deleted::Done);
    }
    db::agents::owner::agent_ask_stop(&mut tx, organization_id, agent_id, now).await?;
    db::agents::owner::agent_drop_backups(&mut tx, organization_id, agent_id).await?;
    let stop = stop(organization_id, agent_id, &agent);
    let job = enqueue(&mut tx, JobKind::Delete, &stop, now).await?;
    tx.commit().await?;
    let done = see_done(ports, organization_id, job).await?;
    Ok(done.map_or(Deleted::Enqueued(job), |_| Deleted::Done))
}

/// The agent under its lock and its stop jobs. A start job always ends, so it is waited for.
async fn look(
    conn: &mut PgConnection,
    organization_id: Uuid,
    agent_id: Uuid,
) -> Result<(Locked, Vec<Active>, DateTime<Utc>), RequestError> {
    let agent = db::agents::owner::agent_lock(conn, organization_id, agent_id)
        .await?
        .ok_or(RequestError::NO_AGENT)?;
    let jobs = db::jobs::queue::jobs_active(conn, organization_id, agent_id).await?;
    if jobs.iter().any(|job| job.kind.starts()) {
        return Err(NotNow("Agent provisioning is in progress").into());
    }
    let now = db::clock::billing_clock(conn).await?;
    Ok((agent, jobs, now))
}

fn stop(organization_id: Uuid, agent_id: Uuid, agent: &Locked) -> Stop {
    Stop {
        organization_id,
        user_id: agent.user_id,
        agent_id,
        agent_name: agent.name.clone(),
        reason: "owner",
    }
}

async fn enqueue(
    conn: &mut PgConnection,
    kind: JobKind,
    stop: &Stop,
    now: DateTime<Utc>,
) -> Result<Uuid, RequestError> {
    // Only a writer that does not hold the agent's lock could have come before us.
    let job = db::jobs::queue::stop_enqueue(conn, kind, stop, now).await?;
    Ok(job.ok_or(NotNow("Agent is being stopped"))?)
}
