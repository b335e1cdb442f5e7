//! `open_streams`: the streams that somebody reads, and other requests that hold their connection for long, until they end
//! or expire.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::{OrganizationId, StreamId};

/// When an organization's streams that are open at `now` expire, the earliest first.
pub async fn stream_expiries(
    conn: &mut Connection,
    organization_id: OrganizationId,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT expires_at FROM cloud.open_streams WHERE organization_id = $1 AND expires_at > $2
        ORDER BY expires_at",
        organization_id.uuid(),
        now
    )
    .fetch_all(conn)
    .await
}

/// Inserts a stream, and deletes those of the organization that have expired.
pub async fn stream_insert(
    conn: &mut Connection,
    organization_id: OrganizationId,
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<StreamId> {
    sqlx::query_scalar!(
        "WITH expired AS (
            DELETE FROM cloud.open_streams WHERE organization_id = $1 AND expires_at <= $3
        )
        INSERT INTO cloud.open_streams (organization_id, expires_at) VALUES ($1, $2) RETURNING id",
        organization_id.uuid(),
        expires_at,
        now
    )
    .fetch_one(conn)
    .await
}

pub async fn stream_delete(
    conn: &mut Connection,
    organization_id: OrganizationId,
    id: StreamId,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.open_streams WHERE organization_id = $1 AND id = $2",
        organization_id.uuid(),
        id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}
