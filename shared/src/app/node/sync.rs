//! An operator recounts the slots of all hosts: each host's count becomes the number of rows that hold a slot.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::app::error::RequestError;
use crate::db;
use crate::db::Database;
use crate::db::hosts::slots::SlotCorrection;
use crate::db::requests::audit_log::AuditEntry;
use crate::domain::fleet::Shard;
use crate::domain::ids::UserId;

#[derive(Clone, Debug)]
pub struct SlotSync {
    /// The hosts whose count was wrong, by name.
    pub changes: Vec<SlotCorrection>,
    pub synced_at: DateTime<Utc>,
}

impl SlotSync {
    /// The changes as JSON: `{nodeId: {before, after}}`.
    #[must_use]
    pub fn changes_json(&self) -> Value {
        let changes = self.changes.iter().map(|change| {
            let counts = json!({"before": change.before, "after": change.after});
            (change.node_id.clone(), counts)
        });
        Value::Object(changes.collect::<Map<_, _>>())
    }
}

/// Recounts the slots of all hosts.
pub async fn node_sync(pool: &Database, admin_id: UserId) -> Result<SlotSync, RequestError> {
    let mut tx = pool.begin().await?;
    let changes = db::hosts::slots::slots_reconcile(&mut tx, &Shard::default()).await?;
    let synced_at = db::clock::billing_clock(&mut tx).await?;
    let sync = SlotSync { changes, synced_at };
    let action = AuditEntry {
        user_id: admin_id,
        action: "node.sync",
        subject: "all",
        details: sync.changes_json(),
        result: "synced",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, synced_at).await?;
    tx.commit().await?;
    Ok(sync)
}
