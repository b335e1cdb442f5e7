//! `milady_sandboxes` as far as it says where an agent's container and its state are. Owns: that a slot
//! is held exactly as long as the row names a container. The node stays in the row after that: it holds
//! the agent's volume.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::agent::AgentStatus;
use crate::domain::placement::Ports;

/// What is known of an agent's container, of its state and of its database.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct Placement {
    pub agent_name: Option<String>,
    pub agent_config: Option<Value>,
    pub environment_vars: Value,
    pub docker_image: Option<String>,
    pub database_uri: Option<String>,
    pub database_status: String,
    pub neon_project_id: Option<String>,
    pub node_id: Option<String>,
    pub container_name: Option<String>,
    pub bridge_port: Option<i32>,
    pub web_ui_port: Option<i32>,
    /// The volume on `node_id` holds state that no backup does.
    pub unsaved: bool,
    /// A directory of the host that serves as its volume.
    pub data_bind: Option<String>,
    /// Hosts that may hold volumes of earlier stays.
    pub former_nodes: Vec<String>,
    /// It was asked to stop.
    pub stop_requested: bool,
    /// The row names something of the agent and no host that it is on.
    pub elsewhere: bool,
    status: String,
}

impl Placement {
    /// Where the agent is in its life.
    #[must_use]
    pub fn status(&self) -> AgentStatus {
        AgentStatus::parse(&self.status)
    }

    /// The port of its host that leads to its bridge.
    #[must_use]
    pub fn bridge(&self) -> Option<u16> {
        self.bridge_port.and_then(|port| u16::try_from(port).ok())
    }
}

/// Reads it.
///
/// # Errors
/// Database errors.
pub async fn placement_find(
    conn: &mut PgConnection,
    (organization_id, agent_id): (Uuid, Uuid),
) -> sqlx::Result<Option<Placement>> {
    sqlx::query_as!(
        Placement,
        r#"SELECT agent_name, agent_config, environment_vars, docker_image, database_uri,
            database_status, neon_project_id, node_id, container_name, bridge_port, web_ui_port,
            unsaved_since IS NOT NULL AS "unsaved!", data_bind,
            coalesce(former_nodes, '{}') AS "former_nodes!",
            stop_requested_at IS NOT NULL AS "stop_requested!",
            node_id IS NULL AND (sandbox_id IS NOT NULL OR container_name IS NOT NULL)
                AS "elsewhere!",
            status
        FROM milady_sandboxes WHERE organization_id = $1 AND id = $2"#,
        organization_id,
        agent_id
    )
    .fetch_optional(conn)
    .await
}

/// Ports of a host that rows say are taken.
///
/// # Errors
/// Database errors.
pub async fn ports_taken(conn: &mut PgConnection, node_id: &str) -> sqlx::Result<Vec<u16>> {
    let ports = sqlx::query_scalar!(
        r#"SELECT port AS "port!" FROM milady_sandboxes,
            LATERAL (VALUES (bridge_port), (web_ui_port)) AS p (port)
        WHERE node_id = $1 AND port IS NOT NULL"#,
        node_id
    )
    .fetch_all(conn)
    .await?;
    let ports = ports
        .into_iter()
        .filter_map(|port| u16::try_from(port).ok());
    Ok(ports.collect())
}

