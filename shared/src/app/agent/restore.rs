//! Restoring the state of a backup. Owns: what the request does in each status. The credit gate and the job are one
//! transaction, which holds the organization's row and the agent's.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::job_request::publish_and_wait;
use super::limits;
use super::start::StartDeps;
use crate::app::billing::gate;
use crate::app::error::RequestError;
use crate::app::idempotency::{IdempotencyGuard, IdempotencyKey, run_once};
use crate::db;
use crate::db::agents::backups::ChosenBackup;
use crate::db::agents::lifecycle::LockedAgent;
use crate::db::jobs::queue::{ActiveJob, StartJob};
use crate::domain::agent::{AgentEvent, AgentStatus, StatusConflict};
use crate::domain::ids::{AgentRef, BackupId, JobId};
use crate::domain::job::{DueJob, JobClass, JobKind};

/// A restore that was accepted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestoreRequest {
    pub job_id: JobId,
    pub backup_id: BackupId,
    /// The backup's type: `manual`, `pre-shutdown`, ...
    pub snapshot_type: String,
    /// When the backup was taken.
    pub created_at: DateTime<Utc>,
    /// Whether the job has restored the state.
    pub is_done: bool,
}

/// Restores the named backup, or the newest one, and waits for the job as long as a request may. An agent that does
/// not run is started with the state, which must be its newest.
pub async fn agent_restore(
    deps: StartDeps<'_>,
    agent: AgentRef,
    backup_id: Option<BackupId>,
    key: IdempotencyKey,
) -> Result<RestoreRequest, RequestError> {
    run_once(deps.pool, key, async |guard| {
        let mut restore = enqueue(deps, agent, backup_id, guard).await?;
        let organization_id = agent.organization_id;
        let due = DueJob {
            id: restore.job_id,
            lane: JobClass::Start,
        };
        let job = publish_and_wait(deps.pool, deps.publisher, organization_id, due).await?;
        if job.is_some() {
            restore.is_done = true;
            guard.amend(deps.pool, &restore).await;
        }
        Ok(restore)
    })
    .await
}

async fn enqueue(
    deps: StartDeps<'_>,
    agent: AgentRef,
    backup_id: Option<BackupId>,
    guard: &mut IdempotencyGuard,
) -> Result<RestoreRequest, RequestError> {
    let mut tx = deps.pool.begin().await?;
    // Everybody locks the organization before the agent: otherwise two requests could wait for each other.
    db::identity::organizations::organizations_lock(&mut tx, &[agent.organization_id]).await?;
    let row = db::agents::lifecycle::agent_lock(&mut tx, agent)
        .await?
        .ok_or(RequestError::AGENT_NOT_FOUND)?;
    let ChosenBackup { backup, is_newest } =
        db::agents::backups::backup_find(&mut tx, agent, backup_id)
            .await?
            .ok_or(RequestError::NotFound("No backup found"))?;
    let jobs = db::jobs::queue::jobs_active(&mut tx, agent).await?;
    check_restorable(&row, &jobs, is_newest)?;
    let now = db::clock::billing_clock(&mut tx).await?;
    limits::check_starts(&mut tx, agent, now).await?;
    let clearance = gate::ask(&mut tx, deps.prices, agent).await?;
    let new = StartJob {
        kind: JobKind::Restore,
        user_id: row.user_id,
        agent_name: row.name.as_deref(),
        backup_id: Some(backup.id),
        webhook_url: None,
    };
    let job_id = db::jobs::queue::start_enqueue(&mut tx, &clearance, &new, now)
        .await?
        .ok_or(StatusConflict("Agent provisioning is in progress"))?;
    let restore = RestoreRequest {
        job_id,
        backup_id: backup.id,
        snapshot_type: backup.snapshot_type,
        created_at: backup.created_at,
        is_done: false,
    };
    guard.complete(&mut tx, &restore).await?;
    tx.commit().await?;
    Ok(restore)
}

fn check_restorable(
    row: &LockedAgent,
    jobs: &[ActiveJob],
    is_newest: bool,
) -> Result<(), StatusConflict> {
    if let Some(job) = jobs.first() {
        return Err(StatusConflict(if job.kind.is_start() {
            "Agent provisioning is in progress"
        } else {
            "Agent is being stopped"
        }));
    }
    row.status.after(AgentEvent::RestoreRequested)?;
    if row.status != AgentStatus::Running && !is_newest {
        return Err(StatusConflict(
            "Stopped agents can only restore the latest backup",
        ));
    }
    Ok(())
}
