//! The fleet as a whole: all hosts, all agents on them. Owns: reading both for an inspection, and writing
//! what it saw. These are no tenant's requests: they take no organization's id.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::db::hosts::slots::Node;
use crate::domain::agent::AgentStatus;
use crate::domain::fleet::NodeStatus;
use crate::domain::fleet::{AgentRow, NodeRow};

/// A registered host: what leads to it, and what is shown of it.
#[derive(Clone, Debug)]
pub struct FleetNode {
    /// What leads to it.
    pub node: Node,
    /// What is shown of it.
    pub row: NodeRow,
}

/// All hosts, enabled or not; those that were not looked at for longest first.
///
/// # Errors
/// Database errors.
pub async fn nodes_all(conn: &mut PgConnection) -> sqlx::Result<Vec<FleetNode>> {
    let rows = sqlx::query!(
        "SELECT id, node_id, hostname, ssh_port, ssh_user, host_key_fingerprint, metadata, capacity,
            allocated_count, enabled, last_health_check, created_at, updated_at
        FROM docker_nodes ORDER BY last_health_check NULLS FIRST, node_id"
    )
    .fetch_all(conn)
    .await?;
    let nodes = rows.into_iter().map(|row| FleetNode {
        row: NodeRow {
            id: row.id,
            node_id: row.node_id.clone(),
            capacity: row.capacity,
            allocated_count: row.allocated_count,
            enabled: row.enabled,
            last_health_check: row.last_health_check,
            metadata: serde_json::from_value(row.metadata.clone()).unwrap_or_default(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        },
        node: Node {
            node_id: row.node_id,
            hostname: row.hostname,
            ssh_port: row.ssh_port,
            ssh_user: row.ssh_user,
            host_key_fingerprint: row.host_key_fingerprint,
            metadata: row.metadata,
        },
    });
    Ok(nodes.collect())
}

/// An agent that should run on a host.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The agent.
    pub agent_id: Uuid,
    /// Its host.
    pub node_id: String,
    /// The port of its host that leads to its pages.
    pub web_port: Option<u16>,
}

/// The agents that should run somewhere; those that were not heard of for longest first.
///
/// # Errors
/// Database errors.
pub async fn agents_expected(conn: &mut PgConnection) -> sqlx::Result<Vec<Expected>> {
    let rows = sqlx::query!(
        r#"SELECT id, node_id AS "node_id!", web_ui_port FROM milady_sandboxes
        WHERE status IN ('running', 'disconnected') AND node_id IS NOT NULL
        ORDER BY last_heartbeat_at NULLS FIRST, id"#
    )
    .fetch_all(conn)
    .await?;
    let agents = rows.into_iter().map(|row| Expected {
        agent_id: row.id,
        node_id: row.node_id,
        web_port: row.web_ui_port.and_then(|port| u16::try_from(port).ok()),
    });
    Ok(agents.collect())
}

/// All agents, wherever they are.
///
/// # Errors
/// Database errors.
pub async fn agents_all(conn: &mut PgConnection) -> sqlx::Result<Vec<AgentRow>> {
    let rows = sqlx::query!(
        "SELECT id, sandbox_id, agent_name, organization_id, user_id, node_id, container_name, status,
            docker_image, last_heartbeat_at, error_message, error_count, created_at, updated_at
        FROM milady_sandboxes"
    )
    .fetch_all(conn)
    .await?;
    let agents = rows.into_iter().map(|row| AgentRow {
        id: row.id,
        sandbox_id: row.sandbox_id,
        agent_name: row.agent_name,
        organization_id: row.organization_id,
        user_id: row.user_id,
        node_id: row.node_id,
        container_name: row.container_name,
        status: AgentStatus::parse(&row.status),
        docker_image: row.docker_image,
        last_heartbeat_at: row.last_heartbeat_at,
        error_message: row.error_message,
        error_count: row.error_count,
        created_at: row.created_at,
        updated_at: row.updated_at,
    });
    Ok(agents.collect())
}

/// Jobs of ours that wait for a worker.
///
/// # Errors
/// Database errors.
pub async fn jobs_waiting(conn: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM jobs
        WHERE status = 'pending' AND scheduled_for <= $1 AND type IN
            ('milady_provision', 'milady_restore', 'milady_suspend', 'milady_delete')"#,
        now.naive_utc()
    )
    .fetch_one(conn)
    .await
}

/// Agents were heard (F18). One that somebody else holds at the moment is heard the next time.
///
/// # Errors
/// Database errors.
pub async fn heartbeats_write(
    conn: &mut PgConnection,
    agent_ids: &[Uuid],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "UPDATE milady_sandboxes SET last_heartbeat_at = $2 WHERE id IN (
            SELECT id FROM milady_sandboxes
            WHERE id = ANY($1) AND status IN ('running', 'disconnected')
            ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)",
        agent_ids,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// What was found of hosts, and when they were asked.
///
/// # Errors
/// Database errors.
pub async fn nodes_checked(
    conn: &mut PgConnection,
    found: &[(String, NodeStatus, DateTime<Utc>)],
) -> sqlx::Result<u64> {
    let nodes: Vec<String> = found.iter().map(|(node, _, _)| node.clone()).collect();
    let words = found
        .iter()
        .map(|(_, status, _)| status.as_str().to_owned());
    let words: Vec<String> = words.collect();
    let dates: Vec<DateTime<Utc>> = found.iter().map(|(_, _, at)| *at).collect();
    let done = sqlx::query!(
        "UPDATE docker_nodes n SET status = found.status, last_health_check = found.at
        FROM (
            SELECT f.node_id, f.status, f.at
            FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS f (node_id, status, at)
            JOIN docker_nodes l USING (node_id) ORDER BY node_id FOR NO KEY UPDATE OF l
        ) AS found
        WHERE n.node_id = found.node_id",
        &nodes,
        &words,
        &dates
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Agents go from one status to the next, but for those that are in another one by now, or that somebody
/// else holds at the moment. Answers which did.
///
/// # Errors
/// Database errors.
pub async fn agents_move(
    conn: &mut PgConnection,
    agent_ids: &[Uuid],
    (from, to): (AgentStatus, AgentStatus),
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "UPDATE milady_sandboxes SET status = $3, updated_at = $4 WHERE id IN (
            SELECT id FROM milady_sandboxes WHERE id = ANY($1) AND status = $2
            ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
        RETURNING id",
        agent_ids,
        from.as_str(),
        to.as_str(),
        now
    )
    .fetch_all(conn)
    .await
}
