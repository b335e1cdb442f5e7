//! An operator gives a host back.
//!
//! Agents that are stopped and saved are no obstacle: a start takes their newest backup to another host.
//! Their rows go on naming the host, of which nobody finds anything any more.

use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::app::error::RequestError;
use crate::db;
use crate::db::requests::audit_log::Action;

/// Removes a host on which no agent has anything that is nowhere else.
///
/// # Errors
/// [`RequestError`]; then it is there still.
pub async fn node_remove(pool: &PgPool, admin_id: Uuid, node_id: &str) -> Result<(), RequestError> {
    let mut tx = pool.begin().await?;
    if !db::hosts::operator::node_lock(&mut tx, node_id).await? {
        return Err(RequestError::NO_NODE);
    }
    let held = db::hosts::operator::node_held(&mut tx, node_id).await?;
    if held.active > 0 {
        return Err(RequestError::Conflict(format!(
            "Cannot remove node '{node_id}': {} active container(s) still running. \
            Stop or migrate them first.",
            held.active
        )));
    }
    if held.unsaved > 0 {
        return Err(RequestError::Conflict(format!(
            "Cannot remove node '{node_id}': it holds the only copy of the state of {} stopped \
            agent(s). Start, restore or delete them first.",
            held.unsaved
        )));
    }
    db::hosts::operator::node_delete(&mut tx, node_id).await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let action = Action {
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
