//! `admin_audit_log`. Owns: appending to it, and that an entry is settled once.

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
    /// How it ended; [`BEGUN`] for what is yet to be done.
    pub result: &'static str,
}

/// The result of an action outside of the database before it is done. Where it stays, nobody knows whether
/// it was.
pub const BEGUN: &str = "begun";

/// Appends one action; the entry.
///
/// # Errors
/// Database errors.
pub async fn audit_append(
    conn: &mut PgConnection,
    action: &Action<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "INSERT INTO admin_audit_log (user_id, action, subject, details, result, created_at)
        VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
        action.user_id,
        action.action,
        action.subject,
        action.details,
        action.result,
        now
    )
    .fetch_one(conn)
    .await
}

/// Says how a begun action ended, and adds what is known now.
///
/// # Errors
/// Database errors.
pub async fn audit_settle(
    conn: &mut PgConnection,
    entry: i64,
    result: &str,
    more: &Value,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE admin_audit_log SET result = $2, details = details || $3
        WHERE id = $1 AND result = $4",
        entry,
        result,
        more,
        BEGUN
    )
    .execute(conn)
    .await?;
    Ok(())
}
