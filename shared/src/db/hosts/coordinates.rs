//! `docker_nodes` as far as it says how hosts are reached. Owns: finding a host to connect to, and the pinned keys.

use serde_json::Value;

use crate::db::session::Connection;

/// How a host is reached.
#[derive(Clone, Debug)]
pub struct HostCoordinates {
    pub node_id: String,
    pub hostname: String,
    pub ssh_port: i32,
    pub ssh_user: String,
    /// `None` until the first connection pins the host's key.
    pub host_key_fingerprint: Option<String>,
    pub metadata: Value,
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

pub async fn any_host_enabled(conn: &mut Connection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM public.docker_nodes WHERE enabled) AS "any!""#
    )
    .fetch_one(conn)
    .await
}

/// The three best hosts with a free slot: `preferred`, which may hold the agent's volume, then hosts that were not
/// offline at the last inspection, then those with the most free slots. Three, because a start connects to them one
/// after the other until one is usable.
pub async fn hosts_with_free_slots(
    conn: &mut Connection,
    preferred: Option<&str>,
) -> sqlx::Result<Vec<HostCoordinates>> {
    sql!(query_as!(
        HostCoordinates,
        "SELECT "
            + HOST_COORDINATES_COLUMNS
            + "
        FROM public.docker_nodes WHERE enabled AND allocated_count < capacity
        ORDER BY node_id IS NOT DISTINCT FROM $1 DESC, status = 'offline',
            capacity - allocated_count DESC, node_id
        LIMIT 3",
        preferred
    ))
    .fetch_all(conn)
    .await
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
