//! An operator removes a host.
//!
//! Stopped agents whose state is saved do not prevent that: their next start restores the newest backup on another
//! host. Until then their rows still name the removed host. What agents had on a lost host is forgotten with it.

use serde_json::json;

use super::locked::host_lock;
use crate::app::error::RequestError;
use crate::db;
use crate::db::Database;
use crate::db::requests::audit_log::AuditEntry;
use crate::domain::ids::UserId;

/// Removes a host that holds no container and no unsaved state of an agent.
///
/// # Errors
/// [`RequestError::Conflict`] if it may hold one of them, if a tombstone names it and it is not declared lost, or if it was
/// declared lost, or taken back into service, at the same moment.
pub async fn node_remove(
    pool: &Database,
    admin_id: UserId,
    node_id: &str,
) -> Result<(), RequestError> {
    let mut tx = pool.begin().await?;
    let before = db::hosts::withdrawals::withdrawal_find(&mut tx, node_id).await?;
    let is_lost = before.is_some_and(|found| found.is_loss());
    if is_lost {
        // The agents' rows before the host's, as everywhere.
        db::agents::losses::agents_of_host_lock_of_any_organization(&mut tx, node_id).await?;
    }
    // The lock comes before the count: no start can take a slot of the host after the agents were counted.
    let withdrawal = host_lock(&mut tx, node_id).await?;
    if withdrawal.is_some_and(|found| found.is_loss()) != is_lost {
        return Err(RequestError::Conflict(format!(
            "Cannot remove node '{node_id}': it was declared lost or taken back into service meanwhile. Try again."
        )));
    }
    let usage = db::hosts::registry::host_usage_of_any_organization(&mut tx, node_id).await?;
    if usage.active > 0 {
        return Err(RequestError::Conflict(format!(
            "Cannot remove node '{node_id}': {} agent(s) run there or may have a container there. \
            Drain it first, or have them suspended or deleted; if the host is lost for good, declare it lost first.",
            usage.active
        )));
    }
    if usage.unsaved > 0 {
        return Err(RequestError::Conflict(format!(
            "Cannot remove node '{node_id}': it holds the only copy of the state of {} stopped \
            agent(s). Their owners must start and suspend them again, which saves the state, restore a backup, \
            or delete them first.",
            usage.unsaved
        )));
    }
    if usage.tombstones > 0 && !is_lost {
        return Err(RequestError::Conflict(format!(
            "Cannot remove node '{node_id}': what {} deleted agent(s) left on it is not removed yet. \
            Try again in a minute; if the host is lost for good, declare it lost first.",
            usage.tombstones
        )));
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    if is_lost {
        db::agents::tombstones::tombstones_forget_host_of_any_organization(&mut tx, node_id, now)
            .await?;
        db::agents::losses::host_forget_of_any_organization(&mut tx, node_id).await?;
    }
    db::hosts::registry::host_delete(&mut tx, node_id).await?;
    let action = AuditEntry {
        user_id: admin_id,
        action: "node.remove",
        subject: node_id,
        details: json!({}),
        result: "removed",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    tx.commit().await?;
    Ok(())
}
