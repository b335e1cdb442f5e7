//! `cloud.agent_moves`: agents that operators move to other hosts. Owns: which moves are open, and which host an agent
//! left. Does not own: what the next step of a move is (`app::agent::moves`).

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::agent::AgentStatus;
use crate::domain::ids::{AgentId, AgentRef, OrganizationId, UserId};
use crate::domain::job::JobKind;
use crate::domain::withdrawal::DrainedAgent;

/// A move that has not ended.
#[derive(Clone, Debug)]
pub struct OpenMove {
    pub from_node: String,
    pub start_due_at: DateTime<Utc>,
    /// How many starts it has requested.
    pub starts: i32,
    /// Why the agent is started again on the host that it was to leave. `None` if it is moved.
    pub refusal: Option<String>,
}

/// The agents with open moves, the oldest move first.
pub async fn moves_open_of_any_organization(conn: &mut Connection) -> sqlx::Result<Vec<AgentRef>> {
    let rows = sqlx::query!(
        "SELECT agent_id, organization_id FROM cloud.agent_moves WHERE done_at IS NULL
        ORDER BY requested_at, agent_id"
    )
    .fetch_all(conn)
    .await?;
    let agents = rows.into_iter().map(|row| AgentRef {
        organization_id: row.organization_id,
        agent_id: row.agent_id,
    });
    Ok(agents.collect())
}