/// Records where an agent that is being started goes; a host it leaves is remembered for what its
/// volume there holds, and is no longer where its newest state is. False if it is not being started any more or has a container already.
///
/// # Errors
/// Database errors; a duplicate if somebody else took a port meanwhile.
pub async fn placement_record(
    conn: &mut PgConnection,
    (organization_id, agent_id): (Uuid, Uuid),
    node_id: &str,
    container_name: &str,
    ports: Ports,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE milady_sandboxes SET
            former_nodes = CASE WHEN node_id <> $3
                THEN array_append(array_remove(former_nodes, $3), node_id)
                ELSE former_nodes END,
            data_bind = CASE WHEN node_id = $3 THEN data_bind END,
            unsaved_since = CASE WHEN node_id = $3 THEN unsaved_since END,
            node_id = $3, container_name = $4, bridge_port = $5, web_ui_port = $6, updated_at = $7
        WHERE organization_id = $1 AND id = $2 AND status = 'provisioning' AND container_name IS NULL",
        organization_id,
        agent_id,
        node_id,
        container_name,
        i32::from(ports.bridge),
        i32::from(ports.web),
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Other ports for the container that is recorded.
///
/// # Errors
/// Database errors; a duplicate if somebody else took a port meanwhile.
pub async fn placement_ports(
    conn: &mut PgConnection,
    (organization_id, agent_id): (Uuid, Uuid),
    ports: Ports,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE milady_sandboxes SET bridge_port = $3, web_ui_port = $4
        WHERE organization_id = $1 AND id = $2 AND container_name IS NOT NULL",
        organization_id,
        agent_id,
        i32::from(ports.bridge),
        i32::from(ports.web)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records where the proxy finds an agent that runs now. From here on its volume is ahead of its
/// backups.
///
/// # Errors
/// Database errors.
pub async fn placement_publish(
    conn: &mut PgConnection,
    (organization_id, agent_id): (Uuid, Uuid),
    bridge_url: &str,
    health_url: &str,
    image: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE milady_sandboxes SET bridge_url = $3, health_url = $4, docker_image = $5,
            last_heartbeat_at = $6, unsaved_since = $6
        WHERE organization_id = $1 AND id = $2",
        organization_id,
        agent_id,
        bridge_url,
        health_url,
        image,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The container is gone: the row names none any more. True if it named one.
///
/// # Errors
/// Database errors.
pub async fn placement_clear(
    conn: &mut PgConnection,
    (organization_id, agent_id): (Uuid, Uuid),
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE milady_sandboxes SET container_name = NULL, bridge_port = NULL, web_ui_port = NULL,
            bridge_url = NULL, health_url = NULL, updated_at = $3
        WHERE organization_id = $1 AND id = $2 AND container_name IS NOT NULL",
        organization_id,
        agent_id,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A start did not come about: the agent's volume is where it was before.
///
/// # Errors
/// Database errors.
pub async fn placement_return(
    conn: &mut PgConnection,
    (organization_id, agent_id): (Uuid, Uuid),
    before: &Placement,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE milady_sandboxes SET node_id = $3, data_bind = $4, former_nodes = $5,
            unsaved_since = CASE WHEN $6 THEN coalesce(unsaved_since, $7) END
        WHERE organization_id = $1 AND id = $2",
        organization_id,
        agent_id,
        before.node_id,
        before.data_bind,
        &before.former_nodes,
        before.unsaved,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether the volume holds state that no backup does.
///
/// # Errors
/// Database errors.
pub async fn unsaved_set(
    conn: &mut PgConnection,
    (organization_id, agent_id): (Uuid, Uuid),
    since: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE milady_sandboxes SET
            unsaved_since = CASE WHEN $3::timestamptz IS NULL THEN NULL
                ELSE coalesce(unsaved_since, $3) END
        WHERE organization_id = $1 AND id = $2",
        organization_id,
        agent_id,
        since
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps a directory of the host that an older deployment mounted as the agent's volume.
///
/// # Errors
/// Database errors.
pub async fn data_bind_set(
    conn: &mut PgConnection,
    (organization_id, agent_id): (Uuid, Uuid),
    directory: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE milady_sandboxes SET data_bind = $3 WHERE organization_id = $1 AND id = $2",
        organization_id,
        agent_id,
        directory
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds to the environment what must be the same at every start, and answers all of it. What is there
/// stays.
///
/// # Errors
/// Database errors.
pub async fn environment_keep(
    conn: &mut PgConnection,
    (organization_id, agent_id): (Uuid, Uuid),
    missing: &Value,
) -> sqlx::Result<Value> {
    sqlx::query_scalar!(
        "UPDATE milady_sandboxes SET environment_vars = $3 || environment_vars
        WHERE organization_id = $1 AND id = $2 RETURNING environment_vars",
        organization_id,
        agent_id,
        missing
    )
    .fetch_one(conn)
    .await
}

/// An agent's database is begun: from here on there may be one. Its address becomes `uri`, unless it is
/// another by now than the `known` one. Answers the address it has.
///
/// # Errors
/// Database errors.
pub async fn database_begin(
    conn: &mut PgConnection,
    (organization_id, agent_id): (Uuid, Uuid),
    known: Option<&str>,
    uri: Option<&str>,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "UPDATE milady_sandboxes SET database_status = 'provisioning', database_error = NULL,
            database_uri = CASE WHEN database_uri IS NOT DISTINCT FROM $3
                THEN coalesce($4, database_uri) ELSE database_uri END
        WHERE organization_id = $1 AND id = $2 RETURNING database_uri",
        organization_id,
        agent_id,
        known,
        uri
    )
    .fetch_one(conn)
    .await
}

/// What became of it.
///
/// # Errors
/// Database errors.
pub async fn database_end(
    conn: &mut PgConnection,
    (organization_id, agent_id): (Uuid, Uuid),
    project: Option<(&str, &str)>,
    error: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE milady_sandboxes SET
            database_status = CASE WHEN $5::text IS NULL THEN 'ready' ELSE 'error' END,
            database_error = $5, neon_project_id = coalesce($3, neon_project_id),
            database_uri = coalesce($4, database_uri)
        WHERE organization_id = $1 AND id = $2",
        organization_id,
        agent_id,
        project.map(|(id, _)| id),
        project.map(|(_, uri)| uri),
        error
    )
    .execute(conn)
    .await?;
    Ok(())
}
