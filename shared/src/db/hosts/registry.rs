//! `docker_nodes` as operators see and change it. Owns: lists, single hosts, and what agents have on a host. Does not
//! own: connecting to hosts (`coordinates`), nor their slots (`slots`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::db::session::Connection;
use crate::domain::ids::HostId;
use crate::domain::withdrawal::HostService;

/// A host's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostRecord {
    pub id: HostId,
    pub node_id: String,
    pub hostname: String,
    pub ssh_port: i32,
    pub ssh_user: String,
    pub capacity: i32,
    pub allocated_count: i32,
    pub enabled: bool,
    pub status: String,
    pub last_health_check: Option<DateTime<Utc>>,
    pub host_key_fingerprint: Option<String>,
    /// See [`HostCoordinates`](super::coordinates::HostCoordinates).
    #[serde(default)]
    pub presented_host_key: Option<String>,
    pub metadata: Value,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Whether the host is declared lost.
    #[serde(default)]
    pub is_lost: bool,
    /// A word of [`HostService`]; `None` for a host in service.
    pub service: Option<String>,
}

impl HostRecord {
    #[must_use]
    pub fn host_service(&self) -> HostService {
        let service = self.service.as_deref().and_then(HostService::parse);
        service.unwrap_or(HostService::InService)
    }
}

/// One page of hosts in the order of their names, after a name.
pub async fn hosts_page(
    conn: &mut Connection,
    after: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<HostRecord>> {
    sql!(query_as!(
        HostRecord,
        "SELECT "
            + HOST_COLUMNS
            + r#"
        FROM public.docker_nodes WHERE $1::text IS NULL OR node_id COLLATE "C" > $1
        ORDER BY node_id COLLATE "C" LIMIT $2"#,
        after,
        limit
    ))
    .fetch_all(conn)
    .await
}

pub async fn hosts_count(conn: &mut Connection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM public.docker_nodes"#)
        .fetch_one(conn)
        .await
}

pub async fn host_record(conn: &mut Connection, node_id: &str) -> sqlx::Result<Option<HostRecord>> {
    sql!(query_as!(
        HostRecord,
        "SELECT " + HOST_COLUMNS + " FROM public.docker_nodes WHERE node_id = $1",
        node_id
    ))
    .fetch_optional(conn)
    .await
}

#[derive(Clone, Debug)]
pub struct NewHost {
    pub node_id: String,
    pub hostname: String,
    pub ssh_port: u16,
    pub ssh_user: String,
    pub capacity: i32,
    pub host_key_fingerprint: Option<String>,
}

/// # Errors
/// A unique violation if a host of that name exists.
pub async fn host_insert(
    conn: &mut Connection,
    host: &NewHost,
    now: DateTime<Utc>,
) -> sqlx::Result<HostRecord> {
    sql!(query_as!(
        HostRecord,
        "INSERT INTO public.docker_nodes (node_id, hostname, ssh_port, ssh_user, capacity,
            host_key_fingerprint, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
        RETURNING "
            + HOST_COLUMNS,
        host.node_id,
        host.hostname,
        i32::from(host.ssh_port),
        host.ssh_user,
        host.capacity,
        host.host_key_fingerprint,
        now
    ))
    .fetch_one(conn)
    .await
}

/// New values; `None` keeps the old one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostChanges {
    pub hostname: Option<String>,
    pub ssh_port: Option<u16>,
    pub ssh_user: Option<String>,
    pub capacity: Option<i32>,
    pub enabled: Option<bool>,
    pub metadata: Option<Value>,
    /// `Some(None)` removes the pinned key: the next connection pins another one.
    pub host_key_fingerprint: Option<Option<String>>,
}

