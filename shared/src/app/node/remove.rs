//! An operator removes a host.
//!
//! Stopped agents whose state is saved do not prevent that: their next start restores the newest backup on another
//! host. Until then their rows still name the removed host. What deleted agents left on a lost host is forgotten with it.

use serde_json::json;

use crate::app::error::RequestError;
use crate::db;
use crate::db::Database;
use crate::db::requests::audit_log::AuditEntry;
use crate::domain::ids::UserId;
use crate::domain::withdrawal::WithdrawalKind;

/// Removes a host that holds no container and no unsaved state of an agent.
///
/// # Errors
/// [`RequestError::Conflict`] if it may hold one of them, or if a tombstone names it and it is not declared lost.
pub async fn node_remove(
    pool: &Database,
    admin_id: UserId,
    node_id: &str,
) -> Result<(), RequestError> {
    let mut tx = pool.begin().await?;
    // The lock comes first: no start can take a slot of the host after the agents were counted.
    if !db::hosts::registry::host_lock(&mut tx, node_id).await? {
        return Err(RequestError::NODE_NOT_FOUND);
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
    let withdrawal = db::hosts::withdrawals::withdrawal_find(&mut tx, node_id).await?;
    let is_lost = withdrawal.is_some_and(|found| found.kind == Some(WithdrawalKind::Loss));
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
