//! `admin_audit_log`. Owns: appending to it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// What an admin did.
#[derive(Clone, Debug)]
pub struct Action<'a> {
    /// Who.
    pub user_id: Uuid,
    /// What: `credit.grant`, ...
    pub action: &'static str,
    /// To what: an id.
    pub subject: &'a str,
    /// The rest of it.
    pub details: Value,
    /// How it ended.
    pub result: &'static str,
}

/// Appends one action.
///
/// # Errors
/// Database errors.
pub async fn audit_append(
    conn: &mut PgConnection,
    action: &Action<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO admin_audit_log (user_id, action, subject, details, result, created_at)
        VALUES ($1, $2, $3, $4, $5, $6)",
        action.user_id,
        action.action,
        action.subject,
        action.details,
        action.result,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
