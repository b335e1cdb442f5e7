//! The entry of the audit log about what an operator does to a container. Owns: its words, and which result follows
//! from an outcome. Does not own: that it is committed before the host is opened (`action`, `logs`).

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::app::error::RequestError;
use crate::db;
use crate::db::requests::audit_log::{AuditEntry, BEGUN};
use crate::domain::fleet::ContainerAction;
use crate::domain::ids::UserId;

/// What is about to be done.
pub(super) struct ContainerEntry<'a> {
    pub(super) admin_id: UserId,
    pub(super) action: ContainerAction,
    pub(super) node_id: &'a str,
    pub(super) container_name: &'a str,
    /// A JSON object.
    pub(super) details: Value,
}

/// Returns the entry's id.
pub(super) async fn begin_entry(
    conn: &mut db::Connection,
    entry: ContainerEntry<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    let action = AuditEntry {
        user_id: entry.admin_id,
        action: audit_word(entry.action),
        subject: &format!("{}/{}", entry.node_id, entry.container_name),
        details: entry.details,
        result: BEGUN,
    };
    db::requests::audit_log::audit_append(conn, &action, now).await
}

/// Records how it ended. `outcome` has what a success adds to the details: a JSON object.
pub(super) async fn finish_entry(
    conn: &mut db::Connection,
    entry_id: i64,
    outcome: Result<Value, &RequestError>,
    settled_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (result, mut details) = match outcome {
        Ok(details) => ("ok", details),
        Err(error @ (RequestError::NotFound(_) | RequestError::StatusConflict(_))) => {
            ("refused", json!({"reason": error.to_string()}))
        }
        Err(error) => ("failed", json!({"reason": error.to_string()})),
    };
    details["settledAt"] = json!(settled_at);
    db::requests::audit_log::audit_finish(conn, entry_id, result, &details).await
}

/// The action's name in the audit log.
fn audit_word(action: ContainerAction) -> &'static str {
    match action {
        ContainerAction::Logs => "container.logs",
        ContainerAction::Restart => "container.restart",
        ContainerAction::Stop => "container.stop",
        ContainerAction::Start => "container.start",
        ContainerAction::Inspect => "container.inspect",
        ContainerAction::PullImage => "container.pull-image",
        ContainerAction::RemoveGhost => "container.remove-ghost",
    }
}
