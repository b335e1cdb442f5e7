//! `snapshot_requests`: the snapshots that owners requested, whatever became of them.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::{AgentId, AgentRef, OrganizationId, SnapshotRequestId};

#[derive(Clone, Copy, Debug)]
pub struct SnapshotRequest {
    pub agent_id: AgentId,
    pub requested_at: DateTime<Utc>,
    /// In the past if the snapshot has ended.
    pub running_until: DateTime<Utc>,
}

/// The snapshots of an organization that were requested after `since`, the newest first.
pub async fn snapshot_requests_since(
    conn: &mut Connection,
    organization_id: OrganizationId,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<SnapshotRequest>> {
    sqlx::query_as!(
        SnapshotRequest,
        "SELECT agent_id, requested_at, running_until FROM cloud.snapshot_requests
        WHERE organization_id = $1 AND requested_at > $2 ORDER BY requested_at DESC",
        organization_id.uuid(),
        since
    )
    .fetch_all(conn)
    .await
}

/// Inserts a request, and deletes those of the organization that were made before `since`.
pub async fn snapshot_request_insert(
    conn: &mut Connection,
    agent: AgentRef,
    now: DateTime<Utc>,
    running_until: DateTime<Utc>,
    since: DateTime<Utc>,
) -> sqlx::Result<SnapshotRequestId> {
    sqlx::query_scalar!(
        "WITH outdated AS (
            DELETE FROM cloud.snapshot_requests WHERE organization_id = $1 AND requested_at <= $5
        )
        INSERT INTO cloud.snapshot_requests (organization_id, agent_id, requested_at, running_until)
        VALUES ($1, $2, $3, $4) RETURNING id",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        now,
        running_until,
        since
    )
    .fetch_one(conn)
    .await
}

/// Records that a snapshot does not run any more.
pub async fn snapshot_request_end(
    conn: &mut Connection,
    organization_id: OrganizationId,
    id: SnapshotRequestId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.snapshot_requests SET running_until = least(running_until, $3)
        WHERE organization_id = $1 AND id = $2",
        organization_id.uuid(),
        id.uuid(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
