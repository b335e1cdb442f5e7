//! `docker_nodes`. Owns: which hosts there are, their slots and their pinned keys.

use serde_json::Value;
use sqlx::PgConnection;

/// A host as the database knows it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct Node {
    pub node_id: String,
    pub hostname: String,
    pub ssh_port: i32,
    pub ssh_user: String,
    pub host_key_fingerprint: Option<String>,
    pub metadata: Value,
}

/// Whether any enabled host is registered.
///
/// # Errors
/// Database errors.
pub async fn any_node(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM docker_nodes WHERE enabled) AS "any!""#)
        .fetch_one(conn)
        .await
}

/// The three hosts to ask first: `preferred`, which may hold the agent's volume, then those with the
/// most free slots. Hosts without a free slot are left out.
///
/// # Errors
/// Database errors.
pub async fn nodes_best(
    conn: &mut PgConnection,
    preferred: Option<&str>,
) -> sqlx::Result<Vec<Node>> {
    sqlx::query_as!(
        Node,
        "SELECT node_id, hostname, ssh_port, ssh_user, host_key_fingerprint, metadata
        FROM docker_nodes WHERE enabled AND allocated_count < capacity
        ORDER BY node_id IS NOT DISTINCT FROM $1 DESC, status = 'offline',
            capacity - allocated_count DESC, node_id
        LIMIT 3",
        preferred
    )
    .fetch_all(conn)
    .await
}

/// One host, whether it is enabled or not.
///
/// # Errors
/// Database errors.
pub async fn node_find(conn: &mut PgConnection, node_id: &str) -> sqlx::Result<Option<Node>> {
    sqlx::query_as!(
        Node,
        "SELECT node_id, hostname, ssh_port, ssh_user, host_key_fingerprint, metadata
        FROM docker_nodes WHERE node_id = $1",
        node_id
    )
    .fetch_optional(conn)
    .await
}

/// Takes a slot of a host; false if it has none left or was disabled (F17).
///
/// # Errors
/// Database errors.
pub async fn slot_take(conn: &mut PgConnection, node_id: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE docker_nodes SET allocated_count = allocated_count + 1, updated_at = billing_clock()
        WHERE node_id = $1 AND enabled AND allocated_count < capacity",
        node_id
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives a slot back.
///
/// # Errors
/// Database errors.
pub async fn slot_free(conn: &mut PgConnection, node_id: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE docker_nodes SET allocated_count = greatest(allocated_count - 1, 0),
            updated_at = billing_clock()
        WHERE node_id = $1",
        node_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Pins the key a host showed at its first connection. False if another one was pinned meanwhile.
///
/// # Errors
/// Database errors.
pub async fn node_pin(
    conn: &mut PgConnection,
    node_id: &str,
    fingerprint: &str,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE docker_nodes SET host_key_fingerprint = $2, updated_at = billing_clock()
        WHERE node_id = $1 AND host_key_fingerprint IS NULL",
        node_id,
        fingerprint
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Sets each host's count of taken slots to the rows that hold one: those that name a container on it.
/// What an older web app stopped gave its slot back and left the name in its row. Answers what changed,
/// as host, before and after, by host. All hosts stay locked until the transaction is over, and they are
/// locked before anything is counted: a slot that is taken meanwhile is counted by whoever comes second
/// (F17).
///
/// # Errors
/// Database errors.
pub async fn slots_reconcile(conn: &mut PgConnection) -> sqlx::Result<Vec<(String, i32, i32)>> {
    // A statement of its own: what the next one counts is what was there when it began.
    sqlx::query!("SELECT FROM docker_nodes ORDER BY node_id FOR NO KEY UPDATE")
        .execute(&mut *conn)
        .await?;
    let changed = sqlx::query!(
        r#"WITH held AS (
            SELECT n.node_id, n.allocated_count AS before, count(a.id)::integer AS after
            FROM docker_nodes n
            LEFT JOIN milady_sandboxes a ON a.node_id = n.node_id AND a.container_name IS NOT NULL
                AND a.status NOT IN ('stopped', 'pending')
            GROUP BY n.node_id, n.allocated_count
        ), changed AS (
            UPDATE docker_nodes n SET allocated_count = held.after, updated_at = billing_clock()
            FROM held WHERE n.node_id = held.node_id AND held.before <> held.after
            RETURNING n.node_id, held.before, held.after
        )
        SELECT node_id, before AS "before!", after AS "after!" FROM changed ORDER BY node_id"#
    )
    .fetch_all(conn)
    .await?;
    let changed = changed
        .into_iter()
        .map(|row| (row.node_id, row.before, row.after));
    Ok(changed.collect())
}
