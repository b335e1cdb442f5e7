//! `docker_nodes` as far as it says how hosts are reached. Owns: finding a host to connect to, and the pinned keys.

use serde_json::Value;

use crate::db::session::Connection;
use crate::domain::fleet::HostStatus;

/// How a host is reached.
#[derive(Clone, Debug)]
pub struct HostCoordinates {
    pub node_id: String,
    pub hostname: String,
    pub ssh_port: i32,
    pub ssh_user: String,
    /// `None` until the first connection pins the host's key.
    pub host_key_fingerprint: Option<String>,
    /// The type and the fingerprint of the key that a connection accepted: `ssh-ed25519 SHA256:...`.
    pub presented_host_key: Option<String>,
    pub metadata: Value,
    /// Whether the host is declared lost: nothing is done there but stopping the containers of agents.
    pub is_lost: bool,
}

/// A host, enabled or not.
pub async fn host_find(
    conn: &mut Connection,
    node_id: &str,
) -> sqlx::Result<Option<HostCoordinates>> {
    sql!(query_as!(
        HostCoordinates,
        "SELECT " + HOST_COORDINATES_COLUMNS + " FROM public.docker_nodes WHERE node_id = $1",
        node_id
    ))
    .fetch_optional(conn)
    .await
}

/// A host on which agents may be placed.
#[derive(Clone, Debug)]
pub struct EnabledHost {
    pub coordinates: HostCoordinates,
    /// By the last inspection.
    pub status: HostStatus,
    pub capacity: i32,
    pub allocated_count: i32,
}

/// All enabled hosts, with and without a free slot.
pub async fn hosts_enabled(conn: &mut Connection) -> sqlx::Result<Vec<EnabledHost>> {
    let rows = sql!(query!(
        "SELECT "
            + HOST_COORDINATES_COLUMNS
            + ", status, capacity, allocated_count FROM public.docker_nodes WHERE enabled
            ORDER BY node_id"
    ))
    .fetch_all(conn)
    .await?;
    let hosts = rows.into_iter().map(|row| EnabledHost {
        status: HostStatus::parse_or_unknown(&row.status),
        capacity: row.capacity,
        allocated_count: row.allocated_count,
        coordinates: HostCoordinates {
            node_id: row.node_id,
            hostname: row.hostname,
            ssh_port: row.ssh_port,
            ssh_user: row.ssh_user,
            host_key_fingerprint: row.host_key_fingerprint,
            presented_host_key: row.presented_host_key,
            metadata: row.metadata,
            is_lost: row.is_lost,
        },
    });
    Ok(hosts.collect())
}

/// Pins the key that a host presented at its first connection. Returns `false` if a key was pinned meanwhile.
pub async fn host_pin_key(
    conn: &mut Connection,
    node_id: &str,
    fingerprint: &str,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE public.docker_nodes SET host_key_fingerprint = $2, updated_at = cloud.billing_clock()
        WHERE node_id = $1 AND host_key_fingerprint IS NULL",
        node_id,
        fingerprint
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Records which key of a host a connection accepted, with its type.
pub async fn host_record_key(
    conn: &mut Connection,
    node_id: &str,
    presented: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.docker_nodes SET presented_host_key = $2
        WHERE node_id = $1 AND presented_host_key IS DISTINCT FROM $2",
        node_id,
        presented
    )
    .execute(conn)
    .await?;
    Ok(())
}
