//! An agent is asked to start (provision, resume), or to take on an earlier state (restore). Owns:
//! what becomes of the request in each state. The gate and the job are one transaction that holds the
//! organization's row and the agent's.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::app::error::RequestError;
use crate::app::idempotency::{Begun, Once, Repeatable, begin};
use crate::app::job::wait::job_await;
use crate::app::billing::gate;
use crate::app::publish;
use crate::db;
use crate::db::agents::owner::Locked;
use crate::db::agents::backups::Backup;
use crate::db::jobs::queue::{Active, NewStart};
use crate::domain::agent::{AgentStatus, BillingStatus, Change, NotNow};
use crate::domain::job::{JobKind, USUAL_START};
use crate::domain::pricing::Prices;
use crate::events::Publisher;

/// What starting takes.
#[derive(Clone, Copy, Debug)]
pub struct Ports<'a> {
    /// The database.
    pub pool: &'a PgPool,
    /// The price list.
    pub prices: &'a Prices,
    /// Who is told that the job is due.
    pub publisher: &'a Publisher,
}

/// How a start was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Started {
    /// It runs, and goes on running.
    Running,
    /// It runs by now: this job has done it.
    Done(Work),
    /// This job will do it.
    Enqueued(Work),
    /// This job is under way: a start, or a stop that has begun.
    InProgress(Work),
}

/// A job, as whoever asked for it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// The job.
    pub job_id: Uuid,
    /// Its type, as the database spells it.
    pub kind: String,
    /// Where it is: `pending` or `in_progress`.
    pub status: String,
    /// When it is expected to be done.
    pub estimated: Option<DateTime<Utc>>,
    /// The secret its webhook is signed with, told this once.
    pub webhook_secret: Option<String>,
}

/// Whom to tell of a job's end.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where, checked.
    pub url: String,
    /// What the message is signed with.
    pub secret: String,
}

/// Starts an agent.
///
/// # Errors
/// [`RequestError`]; then nothing was enqueued.
pub async fn agent_start(
    ports: Ports<'_>,
    agent: (Uuid, Uuid),
    webhook: Option<&Webhook>,
    repeatable: Repeatable,
) -> Result<Started, RequestError> {
    let mut once = match begin(ports.pool, repeatable).await? {
        Begun::Again(started) => return Ok(started),
        Begun::First(once) => once,
    };
    let result = start(ports, agent, webhook, &mut once).await;
    let started = once.settle(ports.pool, result).await?;
    if let Started::Enqueued(work) = &started {
        publish::jobs_due(ports.publisher, &[work.job_id]).await;
    }
    Ok(started)
}

async fn start(
    ports: Ports<'_>,
    (organization_id, agent_id): (Uuid, Uuid),
    webhook: Option<&Webhook>,
    once: &mut Once,
) -> Result<Started, RequestError> {
    let mut tx = ports.pool.begin().await?;
    db::identity::organizations::organizations_lock(&mut tx, &[organization_id]).await?;
    let agent = db::agents::owner::agent_lock(&mut tx, organization_id, agent_id)
        .await?
        .ok_or(RequestError::NO_AGENT)?;
    let jobs = db::jobs::queue::jobs_active(&mut tx, organization_id, agent_id).await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let started = match decide(&agent, &jobs)? {
        Decision::RunsAlready => Started::Running,
        Decision::Busy(job) => return Ok(Started::InProgress(work(job, None))),
        Decision::RunOn(stop) => {
            let clearance = gate::clear(&mut tx, ports.prices, organization_id, agent_id).await?;
            if let Some(stop) = stop
                && !take_back(&mut tx, stop, now).await?
            {
                return Ok(Started::InProgress(work(stop, None)));
            }
            db::agents::owner::agent_run_on(&mut tx, &clearance, now).await?;
            Started::Running
        }
        Decision::Start => {
            let clearance = gate::clear(&mut tx, ports.prices, organization_id, agent_id).await?;
            let new = NewStart {
                kind: JobKind::Provision,
                user_id: agent.user_id,
                agent_name: agent.name.as_deref(),
                backup_id: None,
                webhook: webhook.map(|hook| (hook.url.as_str(), hook.secret.as_str())),
            };
            let id = db::jobs::queue::start_enqueue(&mut tx, &clearance, &new, now).await?;
            // Only a writer that does not hold the agent's lock could have come before us.
            let id = id.ok_or(NotNow("Agent provisioning is in progress"))?;
            let job = Active {
                id,
                kind: JobKind::Provision,
                waiting: true,
                untouched: true,
                estimated: Some(now + USUAL_START),
            };
            Started::Enqueued(work(job, webhook))
        }
    };
    once.complete(&mut tx, &started).await?;
    tx.commit().await?;
    Ok(started)
}

/// Ends a stop that nobody has begun. False when a worker has it by now.
async fn take_back(
    conn: &mut PgConnection,
    stop: Active,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    db::jobs::queue::job_supersede(conn, stop.id, true, "Superseded by a start", now).await
}

