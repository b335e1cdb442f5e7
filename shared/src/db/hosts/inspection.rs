//! The whole fleet: all hosts and all agents on them. Owns: reading both for a refresh run, and writing what the run
//! observed. No request of a tenant comes here.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::coordinates::HostCoordinates;
use super::registry::HostRecord;
use crate::db::agents::lifecycle::StatusChange;
use crate::db::session::Connection;
use crate::domain::agent::AgentStatus;
use crate::domain::fleet::{AgentRow, HostRow, HostStatus, OtherHosts, Shard};
use crate::domain::ids::{AgentId, OrganizationId};

#[derive(Clone, Debug)]
pub struct FleetHost {
    pub coordinates: HostCoordinates,
    /// By the last inspection.
    pub status: HostStatus,
    pub row: HostRow,
}

/// The names of all hosts.
pub async fn host_names(conn: &mut Connection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!("SELECT node_id FROM public.docker_nodes")
        .fetch_all(conn)
        .await
}

/// The hosts of a shard, enabled or not. The least recently inspected come first: if a run ends early, the next one begins
/// with those it left out.
pub async fn hosts_of_shard(conn: &mut Connection, shard: &Shard) -> sqlx::Result<Vec<FleetHost>> {
    let records = sql!(query_as!(
        HostRecord,
        "SELECT "
            + HOST_COLUMNS
            + " FROM public.docker_nodes WHERE "
            + IN_SHARD
            + " ORDER BY last_health_check NULLS FIRST, node_id",
        shard.first.as_deref(),
        shard.end.as_deref()
    ))
    .fetch_all(conn)
    .await?;
    let hosts = records.into_iter().map(|record| FleetHost {
        status: HostStatus::parse_or_unknown(&record.status),
        row: HostRow {
            id: record.id,
            node_id: record.node_id.clone(),
            capacity: record.capacity,
            allocated_count: record.allocated_count,
            enabled: record.enabled,
            last_health_check: record.last_health_check,
            set_aside_until: None,
            failed_moves: 0,
            is_lost: record.is_lost,
            metadata: serde_json::from_value(record.metadata.clone()).unwrap_or_default(),
            created_at: record.created_at,
            updated_at: record.updated_at,
        },
        coordinates: HostCoordinates {
            node_id: record.node_id,
            hostname: record.hostname,
            ssh_port: record.ssh_port,
            ssh_user: record.ssh_user,
            host_key_fingerprint: record.host_key_fingerprint,
            presented_host_key: record.presented_host_key,
            metadata: record.metadata,
            is_lost: record.is_lost,
        },
    });
    Ok(hosts.collect())
}

/// The hosts outside of a shard, and how many of them runs have read since a time.
pub async fn other_hosts_read(
    conn: &mut Connection,
    shard: &Shard,
    since: DateTime<Utc>,
) -> sqlx::Result<OtherHosts> {
    sql!(query_as!(
        OtherHosts,
        r#"SELECT count(*) AS "hosts!",
            count(*) FILTER (WHERE status IN ('healthy', 'degraded') AND last_health_check >= $3) AS "read_hosts!"
        FROM public.docker_nodes WHERE NOT ("# + IN_SHARD + ")",
        shard.first.as_deref(),
        shard.end.as_deref(),
        since
    ))
    .fetch_one(conn)
    .await
}

/// An agent that should run on a host.
#[derive(Clone, Debug)]
pub struct ExpectedAgent {
    pub agent_id: AgentId,
    pub organization_id: OrganizationId,
    pub node_id: String,
    /// The port of its host that leads to the agent's pages.
    pub web_port: Option<u16>,
}

/// The agents of a shard that should run on a host. Those with the oldest heartbeat come first, so that a run that ends
/// early does not leave out the same agents each time.
pub async fn agents_expected_of_any_organization(
    conn: &mut Connection,
    shard: &Shard,
) -> sqlx::Result<Vec<ExpectedAgent>> {
    let rows = sql!(query!(
        r#"SELECT id, organization_id, node_id AS "node_id!", web_ui_port FROM public.milady_sandboxes
        WHERE status IN ('running', 'disconnected') AND node_id IS NOT NULL AND "#
            + IN_SHARD
            + " ORDER BY last_heartbeat_at NULLS FIRST, id",
        shard.first.as_deref(),
        shard.end.as_deref()
    ))
    .fetch_all(conn)
    .await?;
    let agents = rows.into_iter().map(|row| ExpectedAgent {
        agent_id: row.id,
        organization_id: row.organization_id,
        node_id: row.node_id,
        web_port: row.web_ui_port.and_then(|port| u16::try_from(port).ok()),
    });
    Ok(agents.collect())
}

