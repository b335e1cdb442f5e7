//! `milady_sandbox_backups`. Owns: reading what backups of an agent there are.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// A backup, without the state it holds.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct Backup {
    pub id: Uuid,
    pub snapshot_type: String,
    pub size_bytes: Option<i64>,
    pub vercel_snapshot_id: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// The newest ten backups of one of an organization's agents, newest first.
///
/// # Errors
/// Database errors.
pub async fn backups_newest(
    conn: &mut PgConnection,
    organization_id: Uuid,
    agent_id: Uuid,
) -> sqlx::Result<Vec<Backup>> {
    sqlx::query_as!(
        Backup,
        "SELECT b.id, b.snapshot_type, b.size_bytes, b.vercel_snapshot_id, b.created_at
        FROM milady_sandbox_backups b JOIN milady_sandboxes a ON a.id = b.sandbox_record_id
        WHERE a.organization_id = $1 AND a.id = $2
        ORDER BY b.created_at DESC, b.id DESC LIMIT 10",
        organization_id,
        agent_id
    )
    .fetch_all(conn)
    .await
}

/// A backup of exactly this agent, and whether it is its newest; none for a backup of any other
/// (F12). Without an id: the newest.
///
/// # Errors
/// Database errors.
pub async fn backup_find(
    conn: &mut PgConnection,
    organization_id: Uuid,
    agent_id: Uuid,
    backup_id: Option<Uuid>,
) -> sqlx::Result<Option<(Backup, bool)>> {
    let newest = backups_newest(conn, organization_id, agent_id).await?;
    let newest = newest.into_iter().next();
    let Some(wanted) = backup_id else {
        return Ok(newest.map(|backup| (backup, true)));
    };
    let backup = sqlx::query_as!(
        Backup,
        "SELECT b.id, b.snapshot_type, b.size_bytes, b.vercel_snapshot_id, b.created_at
        FROM milady_sandbox_backups b JOIN milady_sandboxes a ON a.id = b.sandbox_record_id
        WHERE a.organization_id = $1 AND a.id = $2 AND b.id = $3",
        organization_id,
        agent_id,
        wanted
    )
    .fetch_optional(conn)
    .await?;
    Ok(backup.map(|backup| {
        let is_newest = newest.is_some_and(|newest| newest.id == backup.id);
        (backup, is_newest)
    }))
}
