//! The log of any agent's container, for operators. Owns: which container that is. The agent's status does not matter
//! as long as its row names a container: the log of a container that ended may say why.

use chrono::{DateTime, Utc};

use crate::app::agent::logs::{LogPart, NO_CONTAINER, limit_time, read_error, read_log};
use crate::app::error::RequestError;
use crate::app::host_access::Host;
use crate::db;
use crate::db::Database;
use crate::domain::ids::AgentId;
use crate::hosts::HostClient;

#[derive(Clone, Debug)]
pub struct ContainerLogs {
    pub container_name: String,
    pub node_id: String,
    pub agent_name: Option<String>,
    /// The lines, each with its time.
    pub text: String,
    pub fetched_at: DateTime<Utc>,
}

/// Reads the log of an agent's container.
///
/// # Errors
/// [`RequestError::StatusConflict`] if there is no container.
pub async fn container_logs(
    pool: &Database,
    hosts: &HostClient,
    agent_id: AgentId,
    part: LogPart,
) -> Result<ContainerLogs, RequestError> {
    let mut conn = pool.statements();
    let agent = db::agents::operator::agent_of_any_organization(&mut conn, agent_id)
        .await?
        .ok_or(RequestError::CONTAINER_NOT_FOUND)?;
    let place = agent.node_id.zip(agent.container_name);
    let (node_id, container_name) = place.ok_or(NO_CONTAINER)?;
    let node = db::hosts::coordinates::host_find(&mut conn, &node_id)
        .await?
        .ok_or(NO_CONTAINER)?;
    let fetched_at = db::clock::billing_clock(&mut conn).await?;
    // Nothing holds a connection while it waits for a host.
    drop(conn);
    let read = async {
        let host = Host::open(pool, hosts, node).await?;
        let containers = host.engine.list_containers().await;
        let containers = containers.map_err(RequestError::HostUnavailable)?;
        // By id: a container of this name that another agent's label claims is not read.
        let container = containers
            .into_iter()
            .find(|container| container.is_claimed_by(agent_id, Some(&container_name)))
            .ok_or(NO_CONTAINER)?;
        let text = read_log(&host.engine, &container.id, part, fetched_at).await;
        text.map_err(read_error)
    };
    let text = limit_time(read).await?;
    Ok(ContainerLogs {
        container_name,
        node_id,
        agent_name: agent.name,
        text,
        fetched_at,
    })
}