/// All agents of a shard, with and without a host.
pub async fn agents_of_any_organization(
    conn: &mut Connection,
    shard: &Shard,
) -> sqlx::Result<Vec<AgentRow>> {
    let rows = sql!(query!(
        "SELECT " + AGENT_ROW_COLUMNS + " FROM public.milady_sandboxes WHERE " + IN_SHARD,
        shard.first.as_deref(),
        shard.end.as_deref()
    ))
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
        status: AgentStatus::parse_or_unknown(&row.status),
        docker_image: row.docker_image,
        last_heartbeat_at: row.last_heartbeat_at,
        error_message: row.error_message,
        error_count: row.error_count,
        created_at: row.created_at,
        updated_at: row.updated_at,
    });
    Ok(agents.collect())
}

/// The hosts of these agents. Agents without one are left out.
pub async fn agent_hosts_of_any_organization(
    conn: &mut Connection,
    agent_ids: &[AgentId],
) -> sqlx::Result<HashMap<AgentId, String>> {
    let rows = sqlx::query!(
        r#"SELECT id, node_id AS "node_id!" FROM public.milady_sandboxes
        WHERE id = ANY($1) AND node_id IS NOT NULL"#,
        agent_ids as &[AgentId]
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.node_id)).collect())
}

/// Records that these agents answered (F18), unless the recorded heartbeat is newer than `newest_replaced`. Skips an agent
/// that another transaction holds: the next run records it.
pub async fn heartbeats_record_of_any_organization(
    conn: &mut Connection,
    agent_ids: &[AgentId],
    newest_replaced: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET last_heartbeat_at = $2 WHERE id IN (
            SELECT id FROM public.milady_sandboxes
            WHERE id = ANY($1) AND status IN ('running', 'disconnected')
                AND (last_heartbeat_at IS NULL OR last_heartbeat_at <= $3)
            ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)",
        agent_ids as &[AgentId],
        now,
        newest_replaced
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[derive(Clone, Debug)]
pub struct HostCheck {
    pub node_id: String,
    pub status: HostStatus,
    pub checked_at: DateTime<Utc>,
}

/// Records the status of inspected hosts. Locks them in the order of their names, as `slots_reconcile` does,
/// so that the two cannot deadlock.
pub async fn hosts_record_checks(conn: &mut Connection, checks: &[HostCheck]) -> sqlx::Result<u64> {
    let node_ids: Vec<String> = checks.iter().map(|check| check.node_id.clone()).collect();
    let statuses: Vec<String> = checks
        .iter()
        .map(|check| check.status.as_str().to_owned())
        .collect();
    let times: Vec<DateTime<Utc>> = checks.iter().map(|check| check.checked_at).collect();
    let result = sqlx::query!(
        "UPDATE public.docker_nodes n SET status = found.status, last_health_check = found.at
        FROM (
            SELECT f.node_id, f.status, f.at
            FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS f (node_id, status, at)
            JOIN public.docker_nodes locked USING (node_id) ORDER BY node_id FOR NO KEY UPDATE OF locked
        ) AS found
        WHERE n.node_id = found.node_id",
        &node_ids,
        &statuses,
        &times
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// Changes the status of agents. Skips agents that are no longer in the status that the change starts from, and
/// agents that another transaction holds. Returns the agents that changed.
pub async fn agents_change_status_of_any_organization(
    conn: &mut Connection,
    agent_ids: &[AgentId],
    change: StatusChange,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<AgentId>> {
    sqlx::query_scalar!(
        "UPDATE public.milady_sandboxes SET status = $3, updated_at = $4 WHERE id IN (
            SELECT id FROM public.milady_sandboxes WHERE id = ANY($1) AND status = $2
            ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
        RETURNING id",
        agent_ids as &[AgentId],
        change.from.as_str(),
        change.to.as_str(),
        now
    )
    .fetch_all(conn)
    .await
}
