//! `docker_nodes.allocated_count`. Owns: the slots of hosts. An agent holds a slot as long as its row names a
//! container.

use crate::db::session::Connection;
use crate::domain::fleet::Shard;

/// Takes a slot of a host. Returns `false` if the host has no free slot or is disabled (F17).
pub async fn slot_take(conn: &mut Connection, node_id: &str) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE public.docker_nodes SET allocated_count = allocated_count + 1, updated_at = cloud.billing_clock()
        WHERE node_id = $1 AND enabled AND allocated_count < capacity",
        node_id
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Takes a slot of a host that is drained, for an agent whose only state is there. The drain is not done any more: it moves
/// the agent as soon as it runs. Returns `false` if the host has no free slot or is not drained.
pub async fn slot_take_on_drained_host(conn: &mut Connection, node_id: &str) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE public.docker_nodes SET allocated_count = allocated_count + 1, updated_at = cloud.billing_clock()
        WHERE node_id = $1 AND allocated_count < capacity AND EXISTS (
            SELECT FROM cloud.host_withdrawals w WHERE w.node_id = $1 AND w.kind = 'drain')",
        node_id
    )
    .execute(&mut *conn)
    .await?;
    let is_taken = result.rows_affected() == 1;
    if is_taken {
        super::withdrawals::drain_reopen(conn, node_id).await?;
    }
    Ok(is_taken)
}

/// Takes a slot of a host for an agent that returns there, also if the host is disabled or has no free slot: then the host
/// has an agent more than its capacity until one leaves. A drain is not done any more. Returns `false` if the host is lost or
/// not registered.
pub async fn slot_take_back(conn: &mut Connection, node_id: &str) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE public.docker_nodes SET allocated_count = allocated_count + 1, updated_at = cloud.billing_clock()
        WHERE node_id = $1 AND NOT EXISTS (
            SELECT FROM cloud.host_withdrawals w WHERE w.node_id = $1 AND w.kind = 'loss')",
        node_id
    )
    .execute(&mut *conn)
    .await?;
    let is_taken = result.rows_affected() == 1;
    if is_taken {
        super::withdrawals::drain_reopen(conn, node_id).await?;
    }
    Ok(is_taken)
}

pub async fn slot_free(conn: &mut Connection, node_id: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.docker_nodes SET allocated_count = greatest(allocated_count - 1, 0),
            updated_at = cloud.billing_clock()
        WHERE node_id = $1",
        node_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A host whose count of taken slots was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotCorrection {
    pub node_id: String,
    pub before: i32,
    pub after: i32,
}

/// Sets the count of taken slots of each host of a shard to the number of rows that hold one: rows that name a container
/// on the host, except those of stopped and pending agents, because an older web app frees the slot and leaves the name
/// in the row; and tombstones of agents whose container is not removed yet. Returns the corrections by host.
///
/// Locks these hosts until the transaction ends, and before it counts: a transaction that takes a slot meanwhile either
/// committed its row before the count or waits for it (F17).
pub async fn slots_reconcile(
    conn: &mut Connection,
    shard: &Shard,
) -> sqlx::Result<Vec<SlotCorrection>> {
    let (first, end) = (shard.first.as_deref(), shard.end.as_deref());
    // A statement of its own: the snapshot of the next one begins when all locks are held.
    sql!(query!(
        "SELECT FROM public.docker_nodes WHERE " + IN_SHARD + " ORDER BY node_id FOR NO KEY UPDATE",
        first,
        end
    ))
    .execute(&mut *conn)
    .await?;
    sql!(query_as!(
        SlotCorrection,
        r#"WITH held AS (
            SELECT n.node_id, n.allocated_count AS before,
                (count(a.id) + (SELECT count(*) FROM cloud.tombstones t
                    WHERE t.node_id = n.node_id AND t.holds_slot))::integer AS after
            FROM (SELECT node_id, allocated_count FROM public.docker_nodes WHERE "#
            + IN_SHARD
            + r#") n
            LEFT JOIN public.milady_sandboxes a ON a.node_id = n.node_id AND a.container_name IS NOT NULL
                AND a.status NOT IN ('stopped', 'pending')
            GROUP BY n.node_id, n.allocated_count
        ), changed AS (
            UPDATE public.docker_nodes n SET allocated_count = held.after, updated_at = cloud.billing_clock()
            FROM held WHERE n.node_id = held.node_id AND held.before <> held.after
            RETURNING n.node_id, held.before, held.after
        )
        SELECT node_id, before AS "before!", after AS "after!" FROM changed ORDER BY node_id"#,
        first,
        end
    ))
    .fetch_all(conn)
    .await
}