/// Changes a host; `None` if there is no host of that name.
pub async fn host_change(
    conn: &mut Connection,
    node_id: &str,
    changes: &HostChanges,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<HostRecord>> {
    let pin = &changes.host_key_fingerprint;
    sql!(query_as!(
        HostRecord,
        "UPDATE public.docker_nodes SET hostname = coalesce($2, hostname), ssh_port = coalesce($3, ssh_port),
            ssh_user = coalesce($4, ssh_user), capacity = coalesce($5, capacity),
            enabled = coalesce($6, enabled), metadata = coalesce($7, metadata),
            host_key_fingerprint = CASE WHEN $8 THEN $9 ELSE host_key_fingerprint END,
            updated_at = $10
        WHERE node_id = $1
        RETURNING "
            + HOST_COLUMNS,
        node_id,
        changes.hostname.as_deref(),
        changes.ssh_port.map(i32::from),
        changes.ssh_user.as_deref(),
        changes.capacity,
        changes.enabled,
        changes.metadata.as_ref(),
        pin.is_some(),
        pin.as_ref().and_then(|pin| pin.as_deref()),
        now
    ))
    .fetch_optional(conn)
    .await
}

/// Records what a check of a host found. Returns the status before; `None` if the host was removed meanwhile.
pub async fn host_record_check(
    conn: &mut Connection,
    node_id: &str,
    status: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "WITH before AS (SELECT id, status FROM public.docker_nodes WHERE node_id = $1 FOR NO KEY UPDATE)
        UPDATE public.docker_nodes n SET status = $2, last_health_check = $3, updated_at = $3
        FROM before WHERE n.id = before.id RETURNING before.status",
        node_id,
        status,
        now
    )
    .fetch_optional(conn)
    .await
}

/// Locks a host, so that nobody takes a slot of it until the transaction ends. Returns `false` if there is no host of
/// that name.
pub async fn host_lock(conn: &mut Connection, node_id: &str) -> sqlx::Result<bool> {
    let row = sqlx::query!(
        "SELECT id FROM public.docker_nodes WHERE node_id = $1 FOR UPDATE",
        node_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// How many agents have something on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostUsage {
    /// Agents that have, or should have, a container there, and those that are being moved away, or restarted there, and
    /// whose volume there is still needed.
    pub active: i64,
    /// Other agents whose volume there holds state that no backup does.
    pub unsaved: i64,
    /// Deleted agents of which something is left there. It would be forgotten with the host.
    pub tombstones: i64,
}

/// The caller must have locked the host with an earlier statement: this one does not see what is committed while it
/// waits.
pub async fn host_usage_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
) -> sqlx::Result<HostUsage> {
    sqlx::query_as!(
        HostUsage,
        r#"SELECT count(*) FILTER (WHERE active) + (SELECT count(*) FROM cloud.agent_moves m
                WHERE m.from_node = $1 AND m.done_at IS NULL
                    AND NOT EXISTS (SELECT FROM public.milady_sandboxes a WHERE a.id = m.agent_id AND a.node_id = $1
                        AND (a.status IN ('provisioning', 'running', 'disconnected')
                            OR (a.container_name IS NOT NULL AND a.status NOT IN ('stopped', 'pending'))))
                    AND NOT EXISTS (SELECT FROM cloud.host_withdrawals w
                        WHERE w.node_id = $1 AND w.kind = 'loss')) AS "active!",
            count(*) FILTER (WHERE unsaved AND NOT active) AS "unsaved!",
            (SELECT count(*) FROM cloud.tombstones WHERE node_id = $1 OR $1 = ANY(former_nodes))
                AS "tombstones!"
        FROM (SELECT unsaved_since IS NOT NULL AS unsaved,
                status IN ('provisioning', 'running', 'disconnected')
                    OR (container_name IS NOT NULL AND status NOT IN ('stopped', 'pending'))
                    OR EXISTS (SELECT FROM cloud.image_restarts r WHERE r.agent_id = a.id AND r.done_at IS NULL)
                        AND NOT EXISTS (SELECT FROM cloud.host_withdrawals w
                            WHERE w.node_id = $1 AND w.kind = 'loss') AS active
            FROM public.milady_sandboxes a WHERE node_id = $1) AS agents"#,
        node_id
    )
    .fetch_one(conn)
    .await
}

/// Deletes a host, and what is recorded of its inspections and its withdrawal.
pub async fn host_delete(conn: &mut Connection, node_id: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM public.docker_nodes WHERE node_id = $1",
        node_id
    )
    .execute(&mut *conn)
    .await?;
    super::unread::read_hosts_record(conn, &[node_id.to_owned()]).await?;
    super::withdrawals::withdrawal_delete(conn, node_id).await
}

/// Sets whether agents may be placed on a host. Returns whether they might be before.
pub async fn host_enable(
    conn: &mut Connection,
    node_id: &str,
    enabled: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar!(
        "WITH before AS (SELECT id, enabled FROM public.docker_nodes WHERE node_id = $1 FOR NO KEY UPDATE)
        UPDATE public.docker_nodes n SET enabled = $2, updated_at = $3
        FROM before WHERE n.id = before.id RETURNING before.enabled",
        node_id,
        enabled,
        now
    )
    .fetch_optional(conn)
    .await
}
