//! Repairing what two refresh runs in a row observed and must not be. Owns: that nothing is changed that a job works on or
//! that is no longer as the run read it, and that each repair is in the audit log. Does not own: what is suspicious
//! (`domain::fleet`), stopping a surplus container (`app::job::run`).

use chrono::{DateTime, Utc};
use serde_json::json;
use tracing::warn;

use super::held::unless_held;
use crate::db;
use crate::db::agents::lifecycle::StatusChange;
use crate::db::jobs::queue::{REMOVE_SURPLUS, StopJob};
use crate::db::requests::audit_log::{AuditEntry, BEGUN, CONTROL_PLANE, SURPLUS_CONTAINER};
use crate::db::{Connection, Database};
use crate::domain::agent::{AgentEvent, AgentStatus};
use crate::domain::fleet::{Discrepancy, DiscrepancyKind, FleetReading, Shard, find_discrepancies};
use crate::domain::job::JobKind;

/// A run has to write its snapshot in time. What is left is repaired by the next runs.
const MAX_REPAIRS: usize = 50;

/// Returns whether agents' rows were changed.
pub(super) async fn repair(
    pool: &Database,
    shard: &Shard,
    reading: &FleetReading,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let discrepancies = find_discrepancies(reading);
    let mut tx = pool.begin().await?;
    let confirmed = db::hosts::discrepancies::discrepancies_record_of_any_organization(
        &mut tx,
        shard,
        &discrepancies,
        now,
    )
    .await?;
    tx.commit().await?;
    let mut is_changed = false;
    for discrepancy in confirmed.into_iter().take(MAX_REPAIRS) {
        let reason = match discrepancy.kind {
            DiscrepancyKind::SurplusContainer => {
                let enqueued = remove_container(pool, discrepancy).await;
                unless_held(enqueued, discrepancy.agent)?;
                continue;
            }
            DiscrepancyKind::NoHost => "The agent's host is not known",
            DiscrepancyKind::HostNotRegistered => "The agent's host is no longer registered",
        };
        let given_up = give_up_agent(pool, discrepancy, reason).await;
        if unless_held(given_up, discrepancy.agent)? {
            is_changed = true;
        }
    }
    Ok(is_changed)
}

/// Enqueues the job that stops and removes the container of an agent that is stopped or in error. Its volume stays.
async fn remove_container(pool: &Database, discrepancy: &Discrepancy) -> sqlx::Result<()> {
    let agent = discrepancy.agent;
    let mut tx = pool.begin().await?;
    let locked = db::agents::lifecycle::agent_lock_unless_held(&mut tx, agent).await?;
    let Some(locked) = locked else {
        return Ok(());
    };
    let should_stand_still = matches!(locked.status, AgentStatus::Stopped | AgentStatus::Error);
    if !should_stand_still || !is_untouched(&mut tx, discrepancy).await? {
        return Ok(());
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    let stop = StopJob {
        organization_id: agent.organization_id,
        user_id: locked.user_id,
        agent_id: agent.agent_id,
        agent_name: locked.name,
        reason: REMOVE_SURPLUS,
    };
    let job_id = db::jobs::queue::stop_enqueue(&mut tx, JobKind::Suspend, &stop, now).await?;
    let Some(job_id) = job_id else {
        return Ok(());
    };
    let subject = agent.agent_id.to_string();
    let entry = AuditEntry {
        user_id: CONTROL_PLANE,
        action: SURPLUS_CONTAINER,
        subject: &subject,
        details: json!({
            "nodeId": discrepancy.node_id, "containerId": discrepancy.container_id, "jobId": job_id,
        }),
        result: BEGUN,
    };
    db::requests::audit_log::audit_append(&mut tx, &entry, now).await?;
    tx.commit().await?;
    warn!(
        agent.id = %agent.agent_id, node.id = discrepancy.node_id, job.id = %job_id, status = locked.status.as_str(),
        "the container of agent {} runs although the agent is not to run; a job removes it", agent.agent_id
    );
    Ok(())
}

/// Moves an agent that is on no known host to `error`. It is charged up to its last sign of life. Returns `false` if nothing
/// was done.
async fn give_up_agent(
    pool: &Database,
    discrepancy: &Discrepancy,
    reason: &'static str,
) -> sqlx::Result<bool> {
    let agent = discrepancy.agent;
    let mut tx = pool.begin().await?;
    // The order of a billing run, which charges the span that is ended here.
    db::identity::organizations::organizations_lock(&mut tx, &[agent.organization_id]).await?;
    let locked = db::agents::lifecycle::agent_lock_unless_held(&mut tx, agent).await?;
    let Some(locked) = locked else {
        return Ok(false);
    };
    let Ok(to) = locked.status.after(AgentEvent::ContainerLost) else {
        return Ok(false);
    };
    if !is_untouched(&mut tx, discrepancy).await? {
        return Ok(false);
    }
    if let Some(node_id) = &discrepancy.node_id
        && db::hosts::coordinates::host_find(&mut tx, node_id)
            .await?
            .is_some()
    {
        return Ok(false);
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    db::billing::metering::span_end_at_last_heartbeat(&mut tx, agent).await?;
    let change = StatusChange {
        from: locked.status,
        to,
    };
    let reason_text = Some(reason);
    if !db::agents::lifecycle::agent_change_status(&mut tx, agent, change, reason_text, now).await?
    {
        return Ok(false);
    }
    // A row that names a container and no host keeps the name: it is all that is known of the container.
    if discrepancy.node_id.is_some() {
        db::agents::placement::placement_clear(&mut tx, agent, now).await?;
    }
    let subject = agent.agent_id.to_string();
    let entry = AuditEntry {
        user_id: CONTROL_PLANE,
        action: "agent.no_host",
        subject: &subject,
        details: json!({
            "nodeId": discrepancy.node_id, "statusBefore": change.from, "statusAfter": change.to,
            "reason": reason,
        }),
        result: "ok",
    };
    db::requests::audit_log::audit_append(&mut tx, &entry, now).await?;
    tx.commit().await?;
    warn!(
        agent.id = %agent.agent_id, node.id = discrepancy.node_id, reason,
        "agent {} is on no known host; it is in error and no longer charged", agent.agent_id
    );
    Ok(true)
}

/// Whether no job works on the agent, and its row names the same host as in the run.
async fn is_untouched(conn: &mut Connection, discrepancy: &Discrepancy) -> sqlx::Result<bool> {
    let agent = discrepancy.agent;
    let record = db::agents::placement::runtime_record_find(conn, agent).await?;
    let jobs = db::jobs::queue::jobs_active(conn, agent).await?;
    Ok(jobs.is_empty() && record.is_some_and(|record| record.node_id == discrepancy.node_id))
}
