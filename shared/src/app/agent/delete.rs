//! Deleting an agent with everything that belongs to it. Owns: what the request does in each status.

use super::job_request::publish_and_wait;
use super::stop_request::{StopDeps, lock_for_stop};
use crate::app::error::RequestError;
use crate::db;
use crate::db::jobs::queue::SupersedeIf;
use crate::domain::agent::{AgentEvent, StopReason};
use crate::domain::ids::{AgentRef, JobId};
use crate::domain::job::{DueJob, JobClass, JobKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    Done,
    /// A job will remove what is left of the agent on hosts and in its database, and then its row.
    Enqueued(JobId),
}

/// Deletes an agent: at once if nothing is left of it outside its row, else by a job that the request waits for
/// as long as it may. Needs no idempotency key: a repeated request finds the job, or no agent.
pub async fn agent_delete(deps: StopDeps<'_>, agent: AgentRef) -> Result<Deleted, RequestError> {
    let mut tx = deps.pool.begin().await?;
    let stoppable = lock_for_stop(&mut tx, agent).await?;
    if let Some(job) = stoppable
        .jobs
        .iter()
        .find(|job| job.kind == JobKind::Delete)
    {
        // The request waits without holding the agent's lock.
        drop(tx);
        return wait(deps, agent, job.id).await;
    }
    stoppable.row.status.after(AgentEvent::DeleteRequested)?;
    for job in &stoppable.jobs {
        let reason = "Superseded by the agent's deletion";
        db::jobs::queue::job_supersede(
            &mut tx,
            agent.organization_id,
            job.id,
            SupersedeIf::Active,
            reason,
            stoppable.now,
        )
        .await?;
    }
    if !stoppable.row.needs_cleanup && !stoppable.expects_container() {
        db::agents::lifecycle::agent_delete(&mut tx, agent).await?;
        tx.commit().await?;
        return Ok(Deleted::Done);
    }
    let reason = StopReason::Owner;
    stoppable.end_metering(&mut tx, reason.into()).await?;
    // Backups are charged for, so their deletion does not wait for the host.
    db::agents::lifecycle::agent_delete_backups(&mut tx, agent).await?;
    let job_id = stoppable.enqueue(&mut tx, JobKind::Delete, reason).await?;
    tx.commit().await?;
    wait(deps, agent, job_id).await
}

async fn wait(deps: StopDeps<'_>, agent: AgentRef, job_id: JobId) -> Result<Deleted, RequestError> {
    let StopDeps { pool, publisher } = deps;
    let due = DueJob {
        id: job_id,
        lane: JobClass::Stop,
    };
    let job = publish_and_wait(pool, publisher, agent.organization_id, due).await?;
    Ok(job.map_or(Deleted::Enqueued(job_id), |_| Deleted::Done))
}
