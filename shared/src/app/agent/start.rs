//! Starting an agent (provision and resume). Owns: what a start does in each status. The credit gate and the job
//! are one transaction, which holds the organization's row and the agent's.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::limits;
use crate::app::billing::gate;
use crate::app::error::RequestError;
use crate::app::idempotency::{IdempotencyGuard, IdempotencyKey, run_once};
use crate::app::publish::publish_due_jobs;
use crate::app::stored_secrets::{outcome_location, webhook_secret_location};
use crate::db;
use crate::db::agents::lifecycle::LockedAgent;
use crate::db::jobs::queue::{ActiveJob, SUPERSEDED_BY_A_START, StartJob, SupersedeIf};
use crate::db::{Connection, Database};
use crate::domain::agent::{AgentEvent, AgentStatus, BillingStatus, StatusConflict};
use crate::domain::credit_gate::Clearance;
use crate::domain::ids::{AgentRef, JobId, OrganizationId};
use crate::domain::job::{DueJob, EXPECTED_START_DURATION, JobKind, JobStatus};
use crate::domain::pricing::Prices;
use crate::domain::redacted::debug_without_secrets;
use crate::encryption::{EncryptionKeys, Location};
use crate::events::Publisher;

#[derive(Clone, Copy, Debug)]
pub struct StartDeps<'a> {
    pub pool: &'a Database,
    pub prices: &'a Prices,
    /// Publishes the start job.
    pub publisher: &'a Publisher,
    /// Encrypt webhook secrets.
    pub keys: &'a EncryptionKeys,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Started {
    /// The agent was running and continues to run.
    Running,
    /// A job has started the agent.
    Done(JobTicket),
    /// A job will start the agent.
    Enqueued(JobTicket),
    /// An earlier job is active: a start, or a stop that a worker has begun. This request made no job.
    InProgress(JobTicket),
}

/// What a client learns about a job that its request waits for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobTicket {
    pub job_id: JobId,
    pub kind: JobKind,
    /// As it was when the request ended.
    pub status: JobStatus,
    pub estimated_completion_at: Option<DateTime<Utc>>,
    /// The secret that the webhook is signed with. Only the request that sets the webhook gets it. In the stored
    /// outcome of a request it is encrypted.
    pub webhook_secret: Option<String>,
}

debug_without_secrets!(JobTicket: job_id, kind, status, estimated_completion_at);

/// A message to the owner's server when the job ends.
#[derive(Clone)]
pub struct Webhook {
    /// A URL that the webhook policy allows.
    pub url: String,
    /// The key that the message is signed with.
    pub secret: String,
}

debug_without_secrets!(Webhook:);

/// Starts an agent. Does not wait for the job.
pub async fn agent_start(
    deps: StartDeps<'_>,
    agent: AgentRef,
    webhook: Option<&Webhook>,
    key: IdempotencyKey,
) -> Result<Started, RequestError> {
    let outcome = key.scope.as_ref().map(outcome_location);
    let mut started = run_once(deps.pool, key, async |guard| {
        let started = start(deps, agent, webhook, outcome.as_ref(), guard).await?;
        if let Started::Enqueued(job) = &started {
            let due = DueJob {
                id: job.job_id,
                lane: job.kind.class(),
            };
            publish_due_jobs(deps.publisher, &[due]).await;
        }
        Ok(started)
    })
    .await?;
    // The first request and those that repeat it read the same outcome.
    if let (Some(outcome), Started::Enqueued(job)) = (&outcome, &mut started)
        && let Some(secret) = &mut job.webhook_secret
    {
        *secret = deps.keys.decrypt_text(secret, outcome)?;
    }
    Ok(started)
}

/// `outcome` is where the outcome will be stored, if it will be.
async fn start(
    deps: StartDeps<'_>,
    agent: AgentRef,
    webhook: Option<&Webhook>,
    outcome: Option<&Location>,
    guard: &mut IdempotencyGuard,
) -> Result<Started, RequestError> {
    let mut tx = deps.pool.begin().await?;
    // Everybody locks the organization before the agent: otherwise two requests could wait for each other.
    db::identity::organizations::organizations_lock(&mut tx, &[agent.organization_id]).await?;
    let row = db::agents::lifecycle::agent_lock(&mut tx, agent)
        .await?
        .ok_or(RequestError::AGENT_NOT_FOUND)?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let webhook_url = webhook.map(|webhook| webhook.url.as_str());
    let started = match begin(&mut tx, deps.prices, agent, &row, webhook_url, now).await? {
        StartOutcome::AlreadyRunning | StartOutcome::KeptRunning => Started::Running,
        StartOutcome::Busy(job) => return Ok(Started::InProgress(ticket(job, None))),
        StartOutcome::Enqueued(job) => {
            let secret = webhook.map(|webhook| &webhook.secret);
            if let Some(secret) = secret {
                let secret = deps
                    .keys
                    .encrypt_to_text(secret, &webhook_secret_location(job.id))?;
                let organization_id = agent.organization_id;
                db::jobs::webhooks::webhook_secret_set(&mut tx, organization_id, job.id, &secret)
                    .await?;
            }
            let secret = secret.map(|secret| match outcome {
                Some(outcome) => deps.keys.encrypt_to_text(secret, outcome),
                None => Ok(secret.clone()),
            });
            Started::Enqueued(ticket(job, secret.transpose()?))
        }
    };
    guard.complete(&mut tx, &started).await?;
    tx.commit().await?;
    Ok(started)
}

