//! An operator declares a host lost, and takes it back into service. Owns: that the agents of a lost host are freed from
//! it: they are stopped, their metering has ended, their slots are free, and no job waits for the host. Does not own:
//! stopping what runs on a lost host that answers again (`app::host_access`).
//!
//! The declaration is committed first. Freeing the agents is repeated by the sweep until none is left, because a start
//! that is under way has to end first, and because the request may end before all are freed.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::json;
use tracing::warn;

use super::locked::host_lock;
use crate::app::error::RequestError;
use crate::db;
use crate::db::Database;
use crate::db::hosts::withdrawals::{NewWithdrawal, Withdrawal};
use crate::db::requests::audit_log::AuditEntry;
use crate::domain::agent::{AgentEvent, AgentStatus, StatusConflict};
use crate::domain::ids::{AgentRef, UserId};
use crate::domain::timestamp::Timestamp;
use crate::domain::withdrawal::{
    DEFAULT_MOVES_AT_ONCE, STATE_RETURNED, WithdrawalKind, check_loss, loss_text,
};

/// No agent is freed later by a request, which ends after half a minute, or by a sweep, which has other duties: whoever holds
/// the rows of some agents must not keep due jobs from being announced.
const FREEING_TIME: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub struct DeclaredLoss {
    pub declared_at: DateTime<Utc>,
    /// How many agents were freed by the request itself.
    pub freed_agents: usize,
}

