//! The columns of `milady_sandboxes` that say where an agent's container and saved data are. An agent holds a slot
//! exactly as long as its row names a container: callers take or free the slot in the same transaction. The host stays
//! in the row after that, because it holds the agent's volume.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::db::session::Connection;
use crate::domain::agent::AgentStatus;
use crate::domain::encrypted::EncryptedValue;
use crate::domain::ids::AgentRef;
use crate::domain::placement::Ports;
use crate::domain::redacted::debug_without_secrets;

/// The columns of an agent's row that say how it runs: what jobs need to start, stop or delete it, and requests to
/// reach it.
#[derive(Clone)]
pub struct RuntimeRecord {
    pub agent_name: Option<String>,
    pub agent_config: Option<Value>,
    pub docker_image: Option<String>,
    /// The address of the database as the older application or an earlier version wrote it.
    pub database_uri: Option<String>,
    pub database_status: String,
    pub neon_project_id: Option<String>,
    pub node_id: Option<String>,
    pub container_name: Option<String>,
    pub bridge_port: Option<i32>,
    pub web_ui_port: Option<i32>,
    /// Whether the volume on `node_id` holds state that no backup does.
    pub has_unsaved_state: bool,
    /// A directory of the host that serves as the agent's volume.
    pub data_bind: Option<String>,
    /// Hosts that may hold volumes from earlier placements.
    pub former_nodes: Vec<String>,
    /// Those of them whose volumes hold state that no backup does.
    pub left_nodes: Vec<String>,
    /// The host on which the agent last ran with its volume.
    state_node_id: Option<String>,
    pub stop_requested: bool,
    /// Whether the row names a container but no host.
    pub has_unknown_host: bool,
    /// Whether this product created the database of the encrypted address. `None` if there is no such address.
    pub has_own_database: Option<bool>,
    address_key_id: Option<String>,
    address_ciphertext: Option<Vec<u8>>,
    status: String,
}

debug_without_secrets!(
    RuntimeRecord: agent_name, docker_image, status, node_id, container_name, bridge_port, web_ui_port, database_status,
    has_unsaved_state, state_node_id, data_bind, former_nodes, left_nodes, stop_requested
);

impl RuntimeRecord {
    #[must_use]
    pub fn status(&self) -> AgentStatus {
        AgentStatus::parse_or_unknown(&self.status)
    }

    /// The address of the agent's database. It replaces `database_uri`.
    #[must_use]
    pub fn database_address(&self) -> Option<EncryptedValue> {
        EncryptedValue::from_columns(self.address_key_id.clone(), self.address_ciphertext.clone())
    }

    /// Whether the agent ran with a volume that is on this host, and nowhere else since.
    #[must_use]
    pub fn has_state_on(&self, node_id: &str) -> bool {
        // Agents that were started before `state_node_id` was recorded have unsaved state.
        let is_unsaved_here = self.has_unsaved_state && self.node_id.as_deref() == Some(node_id);
        is_unsaved_here || self.state_node_id.as_deref() == Some(node_id)
    }

    /// Whether a volume is known to hold the agent's state, on whatever host.
    #[must_use]
    pub fn has_state(&self) -> bool {
        self.has_unsaved_state || self.state_node_id.is_some()
    }

    /// The port of the host that leads to the agent's bridge.
    #[must_use]
    pub fn bridge(&self) -> Option<u16> {
        self.bridge_port.and_then(|port| u16::try_from(port).ok())
    }
}

