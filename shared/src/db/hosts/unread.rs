//! `cloud.unread_hosts`: hosts whose containers the last inspection could not read. Owns: since when. Does not own: what
//! follows from it (`domain::withdrawal`).

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::withdrawal::{INSPECTION_MAX_AGE, UnreadHost};

/// Records that these hosts could not be read, before their rows say that they were inspected again. Failed inspections
/// that are too far apart are not consecutive.
pub async fn unread_hosts_record(
    conn: &mut Connection,
    node_ids: &[String],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.unread_hosts AS u (node_id, last_read_at, since, checked_at)
        SELECT n.node_id, least(coalesce(n.last_health_check, $2), $2), $2, $2
        FROM public.docker_nodes n WHERE n.node_id = ANY($1) ORDER BY n.node_id
        ON CONFLICT (node_id) DO UPDATE SET
            since = CASE WHEN u.checked_at < $3 THEN excluded.since ELSE u.since END,
            checked_at = greatest(u.checked_at, excluded.checked_at)",
        node_ids,
        now,
        now - INSPECTION_MAX_AGE
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that these hosts were read.
pub async fn read_hosts_record(conn: &mut Connection, node_ids: &[String]) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.unread_hosts WHERE node_id = ANY($1)",
        node_ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn unread_host_find(
    conn: &mut Connection,
    node_id: &str,
) -> sqlx::Result<Option<UnreadHost>> {
    sqlx::query_as!(
        UnreadHost,
        "SELECT last_read_at, since, checked_at FROM cloud.unread_hosts WHERE node_id = $1",
        node_id
    )
    .fetch_optional(conn)
    .await
}