/// Declares a host lost and frees its agents.
///
/// # Errors
/// [`RequestError::NotFound`]; [`RequestError::StatusConflict`] if the host is declared lost already, or could be read
/// within the last ten minutes.
pub async fn node_declare_lost(
    pool: &Database,
    admin_id: UserId,
    node_id: &str,
) -> Result<DeclaredLoss, RequestError> {
    let mut tx = pool.begin().await?;
    let before = host_lock(&mut tx, node_id).await?;
    if before.as_ref().is_some_and(Withdrawal::is_loss) {
        return Err(StatusConflict("The host is declared lost already").into());
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    let unread = db::hosts::unread::unread_host_find(&mut tx, node_id).await?;
    let unread = check_loss(unread, now)?;
    // Placement takes no host that is disabled.
    let enabled = db::hosts::registry::host_enable(&mut tx, node_id, false, now).await?;
    let was_enabled = before.map_or(enabled == Some(true), |before| before.was_enabled);
    let loss = NewWithdrawal {
        node_id,
        kind: WithdrawalKind::Loss,
        requested_by: admin_id,
        moves_at_once: DEFAULT_MOVES_AT_ONCE,
        was_enabled,
        last_read_at: Some(unread.last_read_at),
    };
    db::hosts::withdrawals::withdrawal_set(&mut tx, loss, now).await?;
    let action = AuditEntry {
        user_id: admin_id,
        action: "node.lost",
        subject: node_id,
        details: json!({
            "unreadSince": Timestamp(unread.since), "lastReadAt": Timestamp(unread.last_read_at),
        }),
        result: "declared",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    tx.commit().await?;
    let freed = free_agents(pool, node_id, Instant::now()).await;
    let freed_agents = freed.unwrap_or_else(|error| {
        warn!(
            node.id = node_id,
            error = db::error_class(&error),
            "not all agents of a lost host were freed; the next sweep goes on"
        );
        0
    });
    Ok(DeclaredLoss {
        declared_at: now,
        freed_agents,
    })
}

/// Takes a host that was declared lost and has returned back into service. Agents that were not started since have their
/// newest state in its volumes.
///
/// # Errors
/// [`RequestError::NotFound`]; [`RequestError::StatusConflict`] if the host is not declared lost, or has not answered
/// again.
pub async fn node_restore_service(
    pool: &Database,
    admin_id: UserId,
    node_id: &str,
) -> Result<(), RequestError> {
    let mut tx = pool.begin().await?;
    // The agents' rows before the host's, as everywhere.
    db::agents::losses::lost_agents_lock_of_any_organization(&mut tx, node_id).await?;
    let loss = host_lock(&mut tx, node_id).await?;
    let loss = loss
        .filter(Withdrawal::is_loss)
        .ok_or(StatusConflict("The host is not declared lost"))?;
    if loss.done_at.is_none() {
        return Err(StatusConflict("The host has not answered again").into());
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    db::hosts::withdrawals::withdrawal_delete(&mut tx, node_id).await?;
    db::hosts::registry::host_enable(&mut tx, node_id, loss.was_enabled, now).await?;
    let agents = db::agents::losses::states_return_of_any_organization(
        &mut tx,
        node_id,
        STATE_RETURNED,
        now,
    )
    .await?;
    let action = AuditEntry {
        user_id: admin_id,
        action: "node.return",
        subject: node_id,
        details: json!({
            "returnedAt": loss.done_at.map(Timestamp), "agentsWithState": agents.len(),
        }),
        result: "in service",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Frees the agents of all lost hosts that are not free yet. Returns how many.
///
/// # Errors
/// The first error of the database, after every host was attempted.
pub async fn lost_hosts_continue(pool: &Database) -> sqlx::Result<usize> {
    let mut conn = pool.statements();
    db::agents::losses::lost_agents_forget_of_any_organization(&mut conn).await?;
    let hosts = db::hosts::withdrawals::withdrawn_hosts(&mut conn, WithdrawalKind::Loss).await?;
    drop(conn);
    let started = Instant::now();
    let (mut freed, mut first_error) = (0, None);
    for node_id in &hosts {
        match free_agents(pool, node_id, started).await {
            Ok(count) => freed += count,
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    first_error.map_or(Ok(freed), Err)
}

async fn free_agents(pool: &Database, node_id: &str, started: Instant) -> sqlx::Result<usize> {
    let mut conn = pool.statements();
    let agents = db::agents::losses::agents_to_free_of_any_organization(&mut conn, node_id).await?;
    drop(conn);
    let (mut freed, mut first_error) = (0, None);
    for agent in agents {
        if started.elapsed() > FREEING_TIME {
            warn!(
                node.id = node_id,
                "not every agent of a lost host was freed; the next sweep goes on"
            );
            break;
        }
        match free_agent(pool, node_id, agent).await {
            Ok(is_freed) => freed += usize::from(is_freed),
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    first_error.map_or(Ok(freed), Err)
}

/// Frees an agent. Does nothing and returns `false` if the host is not lost any more or if the agent is elsewhere. If a start
/// job is active, it returns `false` and records only that the secrets must change: that job looks for another host, or
/// fails, and then nothing holds the agent any more.
async fn free_agent(pool: &Database, node_id: &str, agent: AgentRef) -> sqlx::Result<bool> {
    let mut tx = pool.begin().await?;
    let locked = db::agents::lifecycle::agent_lock(&mut tx, agent).await?;
    let record = db::agents::placement::runtime_record_find(&mut tx, agent).await?;
    // The agent's row before the host's, as everywhere.
    db::hosts::registry::host_lock(&mut tx, node_id).await?;
    let loss = db::hosts::withdrawals::withdrawal_find(&mut tx, node_id).await?;
    let (Some(locked), Some(record), Some(loss)) =
        (locked, record, loss.filter(Withdrawal::is_loss))
    else {
        return Ok(false);
    };
    let jobs = db::jobs::queue::jobs_active(&mut tx, agent).await?;
    let is_there = record.node_id.as_deref() == Some(node_id);
    let (Ok(to), true) = (locked.status.after(AgentEvent::HostDeclaredLost), is_there) else {
        return Ok(false);
    };
    let now = db::clock::billing_clock(&mut tx).await?;
    if jobs.iter().any(|job| job.kind.is_start()) {
        // A second record would forget which secrets the start itself has made new since.
        let known = db::agents::losses::known_secrets_find(&mut tx, agent).await?;
        if known.is_none() {
            db::agents::losses::lost_agent_record(&mut tx, agent, node_id, now).await?;
            tx.commit().await?;
        }
        return Ok(false);
    }
    let last_backup_at = db::agents::losses::last_backup_at_find(&mut tx, agent).await?;
    let text = loss_text(last_backup_at);
    // An older web app freed the slot of an agent that it stopped, and left the container's name in the row.
    let holds_slot = !matches!(locked.status, AgentStatus::Stopped | AgentStatus::Pending);
    if db::agents::placement::placement_clear(&mut tx, agent, now).await? && holds_slot {
        db::hosts::slots::slot_free(&mut tx, node_id).await?;
    }
    db::agents::losses::agent_lose_host(&mut tx, agent, to, &text, now).await?;
    let seen_at = loss.last_read_at;
    db::billing::metering::metering_end_at_last_sign_of_life(&mut tx, agent, seen_at).await?;
    db::agents::losses::lost_agent_record(&mut tx, agent, node_id, now).await?;
    db::agents::losses::stop_jobs_make_due(&mut tx, agent, now).await?;
    tx.commit().await?;
    warn!(
        agent.id = %agent.agent_id, node.id = node_id,
        "agent {} is freed from a lost host", agent.agent_id
    );
    Ok(true)
}