/// What a transaction has done to start an agent.
pub(super) enum StartOutcome {
    /// Nothing: the agent runs, and nobody stops it.
    AlreadyRunning,
    /// It has cancelled the agent's stop, which no worker had begun.
    KeptRunning,
    /// Nothing: this job must end first.
    Busy(ActiveJob),
    /// It has enqueued this job.
    Enqueued(ActiveJob),
}

/// Starts an agent in the caller's transaction, which holds the locks of the organization and of the agent. A refusal
/// leaves the transaction without a change.
pub(super) async fn begin(
    conn: &mut Connection,
    prices: &Prices,
    agent: AgentRef,
    row: &LockedAgent,
    webhook_url: Option<&str>,
    now: DateTime<Utc>,
) -> Result<StartOutcome, RequestError> {
    let jobs = db::jobs::queue::jobs_active(conn, agent).await?;
    match decide(row, &jobs)? {
        Decision::AlreadyRunning => Ok(StartOutcome::AlreadyRunning),
        Decision::Busy(job) => Ok(StartOutcome::Busy(job)),
        Decision::KeepRunning { stop } => {
            limits::check_starts(conn, agent, now).await?;
            let clearance = gate::ask(conn, prices, agent).await?;
            if let Some(stop) = stop
                && !cancel_unclaimed(conn, agent.organization_id, stop, now).await?
            {
                return Ok(StartOutcome::Busy(stop));
            }
            db::agents::lifecycle::agent_cancel_stop(conn, &clearance, now).await?;
            Ok(StartOutcome::KeptRunning)
        }
        Decision::Start => {
            limits::check_starts(conn, agent, now).await?;
            let clearance = gate::ask(conn, prices, agent).await?;
            let job = enqueue(conn, &clearance, row, webhook_url, now).await?;
            Ok(StartOutcome::Enqueued(job))
        }
    }
}

enum Decision {
    AlreadyRunning,
    /// The agent runs and was to be stopped. If the gate allows it, it continues to run, and the stop job, which no
    /// worker has begun, is cancelled.
    KeepRunning {
        stop: Option<ActiveJob>,
    },
    /// This job must end first.
    Busy(ActiveJob),
    Start,
}

fn decide(row: &LockedAgent, jobs: &[ActiveJob]) -> Result<Decision, StatusConflict> {
    if let Some(start) = jobs.iter().find(|job| job.kind.is_start()) {
        return Ok(Decision::Busy(*start));
    }
    let stop = jobs.first().copied();
    if row.status == AgentStatus::Running {
        let is_stopping = row.stop_requested || row.billing == Some(BillingStatus::Suspended);
        return Ok(match stop {
            Some(stop) if stop.is_unattempted && stop.kind == JobKind::Suspend => {
                Decision::KeepRunning { stop: Some(stop) }
            }
            Some(stop) => Decision::Busy(stop),
            None if is_stopping => Decision::KeepRunning { stop: None },
            None => Decision::AlreadyRunning,
        });
    }
    if let Some(stop) = stop {
        return Ok(Decision::Busy(stop));
    }
    row.status.after(AgentEvent::StartRequested)?;
    Ok(Decision::Start)
}

/// Cancels a stop job. Returns `false` if a worker has begun it meanwhile.
async fn cancel_unclaimed(
    conn: &mut Connection,
    organization_id: OrganizationId,
    stop: ActiveJob,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let reason = SUPERSEDED_BY_A_START;
    let condition = SupersedeIf::Unattempted;
    db::jobs::queue::job_supersede(conn, organization_id, stop.id, condition, reason, now).await
}

async fn enqueue(
    conn: &mut Connection,
    clearance: &Clearance,
    row: &LockedAgent,
    webhook_url: Option<&str>,
    now: DateTime<Utc>,
) -> Result<ActiveJob, RequestError> {
    let new = StartJob {
        kind: JobKind::Provision,
        user_id: row.user_id,
        agent_name: row.name.as_deref(),
        backup_id: None,
        webhook_url,
    };
    let job_id = db::jobs::queue::start_enqueue(conn, clearance, &new, now).await?;
    // Only a writer that does not hold the agent's lock (an older web app) can have inserted one meanwhile.
    let id = job_id.ok_or(StatusConflict("Agent provisioning is in progress"))?;
    Ok(ActiveJob {
        id,
        kind: JobKind::Provision,
        is_waiting: true,
        is_unattempted: true,
        estimated_completion_at: Some(now + EXPECTED_START_DURATION),
    })
}

fn ticket(job: ActiveJob, webhook_secret: Option<String>) -> JobTicket {
    let status = if job.is_waiting {
        JobStatus::Pending
    } else {
        JobStatus::InProgress
    };
    JobTicket {
        job_id: job.id,
        kind: job.kind,
        status,
        estimated_completion_at: job.estimated_completion_at,
        webhook_secret,
    }
}
