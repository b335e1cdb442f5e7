//! An operator empties a host. Owns: the beginning and the end of a drain, and its plan. Does not own: moving the agents
//! (`app::agent::moves`).

use serde_json::json;

use super::locked::host_lock;
use crate::app::error::RequestError;
use crate::db;
use crate::db::Database;
use crate::db::agents::moves::{MoveCounts, PlannedAgent};
use crate::db::hosts::withdrawals::{NewWithdrawal, Withdrawal};
use crate::db::requests::audit_log::AuditEntry;
use crate::domain::agent::StatusConflict;
use crate::domain::ids::UserId;
use crate::domain::timestamp::Timestamp;
use crate::domain::withdrawal::WithdrawalKind;

/// What a drain does, or would do.
#[derive(Clone, Debug)]
pub struct DrainPlan {
    /// `None` if the host is not being drained.
    pub drain: Option<Withdrawal>,
    /// The moves of this drain.
    pub moves: MoveCounts,
    pub agents: Vec<PlannedAgent>,
}

/// The plan of a host's drain, whether or not it has begun.
///
/// # Errors
/// [`RequestError::NotFound`].
pub async fn node_drain_plan(pool: &Database, node_id: &str) -> Result<DrainPlan, RequestError> {
    let mut conn = pool.statements();
    if db::hosts::coordinates::host_find(&mut conn, node_id)
        .await?
        .is_none()
    {
        return Err(RequestError::NODE_NOT_FOUND);
    }
    let withdrawal = db::hosts::withdrawals::withdrawal_find(&mut conn, node_id).await?;
    let drain = withdrawal.filter(Withdrawal::is_drain);
    let now = db::clock::billing_clock(&mut conn).await?;
    let since = drain.as_ref().map_or(now, |drain| drain.requested_at);
    Ok(DrainPlan {
        drain,
        moves: db::agents::moves::moves_count_of_any_organization(&mut conn, node_id, since)
            .await?,
        agents: db::agents::moves::planned_agents_of_any_organization(&mut conn, node_id, since)
            .await?,
    })
}

/// Begins to drain a host: it takes no agents from now on, and the sweep moves those that run there. A repeated request
/// changes how many are moved at the same time.
///
/// # Errors
/// [`RequestError::NotFound`]; [`RequestError::StatusConflict`] if the host is declared lost.
pub async fn node_drain(
    pool: &Database,
    admin_id: UserId,
    node_id: &str,
    moves_at_once: i32,
) -> Result<(), RequestError> {
    let mut tx = pool.begin().await?;
    let before = host_lock(&mut tx, node_id).await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    match before {
        Some(withdrawal) if withdrawal.is_drain() => {
            db::hosts::withdrawals::moves_at_once_set(&mut tx, node_id, moves_at_once).await?;
        }
        Some(_) => return Err(StatusConflict("The host is declared lost").into()),
        None => {
            let enabled = db::hosts::registry::host_enable(&mut tx, node_id, false, now).await?;
            let drain = NewWithdrawal {
                node_id,
                kind: WithdrawalKind::Drain,
                requested_by: admin_id,
                moves_at_once,
                was_enabled: enabled == Some(true),
                last_read_at: None,
            };
            db::hosts::withdrawals::withdrawal_set(&mut tx, drain, now).await?;
        }
    }
    let action = AuditEntry {
        user_id: admin_id,
        action: "node.drain",
        subject: node_id,
        details: json!({"movesAtOnce": moves_at_once}),
        result: "accepted",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends a drain, done or not: the host takes agents again if it did before. Agents that were moved stay where they are,
/// and those that are stopped for their move are started on other hosts.
///
/// # Errors
/// [`RequestError::NotFound`]; [`RequestError::StatusConflict`] if the host is not being drained.
pub async fn node_drain_cancel(
    pool: &Database,
    admin_id: UserId,
    node_id: &str,
) -> Result<(), RequestError> {
    let mut tx = pool.begin().await?;
    let drain = host_lock(&mut tx, node_id).await?;
    let drain = drain
        .filter(Withdrawal::is_drain)
        .ok_or(StatusConflict("The host is not being drained"))?;
    let now = db::clock::billing_clock(&mut tx).await?;
    db::hosts::withdrawals::withdrawal_delete(&mut tx, node_id).await?;
    db::hosts::registry::host_enable(&mut tx, node_id, drain.was_enabled, now).await?;
    db::agents::moves::moves_cancel_of_any_organization(&mut tx, node_id).await?;
    let action = AuditEntry {
        user_id: admin_id,
        action: "node.drain_cancel",
        subject: node_id,
        details: json!({"doneAt": drain.done_at.map(Timestamp)}),
        result: "cancelled",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    tx.commit().await?;
    Ok(())
}
