//! `admin_audit_log`. Owns: appending to it, that the result of an entry is set once, and the list of entries.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::db::session::Connection;
use crate::domain::history::Period;
use crate::domain::ids::UserId;

/// What an admin does, or an owner with secrets of an agent.
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

/// The user of entries about what the control plane did by itself.
pub const CONTROL_PLANE: UserId = UserId::new(Uuid::nil());
/// The removal of a container that runs although its agent is stopped.
pub const SURPLUS_CONTAINER: &str = "agent.surplus_container";

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

/// The same for the entries of an action of the control plane about this subject.
pub async fn audit_finish_subject(
    conn: &mut Connection,
    action: &str,
    subject: &str,
    result: &str,
    details: &Value,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.admin_audit_log SET result = $3, details = details || $4
        WHERE subject = $2 AND action = $1 AND user_id = $5 AND result = $6",
        action,
        subject,
        result,
        details,
        CONTROL_PLANE.uuid(),
        BEGUN
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Which entries are listed; `None` does not limit the list.
#[derive(Clone, Copy, Debug)]
pub struct AuditSelection<'a> {
    pub user_id: Option<UserId>,
    pub action: Option<&'a str>,
    pub subject: Option<&'a str>,
    pub period: Period,
}

/// An entry as it was recorded.
#[derive(Clone, Debug)]
pub struct AuditRecord {
    pub id: i64,
    pub user_id: UserId,
    /// `None` for a user without a name, or who was deleted.
    pub user_name: Option<String>,
    pub action: String,
    pub subject: String,
    pub details: Value,
    pub result: String,
    pub created_at: DateTime<Utc>,
}

/// One page of entries, newest first, before the entry with this id.
pub async fn audit_page(
    conn: &mut Connection,
    selection: AuditSelection<'_>,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<AuditRecord>> {
    sqlx::query_as!(
        AuditRecord,
        r#"SELECT l.id, l.user_id AS "user_id: UserId", u.name AS "user_name?", l.action, l.subject, l.details, l.result, l.created_at
        FROM cloud.admin_audit_log l LEFT JOIN public.users u ON u.id = l.user_id
        WHERE ($1::uuid IS NULL OR l.user_id = $1) AND ($2::text IS NULL OR l.action = $2)
            AND ($3::text IS NULL OR l.subject = $3) AND l.created_at >= $4 AND l.created_at < $5
            AND ($6::bigint IS NULL OR l.id < $6)
        ORDER BY l.id DESC LIMIT $7"#,
        selection.user_id.map(UserId::uuid),
        selection.action,
        selection.subject,
        selection.period.from,
        selection.period.to,
        before,
        limit
    )
    .fetch_all(conn)
    .await
}
