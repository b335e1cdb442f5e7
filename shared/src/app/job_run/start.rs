//! A start job: the gate once more, then the host. Owns: the order of its steps.

use super::{Stop, Work};
use crate::app::error::RequestError;
use crate::app::gate;
use crate::db;
use crate::domain::agent::{AgentStatus, Change};
use crate::domain::job::{JobFailure, JobKind};

pub(super) async fn run(work: &mut Work<'_>) -> Result<(), Stop> {
    if begin(work).await? {
        return Ok(());
    }
    match work.host().await? {}
}

/// Asks the gate again, for credit may have gone since the request, and marks the agent as being
/// started. True if there is nothing left to do.
async fn begin(work: &mut Work<'_>) -> Result<bool, Stop> {
    let (organization_id, agent_id) = work.ids();
    let mut tx = work.pool.begin().await?;
    db::organizations::organizations_lock(&mut tx, &[organization_id]).await?;
    let agent = db::agent_records::agent_lock(&mut tx, organization_id, agent_id).await?;
    let agent = agent.ok_or(JobFailure::NotNow("Agent not found"))?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let jobs = db::jobs::jobs_active(&mut tx, organization_id, agent_id).await?;
    if jobs.iter().any(|job| !job.kind.starts()) {
        return Err(JobFailure::NotNow("Superseded by a stop").into());
    }
    if agent.status == AgentStatus::Running && work.job.kind == JobKind::Provision {
        work.complete(&mut tx, AgentStatus::Running, now).await?;
        tx.commit().await?;
        return Ok(true);
    }
    let cleared = gate::clear(&mut tx, work.prices, organization_id, agent_id).await;
    cleared.map_err(refused)?;
    if agent.status != AgentStatus::Running {
        let to = agent.status.after(Change::BeginStart);
        let to = to.map_err(|reason| JobFailure::NotNow(reason.0))?;
        let change = (agent.status, to);
        db::agent_records::agent_move(&mut tx, work.ids(), change, None, now).await?;
    }
    work.done(&mut tx, "credit", now).await?;
    tx.commit().await?;
    Ok(false)
}

fn refused(error: RequestError) -> Stop {
    match error {
        RequestError::Credit(refusal) => JobFailure::Credit(refusal.to_string()).into(),
        RequestError::Database(error) => error.into(),
        _ => JobFailure::NotNow("Agent not found").into(),
    }
}
