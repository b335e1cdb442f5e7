//! Carrying out status transitions. Owns: that nothing changes which a job works on or which is no longer
//! as the run read it. Does not own: which transitions follow from two runs (`domain::fleet`).

use tracing::{info, warn};

use super::held::unless_held;
use crate::db;
use crate::db::Database;
use crate::db::agents::lifecycle::StatusChange;
use crate::domain::agent::{AgentEvent, AgentStatus};
use crate::domain::fleet::StatusTransition;
use crate::domain::ids::AgentId;

/// The number of agents that changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AppliedTransitions {
    pub(super) disconnected: usize,
    pub(super) regained: usize,
    pub(super) lost: usize,
}

pub(super) async fn apply(
    pool: &Database,
    transitions: &[StatusTransition],
) -> sqlx::Result<AppliedTransitions> {
    let mut applied = AppliedTransitions {
        disconnected: move_all(
            pool,
            transitions,
            AgentStatus::Running,
            AgentEvent::HostLost,
        )
        .await?,
        regained: move_all(
            pool,
            transitions,
            AgentStatus::Disconnected,
            AgentEvent::HostRegained,
        )
        .await?,
        lost: 0,
    };
    let lost = transitions.iter();
    for transition in lost.filter(|transition| transition.event == AgentEvent::ContainerLost) {
        let is_lost = lose_container(pool, transition).await;
        applied.lost += usize::from(unless_held(is_lost, transition.agent)?);
    }
    Ok(applied)
}

/// One statement for all agents, because a lost host has many. Returns the number of agents that changed.
async fn move_all(
    pool: &Database,
    transitions: &[StatusTransition],
    from: AgentStatus,
    event: AgentEvent,
) -> sqlx::Result<usize> {
    let agents = transitions.iter();
    let agents: Vec<AgentId> = agents
        .filter(|transition| transition.event == event)
        .map(|transition| transition.agent.agent_id)
        .collect();
    let (Ok(to), false) = (from.after(event), agents.is_empty()) else {
        return Ok(0);
    };
    let change = StatusChange { from, to };
    let mut tx = pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let moved = db::hosts::inspection::agents_change_status_of_any_organization(
        &mut tx, &agents, change, now,
    )
    .await?;
    tx.commit().await?;
    for agent_id in &moved {
        let status = to.as_str();
        info!(agent.id = %agent_id, status, "agent status changed by the refresh run");
    }
    Ok(moved.len())
}

/// Moves the agent to `error` and frees its slot. Does nothing and returns false if a job works on the
/// agent, if its owner asked it to stop, if its row names another place than the run read, or if another
/// transaction holds the row: then the next run follows. The agent's volume stays on the host.
async fn lose_container(pool: &Database, transition: &StatusTransition) -> sqlx::Result<bool> {
    let agent = transition.agent;
    let mut tx = pool.begin().await?;
    let locked = db::agents::lifecycle::agent_lock_unless_held(&mut tx, agent).await?;
    let record = db::agents::placement::runtime_record_find(&mut tx, agent).await?;
    let (Some(locked), Some(record)) = (locked, record) else {
        return Ok(false);
    };
    let Ok(to) = locked.status.after(AgentEvent::ContainerLost) else {
        return Ok(false);
    };
    let jobs = db::jobs::queue::jobs_active(&mut tx, agent).await?;
    let is_same_place =
        record.node_id == transition.node_id && record.container_name == transition.container_name;
    if !is_same_place || locked.stop_requested || !jobs.is_empty() {
        return Ok(false);
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    let change = StatusChange {
        from: locked.status,
        to,
    };
    let reason = transition.reason;
    if !db::agents::lifecycle::agent_change_status(&mut tx, agent, change, reason, now).await? {
        return Ok(false);
    }
    if db::agents::placement::placement_clear(&mut tx, agent, now).await?
        && let Some(node_id) = &record.node_id
    {
        db::hosts::slots::slot_free(&mut tx, node_id).await?;
    }
    tx.commit().await?;
    warn!(agent.id = %agent.agent_id, node.id = record.node_id, reason,
        "agent container lost; the agent is in error and its slot is free");
    Ok(true)
}