/// Locks the agent's open move, so that a drain which is cancelled meanwhile waits. Whoever decides on it holds the agent's
/// lock.
pub async fn move_find(conn: &mut Connection, agent: AgentRef) -> sqlx::Result<Option<OpenMove>> {
    sqlx::query_as!(
        OpenMove,
        "SELECT from_node, start_due_at, starts, refusal FROM cloud.agent_moves
        WHERE organization_id = $1 AND agent_id = $2 AND done_at IS NULL FOR NO KEY UPDATE",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .fetch_optional(conn)
    .await
}

/// The host that the agent is, or was, moved away from. `None` if it returns to it.
pub async fn left_host_find(
    conn: &mut Connection,
    agent: AgentRef,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "SELECT from_node FROM cloud.agent_moves
        WHERE organization_id = $1 AND agent_id = $2 AND refusal IS NULL AND (done_at IS NULL OR error IS NULL)",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .fetch_optional(conn)
    .await
}

/// Begins a move, in place of an earlier one of the agent.
pub async fn move_begin(
    conn: &mut Connection,
    agent: AgentRef,
    from_node: &str,
    requested_by: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.agent_moves (agent_id, organization_id, from_node, requested_by, requested_at, start_due_at)
        VALUES ($2, $1, $3, $4, $5, $5)
        ON CONFLICT (agent_id) DO UPDATE SET organization_id = excluded.organization_id,
            from_node = excluded.from_node, requested_by = excluded.requested_by,
            requested_at = excluded.requested_at, start_due_at = excluded.start_due_at, starts = 0,
            error = NULL, refusal = NULL, done_at = NULL",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        from_node,
        requested_by.uuid(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Says why an open move waits; `None` if it does not.
pub async fn move_wait(
    conn: &mut Connection,
    agent: AgentRef,
    reason: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.agent_moves SET error = $3
        WHERE organization_id = $1 AND agent_id = $2 AND done_at IS NULL AND error IS DISTINCT FROM $3",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that the start which ends a move is requested, and when the next one may be.
pub async fn move_started(
    conn: &mut Connection,
    agent: AgentRef,
    start_due_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.agent_moves SET start_due_at = $3, starts = starts + 1, error = NULL
        WHERE organization_id = $1 AND agent_id = $2 AND done_at IS NULL",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        start_due_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records why an agent that is being moved is started again where it was.
pub async fn move_refuse(conn: &mut Connection, agent: AgentRef, reason: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.agent_moves SET refusal = $3
        WHERE organization_id = $1 AND agent_id = $2 AND done_at IS NULL",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends an open move whose agent runs now: on another host, or again on its own if the move was refused.
pub async fn move_arrive(
    conn: &mut Connection,
    agent: AgentRef,
    node_id: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.agent_moves SET done_at = $4, error = CASE WHEN from_node = $3 THEN refusal END
        WHERE organization_id = $1 AND agent_id = $2 AND done_at IS NULL
            AND (from_node <> $3 OR refusal IS NOT NULL)",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        node_id,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends an open move. With an error, the agent was not moved.
pub async fn move_end(
    conn: &mut Connection,
    agent: AgentRef,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.agent_moves SET done_at = $4, error = $3
        WHERE organization_id = $1 AND agent_id = $2 AND done_at IS NULL",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        error,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// When a drain may attempt again to move an agent.
#[derive(Clone, Copy, Debug)]
pub struct MoveAgain {
    /// A move that failed is attempted again if it failed before this time.
    pub failed_before: DateTime<Utc>,
    /// When the drain began. An agent whose move was refused since then stays: another attempt would only stop it again.
    pub since: DateTime<Utc>,
}

/// Agents of a host that a drain may begin to move: they run, no job works on them, and they are not being restarted with
/// another image, because the one that they would go back to is on this host only.
pub async fn agents_to_move_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
    again: MoveAgain,
    limit: i64,
) -> sqlx::Result<Vec<AgentRef>> {
    let rows = sql!(query!(
        "SELECT a.id, a.organization_id FROM public.milady_sandboxes a
        WHERE a.node_id = $1 AND a.status = 'running' AND a.stop_requested_at IS NULL
            AND NOT EXISTS (SELECT FROM cloud.agent_moves m WHERE m.agent_id = a.id
                AND (m.done_at IS NULL OR m.error IS NOT NULL AND m.done_at >= $2
                    OR m.refusal IS NOT NULL AND m.requested_at >= $5))
            AND NOT EXISTS (SELECT FROM cloud.image_restarts r WHERE r.agent_id = a.id AND r.done_at IS NULL)
            AND NOT EXISTS (SELECT FROM public.jobs j
                WHERE j.organization_id = a.organization_id AND j.status IN "
            + ACTIVE_STATUSES
            + " AND j.type = ANY($4) AND j.type"
            + HAS_KIND_PREFIX
            + " AND "
            + JOB_IS_FOR_AGENT
            + ") ORDER BY a.created_at, a.id LIMIT $3",
        node_id,
        again.failed_before,
        limit,
        &JobKind::names() as &[&str],
        again.since
    ))
    .fetch_all(conn)
    .await?;
    let agents = rows.into_iter().map(|row| AgentRef {
        organization_id: row.organization_id,
        agent_id: row.id,
    });
    Ok(agents.collect())
}

/// The moves away from a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveCounts {
    pub open: i64,
    /// Those since `since` that ended on another host.
    pub moved: i64,
}

pub async fn moves_count_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
    since: DateTime<Utc>,
) -> sqlx::Result<MoveCounts> {
    sqlx::query_as!(
        MoveCounts,
        r#"SELECT count(*) FILTER (WHERE done_at IS NULL) AS "open!",
            count(*) FILTER (WHERE done_at IS NOT NULL AND error IS NULL AND requested_at >= $2) AS "moved!"
        FROM cloud.agent_moves WHERE from_node = $1"#,
        node_id,
        since
    )
    .fetch_one(conn)
    .await
}

/// How many agents of each host could not be moved away from it and are in error.
pub async fn failed_moves_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<HashMap<String, i64>> {
    let rows = sqlx::query!(
        r#"SELECT m.from_node, count(*) AS "agents!" FROM cloud.agent_moves m
        JOIN public.milady_sandboxes a ON a.id = m.agent_id AND a.organization_id = m.organization_id
        WHERE m.done_at IS NOT NULL AND m.error IS NOT NULL AND a.status = 'error' AND a.node_id = m.from_node
        GROUP BY m.from_node"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.from_node, row.agents))
        .collect())
}

/// Forgets the moves away from a host whose drain is cancelled: those that have ended, and those whose agent still runs
/// there, as far as is known, and was not asked to stop. Agents that are stopped already are started on other hosts.
pub async fn moves_cancel_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
) -> sqlx::Result<u64> {
    // A statement of its own, so that the next one sees what whoever held the moves wrote to the agents.
    sqlx::query!(
        "SELECT FROM cloud.agent_moves WHERE from_node = $1 ORDER BY agent_id FOR UPDATE",
        node_id
    )
    .execute(&mut *conn)
    .await?;
    let result = sqlx::query!(
        "DELETE FROM cloud.agent_moves m WHERE m.from_node = $1 AND (m.done_at IS NOT NULL OR EXISTS (
            SELECT FROM public.milady_sandboxes a WHERE a.id = m.agent_id AND a.node_id = $1
                AND a.status IN ('running', 'disconnected') AND a.stop_requested_at IS NULL))",
        node_id
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// Gives the moves of agents that belong to another organization now to that one.
pub async fn moves_transfer_of_any_organization(conn: &mut Connection) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.agent_moves m SET organization_id = a.organization_id FROM public.milady_sandboxes a
        WHERE a.id = m.agent_id AND a.organization_id <> m.organization_id"
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the moves of agents that were deleted, and of agents whose new host was lost: they may return.
pub async fn moves_forget_of_any_organization(conn: &mut Connection) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.agent_moves m
        WHERE NOT EXISTS (SELECT FROM public.milady_sandboxes a WHERE a.id = m.agent_id)
            OR m.done_at IS NOT NULL AND EXISTS (SELECT FROM cloud.lost_agents l
                WHERE l.agent_id = m.agent_id AND l.node_id <> m.from_node)"
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An agent in the plan of a drain.
#[derive(Clone, Debug)]
pub struct PlannedAgent {
    pub agent_id: AgentId,
    pub organization_id: OrganizationId,
    pub agent_name: Option<String>,
    pub condition: DrainedAgent,
    pub last_backup_at: Option<DateTime<Utc>>,
    /// Why the agent's move waits or failed.
    pub error: Option<String>,
}

/// The agents whose rows name a host, and those that are being moved away from it: at most a thousand, those with a
/// container first. `since`: when the drain began.
pub async fn planned_agents_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<PlannedAgent>> {
    let rows = sqlx::query!(
        r#"SELECT a.id, a.organization_id, a.agent_name, a.status, a.last_backup_at,
            a.unsaved_since IS NOT NULL AS "is_unsaved!", a.container_name IS NOT NULL AS "names_container!",
            a.stop_requested_at IS NOT NULL AS "stop_requested!",
            m.agent_id IS NOT NULL AND m.done_at IS NULL AS "is_moving!", m.error AS "error?",
            m.refusal IS NOT NULL AND m.done_at IS NOT NULL AND m.requested_at >= $2 AS "is_refused!"
        FROM public.milady_sandboxes a
        LEFT JOIN cloud.agent_moves m ON m.agent_id = a.id AND m.from_node = $1
        WHERE a.node_id = $1 OR m.agent_id IS NOT NULL AND m.done_at IS NULL
        ORDER BY a.container_name IS NULL, a.created_at, a.id LIMIT 1000"#,
        node_id,
        since
    )
    .fetch_all(conn)
    .await?;
    let agents = rows.into_iter().map(|row| PlannedAgent {
        agent_id: row.id,
        organization_id: row.organization_id,
        agent_name: row.agent_name,
        condition: DrainedAgent {
            status: AgentStatus::parse_or_unknown(&row.status),
            names_container: row.names_container,
            is_unsaved: row.is_unsaved,
            has_backup: row.last_backup_at.is_some(),
            is_moving: row.is_moving,
            is_refused: row.is_refused,
            stop_requested: row.stop_requested,
        },
        last_backup_at: row.last_backup_at,
        error: row.error,
    });
    Ok(agents.collect())
}