pub async fn runtime_record_find(
    conn: &mut Connection,
    agent: AgentRef,
) -> sqlx::Result<Option<RuntimeRecord>> {
    sqlx::query_as!(
        RuntimeRecord,
        r#"SELECT agent_name, agent_config, docker_image, database_uri, database_status,
            neon_project_id, node_id, container_name, bridge_port, web_ui_port,
            unsaved_since IS NOT NULL AS "has_unsaved_state!", data_bind,
            coalesce(former_nodes, '{}') AS "former_nodes!", coalesce(left_nodes, '{}') AS "left_nodes!",
            state_node_id,
            stop_requested_at IS NOT NULL AS "stop_requested!",
            node_id IS NULL AND (sandbox_id IS NOT NULL OR container_name IS NOT NULL)
                AS "has_unknown_host!",
            d.is_own AS "has_own_database?", d.key_id AS "address_key_id?",
            d.ciphertext AS "address_ciphertext?", status
        FROM public.milady_sandboxes a LEFT JOIN cloud.agent_databases d ON d.agent_id = a.id
        WHERE a.organization_id = $1 AND a.id = $2"#,
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .fetch_optional(conn)
    .await
}

/// The ports of a host that agents' rows name.
pub async fn ports_taken_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
) -> sqlx::Result<Vec<u16>> {
    let ports = sqlx::query_scalar!(
        r#"SELECT port AS "port!" FROM public.milady_sandboxes,
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

/// The place of a container on a host.
#[derive(Clone, Copy, Debug)]
pub struct NewPlacement<'a> {
    pub node_id: &'a str,
    pub container_name: &'a str,
    pub ports: Ports,
}

/// Records where the container of an agent that is being started will be. If the agent moves, its previous host
/// becomes a former one, which may hold an old volume; state that no backup holds counts as left there. Returns `false`
/// if the agent is not being started any more or has a container already.
///
/// # Errors
/// A unique violation if another start has taken one of the ports meanwhile.
pub async fn placement_record(
    conn: &mut Connection,
    agent: AgentRef,
    placement: NewPlacement<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE public.milady_sandboxes SET
            former_nodes = CASE WHEN node_id <> $3
                THEN array_append(array_remove(former_nodes, $3), node_id)
                ELSE former_nodes END,
            left_nodes = array_remove(CASE WHEN node_id <> $3 AND unsaved_since IS NOT NULL
                THEN array_append(array_remove(left_nodes, node_id), node_id)
                ELSE left_nodes END, $3),
            state_node_id = CASE WHEN node_id = $3 THEN state_node_id END,
            data_bind = CASE WHEN node_id = $3 THEN data_bind END,
            unsaved_since = CASE WHEN node_id = $3 THEN unsaved_since END,
            node_id = $3, container_name = $4, bridge_port = $5, web_ui_port = $6, updated_at = $7
        WHERE organization_id = $1 AND id = $2 AND status = 'provisioning' AND container_name IS NULL",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        placement.node_id,
        placement.container_name,
        i32::from(placement.ports.bridge),
        i32::from(placement.ports.web),
        now
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Replaces the ports of the recorded container.
///
/// # Errors
/// A unique violation if another start has taken one of the ports meanwhile.
pub async fn placement_change_ports(
    conn: &mut Connection,
    agent: AgentRef,
    ports: Ports,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET bridge_port = $3, web_ui_port = $4
        WHERE organization_id = $1 AND id = $2 AND container_name IS NOT NULL",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        i32::from(ports.bridge),
        i32::from(ports.web)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The addresses and the image of a container that runs.
#[derive(Clone, Copy, Debug)]
pub struct StartedContainer<'a> {
    pub bridge_url: &'a str,
    pub health_url: &'a str,
    /// The image of agents that name none.
    pub default_image: &'a str,
    /// The digest of the image that it runs; `None` if the image came from no registry.
    pub image_digest: Option<&'a str>,
}

/// Records the addresses at which the web proxy in front of the agents reaches a started agent. From now on the agent's
/// volume holds its state, which no backup does. An earlier `unsaved_since` is replaced: the start may have restored a backup
/// over the state that it stood for, and only whether a time is set is ever read.
///
/// The row keeps naming the image that was asked for. Earlier versions wrote the default image into it, which the agent
/// would keep when the default changes (F69).
pub async fn placement_record_urls(
    conn: &mut Connection,
    agent: AgentRef,
    container: StartedContainer<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET bridge_url = $3, health_url = $4,
            docker_image = nullif(docker_image, $5), image_digest = $6, last_heartbeat_at = $7,
            unsaved_since = $7, state_node_id = node_id
        WHERE organization_id = $1 AND id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        container.bridge_url,
        container.health_url,
        container.default_image,
        container.image_digest,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records when the container of an agent that is being started began to run. From then on the agent is metered, once it
/// is known to run. Returns `false` if the agent is not being started any more.
pub async fn compute_started_set(
    conn: &mut Connection,
    agent: AgentRef,
    at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE public.milady_sandboxes SET compute_started_at = $3
        WHERE organization_id = $1 AND id = $2 AND status = 'provisioning' AND container_name IS NOT NULL",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        at
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Records that the container is gone. Returns whether the row named one: then the caller frees its slot.
pub async fn placement_clear(
    conn: &mut Connection,
    agent: AgentRef,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE public.milady_sandboxes SET container_name = NULL, bridge_port = NULL, web_ui_port = NULL,
            bridge_url = NULL, health_url = NULL, compute_started_at = NULL, updated_at = $3
        WHERE organization_id = $1 AND id = $2 AND container_name IS NOT NULL",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        now
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// After a failed start, sets the columns that say where the agent's volume is back to their earlier values.
pub async fn placement_revert(
    conn: &mut Connection,
    agent: AgentRef,
    before: &RuntimeRecord,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET node_id = $3, data_bind = $4, former_nodes = $5,
            unsaved_since = CASE WHEN $6 THEN coalesce(unsaved_since, $7) END,
            state_node_id = $8, left_nodes = $9
        WHERE organization_id = $1 AND id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        before.node_id,
        before.data_bind,
        &before.former_nodes,
        before.has_unsaved_state,
        now,
        before.state_node_id,
        &before.left_nodes
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records of an agent without a container, whose move did not end elsewhere, that it belongs to the host that it was to
/// leave: the volume there holds its newest state. Returns `false` if the agent has a container.
pub async fn placement_return(
    conn: &mut Connection,
    agent: AgentRef,
    node_id: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE public.milady_sandboxes SET
            former_nodes = CASE WHEN node_id <> $3
                THEN array_append(array_remove(array_remove(former_nodes, node_id), $3), node_id)
                ELSE former_nodes END,
            left_nodes = array_remove(left_nodes, $3), node_id = $3, state_node_id = $3,
            unsaved_since = coalesce(unsaved_since, $4)
        WHERE organization_id = $1 AND id = $2 AND container_name IS NULL",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        node_id,
        now
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Records that all that the volume on a former host holds was copied to the agent's host. The volume stays there.
pub async fn volume_copied(
    conn: &mut Connection,
    agent: AgentRef,
    from_node: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET left_nodes = array_remove(left_nodes, $3)
        WHERE organization_id = $1 AND id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        from_node
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records since when the volume holds state that no backup does; `None` if a backup holds it all. If a time is already
/// set, it is kept.
pub async fn unsaved_since_set(
    conn: &mut Connection,
    agent: AgentRef,
    since: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET
            unsaved_since = CASE WHEN $3::timestamptz IS NULL THEN NULL
                ELSE coalesce(unsaved_since, $3) END
        WHERE organization_id = $1 AND id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        since
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records the directory of the host that an older deployment mounted as the agent's volume.
pub async fn data_bind_set(
    conn: &mut Connection,
    agent: AgentRef,
    directory: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET data_bind = $3 WHERE organization_id = $1 AND id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        directory
    )
    .execute(conn)
    .await?;
    Ok(())
}
