//! `cloud.backup_objects`: the objects of the bucket that hold the states of backups. Owns: that each object has a row
//! before it exists and until it is deleted.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::{AgentRef, BackupId};

/// An object that no backup refers to.
#[derive(Clone, Copy, Debug)]
pub struct AbandonedObject {
    pub agent: AgentRef,
    pub backup_id: BackupId,
}

/// Records that an object is about to be stored. Returns the identifier of the backup to be.
pub async fn object_insert(
    conn: &mut Connection,
    agent: AgentRef,
    now: DateTime<Utc>,
) -> sqlx::Result<BackupId> {
    sqlx::query_scalar!(
        "INSERT INTO cloud.backup_objects (organization_id, agent_id, created_at) VALUES ($1, $2, $3)
        RETURNING backup_id",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        now
    )
    .fetch_one(conn)
    .await
}

/// The oldest objects that no backup refers to, recorded before `before`: until then a backup may still be inserted.
pub async fn objects_abandoned_of_any_organization(
    conn: &mut Connection,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<AbandonedObject>> {
    let rows = sqlx::query!(
        "SELECT o.backup_id, o.organization_id, o.agent_id FROM cloud.backup_objects o
        WHERE o.created_at < $1 AND NOT EXISTS (
            SELECT FROM public.milady_sandbox_backups b WHERE b.id = o.backup_id)
        ORDER BY o.created_at LIMIT $2",
        before,
        limit
    )
    .fetch_all(conn)
    .await?;
    let objects = rows.into_iter().map(|row| AbandonedObject {
        agent: AgentRef {
            organization_id: row.organization_id,
            agent_id: row.agent_id,
        },
        backup_id: row.backup_id,
    });
    Ok(objects.collect())
}

/// Forgets an object that is deleted.
pub async fn object_delete(
    conn: &mut Connection,
    agent: AgentRef,
    backup_id: BackupId,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.backup_objects WHERE organization_id = $1 AND agent_id = $2 AND backup_id = $3",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        backup_id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}
