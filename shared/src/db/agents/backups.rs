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

/// An agent's newest backups, newest first, at most [`MAX_LISTED_BACKUPS`].
pub async fn backups_newest(conn: &mut Connection, agent: AgentRef) -> sqlx::Result<Vec<Backup>> {
    sql!(query_as!(
        Backup,
        "SELECT "
            + BACKUP_COLUMNS
            + "
        FROM public.milady_sandbox_backups b JOIN public.milady_sandboxes a ON a.id = b.sandbox_record_id
        WHERE a.organization_id = $1 AND a.id = $2
        ORDER BY b.created_at DESC, b.id DESC LIMIT $3",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        MAX_LISTED_BACKUPS
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
/// The type of a daily backup of a running agent.
pub const DAILY: &str = "auto";
/// The type of the backup that a stop makes.
pub const PRE_SHUTDOWN: &str = "pre-shutdown";
/// Lists are not longer. More are kept only of agents that an earlier deployment has backed up.
pub const MAX_LISTED_BACKUPS: i64 = 20;
/// Older backups of a type are deleted when a new backup is stored. Of those that a stop made, only the newest is kept.
pub const MAX_MANUAL_BACKUPS: i64 = 3;
pub const MAX_DAILY_BACKUPS: i64 = 7;

/// A state in the form in which it is stored.
#[derive(Clone, Copy, Debug)]
pub enum BackupState<'a> {
    /// In `state_data`.
    Json(&'a str),
    /// In `state_bytes`.
    Compressed(&'a [u8]),
    /// In the bucket, in the object that was made for the backup with this id.
    InBucket(BackupId),
}

/// Stores an agent's state, marks the agent as backed up, and deletes the backups that are no longer kept.
///
/// # Errors
/// Fails with [`crate::db::is_refused_state`] for a state that the database does not take.
pub async fn backup_insert(
    conn: &mut Connection,
    agent: AgentRef,
    snapshot_type: &str,
    state: BackupState<'_>,
    size_bytes: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<BackupId> {
    let (json, bytes, object_id) = match state {
        BackupState::Json(json) => (json, None, None),
        BackupState::Compressed(bytes) => ("{}", Some(bytes), None),
        BackupState::InBucket(object_id) => ("{}", None, Some(object_id)),
    };
    let id = sqlx::query_scalar!(
        "INSERT INTO public.milady_sandbox_backups
            (id, sandbox_record_id, snapshot_type, state_data, state_bytes, size_bytes, created_at)
        SELECT coalesce($8, gen_random_uuid()), id, $3, ($4::text)::jsonb, $5, $6, $7
        FROM public.milady_sandboxes
        WHERE organization_id = $1 AND id = $2
        RETURNING id",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        snapshot_type,
        json,
        bytes,
        size_bytes,
        now,
        object_id.map(BackupId::uuid)
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET last_backup_at = greatest(last_backup_at, $3)
        WHERE organization_id = $1 AND id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        now
    )
    .execute(&mut *conn)
    .await?;
    backups_prune(conn, agent).await?;
    Ok(id)
}

async fn backups_prune(conn: &mut Connection, agent: AgentRef) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM public.milady_sandbox_backups WHERE sandbox_record_id = $1 AND id IN (
            SELECT id FROM (
                SELECT id, snapshot_type, created_at, row_number() OVER (
                    PARTITION BY CASE WHEN snapshot_type IN ($2, $3) THEN snapshot_type END
                    ORDER BY created_at DESC, id DESC) AS place
                FROM public.milady_sandbox_backups WHERE sandbox_record_id = $1) AS ranked
            WHERE place > CASE snapshot_type WHEN $2 THEN $4::bigint WHEN $3 THEN 1 ELSE $5::bigint END)",
        agent.agent_id.uuid(),
        MANUAL,
        PRE_SHUTDOWN,
        MAX_MANUAL_BACKUPS,
        MAX_DAILY_BACKUPS
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The newest backup that a stop made since the agent's container began to run. `None` also if it is not known when that
/// was.
pub async fn backup_of_stop(
    conn: &mut Connection,
    agent: AgentRef,
) -> sqlx::Result<Option<BackupId>> {
    sqlx::query_scalar!(
        "SELECT b.id FROM public.milady_sandbox_backups b
        JOIN public.milady_sandboxes a ON a.id = b.sandbox_record_id
        WHERE a.organization_id = $1 AND a.id = $2 AND b.snapshot_type = $3
            AND b.created_at >= coalesce(a.compute_started_at, a.stop_requested_at)
        ORDER BY b.created_at DESC, b.id DESC LIMIT 1",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        PRE_SHUTDOWN
    )
    .fetch_optional(conn)
    .await
}

/// A state that was read.
#[derive(Clone, Debug)]
pub struct StoredState {
    pub backup_id: BackupId,
    /// Empty if the state is elsewhere.
    pub json: String,
    /// The state, if JSON does not hold it.
    pub compressed: Option<Vec<u8>>,
    /// See [`BackupPlace::object_organization_id`].
    pub object_organization_id: Option<OrganizationId>,
}

/// Where the state of a backup is.
#[derive(Clone, Copy, Debug)]
pub struct BackupPlace {
    /// The organization that the agent belonged to when the state was stored in the bucket: the object has its name. `None` if
    /// the state is in the database.
    pub object_organization_id: Option<OrganizationId>,
}

/// Where the state of an agent's backup is. `None` for a backup of another agent.
pub async fn backup_place_find(
    conn: &mut Connection,
    agent: AgentRef,
    backup_id: BackupId,
) -> sqlx::Result<Option<BackupPlace>> {
    sqlx::query_as!(
        BackupPlace,
        r#"SELECT o.organization_id AS "object_organization_id?: OrganizationId"
        FROM public.milady_sandbox_backups b
        JOIN public.milady_sandboxes a ON a.id = b.sandbox_record_id
        LEFT JOIN cloud.backup_objects o ON o.backup_id = b.id
        WHERE a.organization_id = $1 AND a.id = $2 AND b.id = $3"#,
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        backup_id.uuid()
    )
    .fetch_optional(conn)
    .await
}

/// The state of an agent's backup with this id, or of its newest backup if `backup_id` is `None`.
pub async fn backup_state(
    conn: &mut Connection,
    agent: AgentRef,
    backup_id: Option<BackupId>,
) -> sqlx::Result<Option<StoredState>> {
    sqlx::query_as!(
        StoredState,
        r#"SELECT b.id AS backup_id, b.state_data::text AS "json!", b.state_bytes AS compressed,
            o.organization_id AS "object_organization_id?: OrganizationId"
        FROM public.milady_sandbox_backups b
        JOIN public.milady_sandboxes a ON a.id = b.sandbox_record_id
        LEFT JOIN cloud.backup_objects o ON o.backup_id = b.id
        WHERE a.organization_id = $1 AND a.id = $2 AND ($3::uuid IS NULL OR b.id = $3)
        ORDER BY b.created_at DESC, b.id DESC LIMIT 1"#,
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        backup_id.map(BackupId::uuid)
    )
    .fetch_optional(conn)
    .await
}
