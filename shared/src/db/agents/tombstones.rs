//! `cloud.tombstones`: what deleted agents left outside. Owns: that only one worker at a time works on a tombstone.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::{AgentId, OrganizationId};

/// What is left of an agent whose row was deleted.
#[derive(Clone, Debug)]
pub struct Tombstone {
    pub fence: TombstoneFence,
    pub organization_id: OrganizationId,
    pub node_id: Option<String>,
    /// Hosts that may hold volumes from earlier placements.
    pub former_nodes: Vec<String>,
    /// Whether the agent has a database that this product created.
    pub has_database: bool,
    pub neon_project_id: Option<String>,
    /// Whether another row has the agent's identifier by now.
    pub agent_exists: bool,
    /// Whether a worker may still create what was removed.
    pub may_be_starting: bool,
}

/// A worker's claim on a tombstone. Every claim raises the number of attempts, so an earlier worker's claim has ended.
#[derive(Clone, Copy, Debug)]
pub struct TombstoneFence {
    pub agent_id: AgentId,
    pub attempts: i32,
}

/// A part of the tombstones that are due, taking organizations in turn: the workers also run jobs, and a large
/// organization that was deleted must not delay those.
pub async fn tombstones_due_of_any_organization(
    conn: &mut Connection,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<AgentId>> {
    sqlx::query_scalar!(
        r#"SELECT agent_id AS "agent_id: AgentId" FROM cloud.tombstones WHERE due_at <= $1
        ORDER BY row_number() OVER (PARTITION BY organization_id ORDER BY due_at), due_at LIMIT 30"#,
        now
    )
    .fetch_all(conn)
    .await
}

/// How many tombstones were left before this time, apart from those that wait for a lost host to return.
pub async fn tombstones_count_of_any_organization(
    conn: &mut Connection,
    created_before: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM cloud.tombstones t WHERE created_at < $1 AND NOT EXISTS (
            SELECT FROM cloud.host_withdrawals w
            WHERE w.kind = 'loss' AND (w.node_id = t.node_id OR w.node_id = ANY(t.former_nodes)))"#,
        created_before
    )
    .fetch_one(conn)
    .await
}

/// Takes a tombstone that is due. Nobody else takes it before `claimed_until`. A worker that has begun to start the
/// agent ends at the latest after `stale_before`, or with its job.
pub async fn tombstone_claim_of_any_organization(
    conn: &mut Connection,
    agent_id: AgentId,
    now: DateTime<Utc>,
    claimed_until: DateTime<Utc>,
    stale_before: DateTime<Utc>,
) -> sqlx::Result<Option<Tombstone>> {
    let row = sqlx::query!(
        r#"UPDATE cloud.tombstones t SET attempts = attempts + 1, due_at = $3
        WHERE agent_id = $1 AND due_at <= $2
        RETURNING attempts, organization_id AS "organization_id: OrganizationId", node_id, former_nodes,
            has_database, neon_project_id,
            EXISTS (SELECT FROM public.milady_sandboxes a WHERE a.id = t.agent_id) AS "agent_exists!",
            was_starting AND (created_at > $4 OR EXISTS (SELECT FROM public.jobs j
                WHERE j.agent_id = t.agent_id AND j.status = 'in_progress')) AS "may_be_starting!""#,
        agent_id.uuid(),
        now,
        claimed_until,
        stale_before
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Tombstone {
        fence: TombstoneFence {
            agent_id,
            attempts: row.attempts,
        },
        organization_id: row.organization_id,
        node_id: row.node_id,
        former_nodes: row.former_nodes,
        has_database: row.has_database,
        neon_project_id: row.neon_project_id,
        agent_exists: row.agent_exists,
        may_be_starting: row.may_be_starting,
    }))
}

/// Whether the worker still holds the tombstone, and no row has the agent's identifier.
pub async fn tombstone_is_held_of_any_organization(
    conn: &mut Connection,
    fence: TombstoneFence,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM cloud.tombstones WHERE agent_id = $1 AND attempts = $2)
            AND NOT EXISTS (SELECT FROM public.milady_sandboxes WHERE id = $1) AS "is_held!""#,
        fence.agent_id.uuid(),
        fence.attempts
    )
    .fetch_one(conn)
    .await
}

/// Frees the slot of a container that is gone. A repeated call changes nothing.
pub async fn tombstone_slot_free_of_any_organization(
    conn: &mut Connection,
    fence: TombstoneFence,
) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH freed AS (
            UPDATE cloud.tombstones SET holds_slot = false
            WHERE agent_id = $1 AND attempts = $2 AND holds_slot RETURNING node_id)
        UPDATE public.docker_nodes n
        SET allocated_count = greatest(allocated_count - 1, 0), updated_at = cloud.billing_clock()
        FROM freed WHERE n.node_id = freed.node_id",
        fence.agent_id.uuid(),
        fence.attempts
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes a tombstone due again.
pub async fn tombstone_retry_of_any_organization(
    conn: &mut Connection,
    fence: TombstoneFence,
    due_at: DateTime<Utc>,
    error: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.tombstones SET due_at = $3, error = $4 WHERE agent_id = $1 AND attempts = $2",
        fence.agent_id.uuid(),
        fence.attempts,
        due_at,
        error
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn tombstone_delete_of_any_organization(
    conn: &mut Connection,
    fence: TombstoneFence,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.tombstones WHERE agent_id = $1 AND attempts = $2",
        fence.agent_id.uuid(),
        fence.attempts
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets tombstones forget a lost host that leaves the fleet. A worker of one of them loses its fence.
pub async fn tombstones_forget_host_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "UPDATE cloud.tombstones SET node_id = nullif(node_id, $1), former_nodes = array_remove(former_nodes, $1),
            holds_slot = holds_slot AND node_id IS DISTINCT FROM $1, due_at = $2, attempts = attempts + 1
        WHERE node_id = $1 OR $1 = ANY(former_nodes)",
        node_id,
        now
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}