enum Decision {
    RunsAlready,
    /// It runs and was to be stopped: it runs on, if the gate lets it, and this stop is taken back.
    RunOn(Option<Active>),
    Busy(Active),
    Start,
}

fn decide(agent: &Locked, jobs: &[Active]) -> Result<Decision, NotNow> {
    if let Some(job) = jobs.iter().find(|job| job.kind.starts()) {
        return Ok(Decision::Busy(*job));
    }
    let stop = jobs.first().copied();
    if agent.status == AgentStatus::Running {
        let stopping = agent.stop_requested || agent.billing == Some(BillingStatus::Suspended);
        return Ok(match stop {
            Some(stop) if stop.untouched && stop.kind == JobKind::Suspend => {
                Decision::RunOn(Some(stop))
            }
            Some(stop) => Decision::Busy(stop),
            None if stopping => Decision::RunOn(None),
            None => Decision::RunsAlready,
        });
    }
    if let Some(stop) = stop {
        return Ok(Decision::Busy(stop));
    }
    agent.status.after(Change::AskStart)?;
    Ok(Decision::Start)
}

fn work(job: Active, webhook: Option<&Webhook>) -> Work {
    Work {
        job_id: job.id,
        kind: job.kind.as_str().to_owned(),
        status: if job.waiting {
            "pending"
        } else {
            "in_progress"
        }
        .to_owned(),
        estimated: job.estimated,
        webhook_secret: webhook.map(|hook| hook.secret.clone()),
    }
}

/// A restore that was accepted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Restoring {
    /// The job that does it.
    pub job_id: Uuid,
    /// The state it takes on.
    pub backup_id: Uuid,
    /// How that was saved.
    pub snapshot_type: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// The job is done.
    #[serde(default)]
    pub done: bool,
}

/// Gives an agent an earlier state: the named backup's, or the newest. One that does not run is
/// started with it, and so only with its newest.
///
/// # Errors
/// [`RequestError`]; then nothing was enqueued.
pub async fn agent_restore(
    ports: Ports<'_>,
    agent: (Uuid, Uuid),
    backup_id: Option<Uuid>,
    repeatable: Repeatable,
) -> Result<Restoring, RequestError> {
    let mut once = match begin(ports.pool, repeatable).await? {
        Begun::Again(restoring) => return Ok(restoring),
        Begun::First(once) => once,
    };
    let result = restore(ports, agent, backup_id, &mut once).await;
    let mut restoring = once.settle(ports.pool, result).await?;
    if publish::jobs_due(ports.publisher, &[restoring.job_id]).await > 0 {
        let job = job_await(ports.pool, agent.0, restoring.job_id).await?;
        restoring.done = job.is_some_and(|job| job.status == "completed");
    }
    if restoring.done {
        once.amend(ports.pool, &restoring).await;
    }
    Ok(restoring)
}

async fn restore(
    ports: Ports<'_>,
    (organization_id, agent_id): (Uuid, Uuid),
    backup_id: Option<Uuid>,
    once: &mut Once,
) -> Result<Restoring, RequestError> {
    let mut tx = ports.pool.begin().await?;
    db::identity::organizations::organizations_lock(&mut tx, &[organization_id]).await?;
    let agent = db::agents::owner::agent_lock(&mut tx, organization_id, agent_id)
        .await?
        .ok_or(RequestError::NO_AGENT)?;
    let found = db::agents::backups::backup_find(&mut tx, organization_id, agent_id, backup_id).await?;
    let (backup, newest) = found.ok_or(RequestError::NotFound("No backup found"))?;
    let jobs = db::jobs::queue::jobs_active(&mut tx, organization_id, agent_id).await?;
    may_restore(&agent, &jobs, newest)?;
    let clearance = gate::clear(&mut tx, ports.prices, organization_id, agent_id).await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let new = NewStart {
        kind: JobKind::Restore,
        user_id: agent.user_id,
        agent_name: agent.name.as_deref(),
        backup_id: Some(backup.id),
        webhook: None,
    };
    let job_id = db::jobs::queue::start_enqueue(&mut tx, &clearance, &new, now)
        .await?
        .ok_or(NotNow("Agent provisioning is in progress"))?;
    let restoring = restoring(job_id, backup);
    once.complete(&mut tx, &restoring).await?;
    tx.commit().await?;
    Ok(restoring)
}

fn may_restore(agent: &Locked, jobs: &[Active], newest: bool) -> Result<(), NotNow> {
    if let Some(job) = jobs.first() {
        return Err(NotNow(if job.kind.starts() {
            "Agent provisioning is in progress"
        } else {
            "Agent is being stopped"
        }));
    }
    agent.status.after(Change::AskRestore)?;
    if agent.status != AgentStatus::Running && !newest {
        return Err(NotNow("Stopped agents can only restore the latest backup"));
    }
    Ok(())
}

fn restoring(job_id: Uuid, backup: Backup) -> Restoring {
    Restoring {
        job_id,
        backup_id: backup.id,
        snapshot_type: backup.snapshot_type,
        created_at: backup.created_at,
        done: false,
    }
}
