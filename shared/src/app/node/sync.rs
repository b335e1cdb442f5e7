//! The hosts' counts of taken slots are set to the rows that hold one.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::app::error::RequestError;
use crate::db;
use crate::db::requests::audit_log::Action;

/// What was changed.
#[derive(Clone, Debug)]
pub struct Synced {
    /// Each changed host with its count before and after, by host.
    pub changes: Vec<(String, i32, i32)>,
    /// When.
    pub at: DateTime<Utc>,
}

impl Synced {
    /// The changes as JSON: `{host: {before, after}}`.
    #[must_use]
    pub fn changes(&self) -> Value {
        let changes = self.changes.iter().map(|(node_id, before, after)| {
            (node_id.clone(), json!({"before": before, "after": after}))
        });
        Value::Object(changes.collect::<Map<_, _>>())
    }
}

/// Counts the slots of all hosts anew.
///
/// # Errors
/// [`RequestError::Database`]; then nothing was changed.
pub async fn node_sync(pool: &PgPool, admin_id: Uuid) -> Result<Synced, RequestError> {
    let mut tx = pool.begin().await?;
    let changes = db::hosts::slots::slots_reconcile(&mut tx).await?;
    let at = db::clock::billing_clock(&mut tx).await?;
    let synced = Synced { changes, at };
    let action = Action {
        user_id: admin_id,
        action: "node.sync",
        subject: "all",
        details: synced.changes(),
        result: "synced",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, at).await?;
    tx.commit().await?;
    Ok(synced)
}
