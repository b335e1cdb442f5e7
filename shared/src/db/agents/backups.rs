//! `milady_sandbox_backups`. Owns: which backups an agent has, and the states they hold.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::{AgentRef, BackupId, OrganizationId};

/// A backup without its state.
#[derive(Clone, Debug)]
pub struct Backup {
    pub id: BackupId,
    pub snapshot_type: String,
    pub size_bytes: Option<i64>,
    pub vercel_snapshot_id: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// An agent's newest ten backups, newest first.
pub async fn backups_newest(conn: &mut Connection, agent: AgentRef) -> sqlx::Result<Vec<Backup>> {
    sql!(query_as!(
        Backup,
        "SELECT "
            + BACKUP_COLUMNS
            + "
        FROM public.milady_sandbox_backups b JOIN public.milady_sandboxes a ON a.id = b.sandbox_record_id
        WHERE a.organization_id = $1 AND a.id = $2
        ORDER BY b.created_at DESC, b.id DESC LIMIT 10",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    ))
    .fetch_all(conn)
    .await
}

/// The backup that a restore uses.
#[derive(Clone, Debug)]
pub struct ChosenBackup {
    pub backup: Backup,
    pub is_newest: bool,
}

/// The backup with this id, or the newest one if `backup_id` is `None`. `None` for a backup of another agent (F12).
pub async fn backup_find(
    conn: &mut Connection,
    agent: AgentRef,
    backup_id: Option<BackupId>,
) -> sqlx::Result<Option<ChosenBackup>> {
    let newest = backups_newest(conn, agent).await?.into_iter().next();
    let Some(backup_id) = backup_id else {
        return Ok(newest.map(|backup| ChosenBackup {
            backup,
            is_newest: true,
        }));
    };
    let backup = sql!(query_as!(
        Backup,
        "SELECT "
            + BACKUP_COLUMNS
            + "
        FROM public.milady_sandbox_backups b JOIN public.milady_sandboxes a ON a.id = b.sandbox_record_id
        WHERE a.organization_id = $1 AND a.id = $2 AND b.id = $3",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        backup_id.uuid()
    ))
    .fetch_optional(conn)
    .await?;
    Ok(backup.map(|backup| ChosenBackup {
        is_newest: newest.is_some_and(|newest| newest.id == backup.id),
        backup,
    }))
}

/// The type of a backup that the owner requested.
pub const MANUAL: &str = "manual";
/// Older backups of an agent are deleted when a new one is stored.
pub const MAX_BACKUPS: i64 = 10;

/// A state in the form in which it is stored.
#[derive(Clone, Copy, Debug)]
pub enum BackupState<'a> {
    /// In `state_data`.
    Json(&'a str),
    /// In `state_bytes`.
    Compressed(&'a [u8]),
}

/// Stores an agent's state, marks the agent as backed up, and deletes all but its newest ten backups.
///
/// # Errors
/// Fails with [`crate::db::is_unstorable_value`] for JSON that the database cannot hold.
pub async fn backup_insert(
    conn: &mut Connection,
    agent: AgentRef,
    snapshot_type: &str,
    state: BackupState<'_>,
    size_bytes: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<BackupId> {
    let (json, bytes) = match state {
        BackupState::Json(json) => (json, None),
        BackupState::Compressed(bytes) => ("{}", Some(bytes)),
    };
    let id = sqlx::query_scalar!(
        "INSERT INTO public.milady_sandbox_backups
            (sandbox_record_id, snapshot_type, state_data, state_bytes, size_bytes, created_at)
        SELECT id, $3, ($4::text)::jsonb, $5, $6, $7 FROM public.milady_sandboxes
        WHERE organization_id = $1 AND id = $2
        RETURNING id",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        snapshot_type,
        json,
        bytes,
        size_bytes,
        now
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET last_backup_at = $3 WHERE organization_id = $1 AND id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        now
    )
    .execute(&mut *conn)
    .await?;
    delete_old(conn, agent).await?;
    Ok(id)
}

async fn delete_old(conn: &mut Connection, agent: AgentRef) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM public.milady_sandbox_backups WHERE sandbox_record_id = $1 AND id NOT IN (
            SELECT id FROM public.milady_sandbox_backups WHERE sandbox_record_id = $1
            ORDER BY created_at DESC, id DESC LIMIT $2)",
        agent.agent_id.uuid(),
        MAX_BACKUPS
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// When the agent's kept backups of a type were taken since `since`, the newest first.
pub async fn backups_since(
    conn: &mut Connection,
    agent: AgentRef,
    snapshot_type: &str,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT b.created_at FROM public.milady_sandbox_backups b
        JOIN public.milady_sandboxes a ON a.id = b.sandbox_record_id
        WHERE a.organization_id = $1 AND a.id = $2 AND b.snapshot_type = $3 AND b.created_at > $4
        ORDER BY b.created_at DESC",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        snapshot_type,
        since
    )
    .fetch_all(conn)
    .await
}

/// How many kept backups of a type, taken since `since`, the agent has that has most of an organization's.
pub async fn backups_of_busiest_agent(
    conn: &mut Connection,
    organization_id: OrganizationId,
    snapshot_type: &str,
    since: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT coalesce(max(n), 0) AS "n!" FROM (
            SELECT count(*) AS n FROM public.milady_sandboxes a
            JOIN public.milady_sandbox_backups b ON b.sandbox_record_id = a.id
            WHERE a.organization_id = $1 AND b.snapshot_type = $2 AND b.created_at > $3
            GROUP BY a.id) AS of_agents"#,
        organization_id.uuid(),
        snapshot_type,
        since
    )
    .fetch_one(conn)
    .await
}

/// A state that was read. `compressed`, if present, is the state; `json` is then empty.
#[derive(Clone, Debug)]
pub struct StoredState {
    pub json: String,
    pub compressed: Option<Vec<u8>>,
}

/// The state of an agent's backup with this id, or of its newest backup if `backup_id` is `None`.
pub async fn backup_state(
    conn: &mut Connection,
    agent: AgentRef,
    backup_id: Option<BackupId>,
) -> sqlx::Result<Option<StoredState>> {
    sqlx::query_as!(
        StoredState,
        r#"SELECT b.state_data::text AS "json!", b.state_bytes AS compressed
        FROM public.milady_sandbox_backups b
        JOIN public.milady_sandboxes a ON a.id = b.sandbox_record_id
        WHERE a.organization_id = $1 AND a.id = $2 AND ($3::uuid IS NULL OR b.id = $3)
        ORDER BY b.created_at DESC, b.id DESC LIMIT 1"#,
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        backup_id.map(BackupId::uuid)
    )
    .fetch_optional(conn)
    .await
}
