//! Starting an agent (provision and resume). Owns: what the request does in each status. The credit gate and the job
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
use crate::domain::job::{EXPECTED_START_DURATION, JobKind, JobStatus};
use crate::domain::pricing::Prices;
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// A message to the owner's server when the job ends.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// A URL that the webhook policy allows.
    pub url: String,
    /// The key that the message is signed with.
    pub secret: String,
}

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
            publish_due_jobs(deps.publisher, &[job.job_id]).await;
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
    let jobs = db::jobs::queue::jobs_active(&mut tx, agent).await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let started = match decide(&row, &jobs)? {
        Decision::AlreadyRunning => Started::Running,
        Decision::Busy(job) => return Ok(Started::InProgress(ticket(job, None))),
        Decision::KeepRunning { stop } => {
            limits::check_starts(&mut tx, agent, now).await?;
            let clearance = gate::ask(&mut tx, deps.prices, agent).await?;
            if let Some(stop) = stop
                && !cancel_unclaimed(&mut tx, agent.organization_id, stop, now).await?
            {
                return Ok(Started::InProgress(ticket(stop, None)));
            }
            db::agents::lifecycle::agent_cancel_stop(&mut tx, &clearance, now).await?;
            Started::Running
        }
        Decision::Start => {
            limits::check_starts(&mut tx, agent, now).await?;
            let clearance = gate::ask(&mut tx, deps.prices, agent).await?;
            let job = enqueue(&mut tx, deps.keys, &clearance, &row, webhook, now).await?;
            let secret = webhook.map(|webhook| &webhook.secret);
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
    keys: &EncryptionKeys,
    clearance: &Clearance,
    row: &LockedAgent,
    webhook: Option<&Webhook>,
    now: DateTime<Utc>,
) -> Result<ActiveJob, RequestError> {
    let new = StartJob {
        kind: JobKind::Provision,
        user_id: row.user_id,
        agent_name: row.name.as_deref(),
        backup_id: None,
        webhook_url: webhook.map(|webhook| webhook.url.as_str()),
    };
    let job_id = db::jobs::queue::start_enqueue(conn, clearance, &new, now).await?;
    // Only a writer that does not hold the agent's lock (an older web app) can have inserted one meanwhile.
    let id = job_id.ok_or(StatusConflict("Agent provisioning is in progress"))?;
    if let Some(webhook) = webhook {
        let secret = keys.encrypt_to_text(&webhook.secret, &webhook_secret_location(id))?;
        let organization_id = clearance.organization_id();
        db::jobs::webhooks::webhook_secret_set(conn, organization_id, id, &secret).await?;
    }
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
