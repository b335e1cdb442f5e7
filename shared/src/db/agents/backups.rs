//! `milady_sandbox_backups`. Owns: what backups of an agent there are, and the state they hold.

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

/// How many backups of an agent are kept.
const KEPT: i64 = 10;

/// An agent's state as it is stored.
#[derive(Clone, Copy, Debug)]
pub enum State<'a> {
    /// As JSON, in `state_data`.
    Json(&'a str),
    /// Compressed, in `state_bytes`.
    Compressed(&'a [u8]),
}

/// Stores an agent's state, marks it as backed up, and forgets all but its newest ten backups.
///
/// # Errors
/// Database errors; also for JSON that the database cannot hold.
pub async fn backup_insert(
    conn: &mut PgConnection,
    (organization_id, agent_id): (Uuid, Uuid),
    kind: &str,
    state: State<'_>,
    size_bytes: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Uuid> {
    let (json, bytes) = match state {
        State::Json(json) => (json, None),
        State::Compressed(bytes) => ("{}", Some(bytes)),
    };
    let id = sqlx::query_scalar!(
        "INSERT INTO milady_sandbox_backups
            (sandbox_record_id, snapshot_type, state_data, state_bytes, size_bytes, created_at)
        SELECT id, $3, ($4::text)::jsonb, $5, $6, $7 FROM milady_sandboxes
        WHERE organization_id = $1 AND id = $2
        RETURNING id",
        organization_id,
        agent_id,
        kind,
        json,
        bytes,
        size_bytes,
        now
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE milady_sandboxes SET last_backup_at = $3 WHERE organization_id = $1 AND id = $2",
        organization_id,
        agent_id,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM milady_sandbox_backups WHERE sandbox_record_id = $1 AND id NOT IN (
            SELECT id FROM milady_sandbox_backups WHERE sandbox_record_id = $1
            ORDER BY created_at DESC, id DESC LIMIT $2)",
        agent_id,
        KEPT
    )
    .execute(conn)
    .await?;
    Ok(id)
}

/// What a backup holds: JSON, or the compressed form.
pub type Stored = (String, Option<Vec<u8>>);

/// The state that a backup of exactly this agent holds; without an id: its newest one.
///
/// # Errors
/// Database errors.
pub async fn backup_state(
    conn: &mut PgConnection,
    (organization_id, agent_id): (Uuid, Uuid),
    backup_id: Option<Uuid>,
) -> sqlx::Result<Option<Stored>> {
    let row = sqlx::query!(
        r#"SELECT b.state_data::text AS "json!", b.state_bytes FROM milady_sandbox_backups b
        JOIN milady_sandboxes a ON a.id = b.sandbox_record_id
        WHERE a.organization_id = $1 AND a.id = $2 AND ($3::uuid IS NULL OR b.id = $3)
        ORDER BY b.created_at DESC, b.id DESC LIMIT 1"#,
        organization_id,
        agent_id,
        backup_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.json, row.state_bytes)))
}
