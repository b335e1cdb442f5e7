//! What any agent's container wrote, for operators. Owns: which container that is. An agent in whatever
//! state has its log read as long as its row names a container: what failed may have written why.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::time::timeout;
use uuid::Uuid;

use crate::app::agent::logs::{self as agent_logs, NO_CONTAINER, Part, WITHIN};
use crate::app::error::RequestError;
use crate::app::host_access::Host;
use crate::app::fleet::inspect;
use crate::db;
use crate::hosts::{EngineError, Fleet, HostError};

/// What was written, and by which container.
#[derive(Clone, Debug)]
pub struct ContainerLogs {
    /// Its name.
    pub container_name: String,
    /// The host it is on.
    pub node_id: String,
    /// The agent's name.
    pub agent_name: Option<String>,
    /// The lines, each with its time.
    pub text: String,
    /// When they were read.
    pub fetched_at: DateTime<Utc>,
}

/// Reads what an agent's container wrote last.
///
/// # Errors
/// [`RequestError`]; not now where there is no container.
pub async fn container_logs(
    pool: &PgPool,
    fleet: &Fleet,
    agent_id: Uuid,
    part: Part,
) -> Result<ContainerLogs, RequestError> {
    let mut conn = pool.acquire().await?;
    let agent = db::agents::operator::agent_find(&mut conn, agent_id).await?;
    let agent = agent.ok_or(RequestError::NotFound("Container not found"))?;
    let place = agent.node_id.zip(agent.container_name);
    let (node_id, container_name) = place.ok_or(NO_CONTAINER)?;
    let node = db::hosts::slots::node_find(&mut conn, &node_id).await?;
    let node = node.ok_or(NO_CONTAINER)?;
    let fetched_at = db::clock::billing_clock(&mut conn).await?;
    drop(conn);
    let read = async {
        let host = Host::open(pool, fleet, node).await?;
        let away = |error: EngineError| RequestError::Away(error.to_string());
        let all = host.engine.containers().await.map_err(away)?;
        let mut all = all.into_iter().map(inspect::found);
        let own = all.find(|found| found.is_claimed_by(agent_id, Some(&container_name)));
        let own = own.ok_or(NO_CONTAINER)?;
        match agent_logs::read(&host.engine, &own.id, part, fetched_at).await {
            Ok(text) => Ok(text),
            Err(EngineError::NotFound) => Err(NO_CONTAINER.into()),
            Err(error) => Err(away(error)),
        }
    };
    let late = |_| Err(HostError::TimedOut.into());
    let text: Result<String, RequestError> = timeout(WITHIN, read).await.unwrap_or_else(late);
    Ok(ContainerLogs {
        text: text?,
        container_name,
        node_id,
        agent_name: agent.name,
        fetched_at,
    })
}
