//! `docker_nodes` as operators see and change it. Owns: lists, single hosts, and what stands in the way
//! of removing one. Does not own: their slots and pins (`nodes`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// A host as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct Record {
    pub id: Uuid,
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
    pub metadata: Value,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// One page of hosts by their names, beginning after one.
///
/// # Errors
/// Database errors.
pub async fn nodes_page(
    conn: &mut PgConnection,
    after: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<Record>> {
    sqlx::query_as!(
        Record,
        r#"SELECT id, node_id, hostname, ssh_port, ssh_user, capacity, allocated_count, enabled,
            status, last_health_check, host_key_fingerprint, metadata, created_at, updated_at
        FROM docker_nodes WHERE $1::text IS NULL OR node_id COLLATE "C" > $1
        ORDER BY node_id COLLATE "C" LIMIT $2"#,
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// How many hosts are registered.
///
/// # Errors
/// Database errors.
pub async fn nodes_count(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM docker_nodes"#)
        .fetch_one(conn)
        .await
}

/// One host.
///
/// # Errors
/// Database errors.
pub async fn node_record(conn: &mut PgConnection, node_id: &str) -> sqlx::Result<Option<Record>> {
    sqlx::query_as!(
        Record,
        "SELECT id, node_id, hostname, ssh_port, ssh_user, capacity, allocated_count, enabled, status,
            last_health_check, host_key_fingerprint, metadata, created_at, updated_at
        FROM docker_nodes WHERE node_id = $1",
        node_id
    )
    .fetch_optional(conn)
    .await
}

/// A host that is to be registered.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct NewNode {
    pub node_id: String,
    pub hostname: String,
    pub ssh_port: u16,
    pub ssh_user: String,
    pub capacity: i32,
    pub host_key_fingerprint: Option<String>,
}

/// Writes a new host.
///
/// # Errors
/// Database errors; a duplicate if there is one of that name.
pub async fn node_insert(
    conn: &mut PgConnection,
    node: &NewNode,
    now: DateTime<Utc>,
) -> sqlx::Result<Record> {
    sqlx::query_as!(
        Record,
        "INSERT INTO docker_nodes (node_id, hostname, ssh_port, ssh_user, capacity,
            host_key_fingerprint, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
        RETURNING id, node_id, hostname, ssh_port, ssh_user, capacity, allocated_count, enabled, status,
            last_health_check, host_key_fingerprint, metadata, created_at, updated_at",
        node.node_id,
        node.hostname,
        i32::from(node.ssh_port),
        node.ssh_user,
        node.capacity,
        node.host_key_fingerprint,
        now
    )
    .fetch_one(conn)
    .await
}

/// What is to be another value; none = it stays.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct Changes {
    pub hostname: Option<String>,
    pub ssh_port: Option<u16>,
    pub ssh_user: Option<String>,
    pub capacity: Option<i32>,
    pub enabled: Option<bool>,
    pub metadata: Option<Value>,
    /// The pin, or that there is none.
    pub host_key_fingerprint: Option<Option<String>>,
}

/// Changes a host; none if there is none of that name.
///
/// # Errors
/// Database errors.
pub async fn node_change(
    conn: &mut PgConnection,
    node_id: &str,
    changes: &Changes,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Record>> {
    let pin = &changes.host_key_fingerprint;
    sqlx::query_as!(
        Record,
        "UPDATE docker_nodes SET hostname = coalesce($2, hostname), ssh_port = coalesce($3, ssh_port),
            ssh_user = coalesce($4, ssh_user), capacity = coalesce($5, capacity),
            enabled = coalesce($6, enabled), metadata = coalesce($7, metadata),
            host_key_fingerprint = CASE WHEN $8 THEN $9 ELSE host_key_fingerprint END,
            updated_at = $10
        WHERE node_id = $1
        RETURNING id, node_id, hostname, ssh_port, ssh_user, capacity, allocated_count, enabled, status,
            last_health_check, host_key_fingerprint, metadata, created_at, updated_at",
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
    )
    .fetch_optional(conn)
    .await
}

/// What a look at a host found. Answers what its status was before; none if it was removed meanwhile.
///
/// # Errors
/// Database errors.
pub async fn node_checked(
    conn: &mut PgConnection,
    node_id: &str,
    status: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "WITH before AS (SELECT id, status FROM docker_nodes WHERE node_id = $1 FOR NO KEY UPDATE)
        UPDATE docker_nodes n SET status = $2, last_health_check = $3, updated_at = $3
        FROM before WHERE n.id = before.id RETURNING before.status",
        node_id,
        status,
        now
    )
    .fetch_optional(conn)
    .await
}

/// Locks a host, so that no slot of it is taken meanwhile; false if there is none of that name.
///
/// # Errors
/// Database errors.
pub async fn node_lock(conn: &mut PgConnection, node_id: &str) -> sqlx::Result<bool> {
    let found = sqlx::query!(
        "SELECT id FROM docker_nodes WHERE node_id = $1 FOR UPDATE",
        node_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// What agents have on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Agents with a container there, or that should have one.
    pub active: i64,
    /// Other agents whose volume there holds state that no backup does.
    pub unsaved: i64,
}

/// What agents have on a host. The host must be locked, by a statement before this one.
///
/// # Errors
/// Database errors.
pub async fn node_held(conn: &mut PgConnection, node_id: &str) -> sqlx::Result<Held> {
    sqlx::query_as!(
        Held,
        r#"SELECT count(*) FILTER (WHERE active) AS "active!",
            count(*) FILTER (WHERE unsaved AND NOT active) AS "unsaved!"
        FROM (SELECT unsaved_since IS NOT NULL AS unsaved,
                status IN ('provisioning', 'running', 'disconnected')
                    OR (container_name IS NOT NULL AND status NOT IN ('stopped', 'pending')) AS active
            FROM milady_sandboxes WHERE node_id = $1) AS agents"#,
        node_id
    )
    .fetch_one(conn)
    .await
}

/// Removes a host.
///
/// # Errors
/// Database errors.
pub async fn node_delete(conn: &mut PgConnection, node_id: &str) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM docker_nodes WHERE node_id = $1", node_id)
        .execute(conn)
        .await?;
    Ok(())
}

/// An agent whose row names a host.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct NodeAgent {
    pub id: Uuid,
    pub sandbox_id: Option<String>,
    pub organization_id: Uuid,
    pub user_id: Uuid,
    pub agent_name: Option<String>,
    pub status: String,
    pub container_name: Option<String>,
    pub bridge_port: Option<i32>,
    pub web_ui_port: Option<i32>,
    pub docker_image: Option<String>,
    pub last_heartbeat_at: Option<DateTime<Utc>>,
    pub error_message: Option<String>,
    pub error_count: i32,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The agents whose rows name a host, those with a container there first, then by age; not more than a
/// thousand of them.
///
/// # Errors
/// Database errors.
pub async fn node_agents(conn: &mut PgConnection, node_id: &str) -> sqlx::Result<Vec<NodeAgent>> {
    sqlx::query_as!(
        NodeAgent,
        "SELECT id, sandbox_id, organization_id, user_id, agent_name, status, container_name,
            bridge_port, web_ui_port, docker_image, last_heartbeat_at, error_message, error_count,
            created_at, updated_at
        FROM milady_sandboxes WHERE node_id = $1
        ORDER BY container_name IS NULL, created_at, id LIMIT 1000",
        node_id
    )
    .fetch_all(conn)
    .await
}
