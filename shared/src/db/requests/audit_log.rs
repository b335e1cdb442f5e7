//! `admin_audit_log`. Owns: appending to it, and that the result of an entry is set once.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::db::session::Connection;
use crate::domain::ids::UserId;

/// What an admin does.
#[derive(Clone, Debug)]
pub struct AuditEntry<'a> {
    pub user_id: UserId,
    /// `credit.grant`, `node.register`, ...
    pub action: &'static str,
    /// The id or name of what is acted on.
    pub subject: &'a str,
    /// A JSON object.
    pub details: Value,
    /// [`BEGUN`] for an action that is appended before it happens.
    pub result: &'static str,
}

/// The result of an action outside the database before it happens. An entry that keeps this result belongs to an
/// action whose outcome nobody knows.
pub const BEGUN: &str = "begun";

/// Returns the entry's id.
pub async fn audit_append(
    conn: &mut Connection,
    entry: &AuditEntry<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "INSERT INTO cloud.admin_audit_log (user_id, action, subject, details, result, created_at)
        VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
        entry.user_id.uuid(),
        entry.action,
        entry.subject,
        entry.details,
        entry.result,
        now
    )
    .fetch_one(conn)
    .await
}

/// Sets the result of an entry that is [`BEGUN`], and adds to its details.
pub async fn audit_finish(
    conn: &mut Connection,
    entry_id: i64,
    result: &str,
    details: &Value,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.admin_audit_log SET result = $2, details = details || $3
        WHERE id = $1 AND result = $4",
        entry_id,
        result,
        details,
        BEGUN
    )
    .execute(conn)
    .await?;
    Ok(())
}
