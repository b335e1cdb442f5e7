//! A stop job. Owns: that what has nothing on a host ends at once, and that the rest is tried until
//! its container is seen gone.

use super::{Stop, Work};
use crate::db;
use crate::domain::agent::{AgentStatus, Change};
use crate::domain::job::JobKind;

pub(super) async fn run(work: &mut Work<'_>) -> Result<(), Stop> {
    if nothing_there(work).await? {
        return Ok(());
    }
    match work.host().await? {}
}

/// Finishes the job if there is nothing of the agent on any host.
async fn nothing_there(work: &mut Work<'_>) -> Result<bool, Stop> {
    let (organization_id, agent_id) = work.ids();
    let mut tx = work.pool.begin().await?;
    let agent = db::agent_records::agent_lock(&mut tx, organization_id, agent_id).await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    if let Some(agent) = agent {
        let delete = work.job.kind == JobKind::Delete;
        // A start records where it will create a container before it does: without that there is none.
        let there = match agent.status {
            AgentStatus::Provisioning => agent.recorded,
            status => status.expects_container(agent.recorded),
        } || (delete && agent.leftovers);
        if there || agent.status == AgentStatus::Unknown {
            return Ok(false);
        }
        if delete {
            db::agent_records::agent_delete(&mut tx, organization_id, agent_id).await?;
        } else if let Ok(to) = agent.status.after(Change::FinishStop) {
            let change = (agent.status, to);
            db::agent_records::agent_move(&mut tx, work.ids(), change, None, now).await?;
        }
    }
    work.complete(&mut tx, AgentStatus::Stopped, now).await?;
    tx.commit().await?;
    Ok(true)
}
