//! The log of any agent's container, for operators. Owns: which container that is, and that the audit log has an entry
//! before the log is read and its result afterwards. The agent's status does not matter as long as its row names a
//! container: the log of a container that ended may say why.

use chrono::{DateTime, Utc};
use serde_json::json;
use tracing::error;

use crate::app::agent::logs::{LogPart, NO_CONTAINER, limit_time, read_error, read_log};
use crate::app::container::entry::{ContainerEntry, begin_entry, finish_entry};
use crate::app::error::RequestError;
use crate::app::fleet::run_clock::RunClock;
use crate::app::host_access::Host;
use crate::db;
use crate::db::Database;
use crate::domain::fleet::ContainerAction;
use crate::domain::ids::{AgentId, UserId};
use crate::hosts::HostClient;

#[derive(Clone, Copy, Debug)]
pub struct LogRequest {
    pub admin_id: UserId,
    pub agent_id: AgentId,
    pub part: LogPart,
}

#[derive(Clone, Debug)]
pub struct ContainerLogs {
    pub container_name: String,
    pub node_id: String,
    pub agent_name: Option<String>,
    /// The lines, each with its time.
    pub text: String,
    pub fetched_at: DateTime<Utc>,
}

/// Reads the log of an agent's container and records it in the audit log.
///
/// # Errors
/// [`RequestError::StatusConflict`] if there is no container.
pub async fn container_logs(
    pool: &Database,
    hosts: &HostClient,
    request: LogRequest,
) -> Result<ContainerLogs, RequestError> {
    let LogRequest {
        admin_id,
        agent_id,
        part,
    } = request;
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
    let entry = ContainerEntry {
        admin_id,
        action: ContainerAction::Logs,
        node_id: &node_id,
        container_name: &container_name,
        details: json!({
            "nodeId": node_id, "containerName": container_name, "agentId": agent_id,
        }),
    };
    let entry_id = begin_entry(&mut conn, entry, fetched_at).await?;
    // Nothing holds a connection while it waits for a host.
    drop(conn);
    let clock = RunClock::start(fetched_at);
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
    let text = limit_time(read).await;
    let ending = text.as_ref().map(|_| json!({}));
    let mut conn = pool.statements();
    if let Err(error) = finish_entry(&mut conn, entry_id, ending, clock.now()).await {
        error!(
            error = db::error_class(&error),
            audit.id = entry_id,
            "outcome of reading a log not recorded; its audit entry stays `begun`"
        );
    }
    let text = text?;
    Ok(ContainerLogs {
        container_name,
        node_id,
        agent_name: agent.name,
        text,
        fetched_at,
    })
}
