//! Containers that may be dying, and the last one of each agent that died. Owns: both tables, and that a row ends with its
//! agent. Does not own: when a container counts as dead (`domain::fleet`).

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::fleet::AilingContainer;
use crate::domain::ids::{AgentId, AgentRef};

/// What an earlier run saw of an agent's container.
#[derive(Clone, Debug)]
pub struct AilingAgent {
    pub agent_id: AgentId,
    pub container: AilingContainer,
}

/// What earlier runs saw of the containers of these agents.
pub async fn ailing_containers_of_any_organization(
    conn: &mut Connection,
    agent_ids: &[AgentId],
) -> sqlx::Result<Vec<AilingAgent>> {
    let rows = sqlx::query!(
        "SELECT agent_id, container_id, began_at, restarts_before, observed_at, has_ended
        FROM cloud.ailing_containers WHERE agent_id = ANY($1)",
        agent_ids as &[AgentId]
    )
    .fetch_all(conn)
    .await?;
    let ailing = rows.into_iter().map(|row| AilingAgent {
        agent_id: row.agent_id,
        container: AilingContainer {
            container_id: row.container_id,
            began_at: row.began_at,
            restarts_before: row.restarts_before,
            observed_at: row.observed_at,
            has_ended: row.has_ended,
        },
    });
    Ok(ailing.collect())
}

/// Records what this run saw of an agent's container.
pub async fn ailing_container_record(
    conn: &mut Connection,
    agent: AgentRef,
    container: &AilingContainer,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.ailing_containers (agent_id, organization_id, container_id, began_at, restarts_before,
            observed_at, has_ended)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (agent_id) DO UPDATE SET organization_id = excluded.organization_id,
            container_id = excluded.container_id, began_at = excluded.began_at,
            restarts_before = excluded.restarts_before, observed_at = excluded.observed_at,
            has_ended = excluded.has_ended",
        agent.agent_id.uuid(),
        agent.organization_id.uuid(),
        container.container_id,
        container.began_at,
        container.restarts_before,
        container.observed_at,
        container.has_ended
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes what was seen of containers before this time, and the deaths of agents that are gone. A container that is still to
/// be stopped is not forgotten: nothing else may know of it.
pub async fn deaths_forget_of_any_organization(
    conn: &mut Connection,
    seen_before: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.ailing_containers WHERE observed_at < $1",
        seen_before
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM cloud.container_deaths d WHERE NOT d.to_stop AND NOT EXISTS (
            SELECT FROM public.milady_sandboxes a
            WHERE a.id = d.agent_id AND a.organization_id = d.organization_id)"
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How an agent's container died, and what is kept of it.
#[derive(Clone, Debug)]
pub struct NewDeath<'a> {
    pub node_id: &'a str,
    pub container_id: &'a str,
    pub died_at: DateTime<Utc>,
    pub exit_code: Option<i64>,
    pub out_of_memory: bool,
    pub restarts: i64,
    pub log: &'a str,
    /// Docker goes on starting the container.
    pub to_stop: bool,
}

/// Records a death. It replaces the one before.
pub async fn death_record(
    conn: &mut Connection,
    agent: AgentRef,
    death: &NewDeath<'_>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.container_deaths (agent_id, organization_id, node_id, container_id, died_at, exit_code,
            out_of_memory, restarts, log, to_stop)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (agent_id) DO UPDATE SET organization_id = excluded.organization_id,
            node_id = excluded.node_id, container_id = excluded.container_id, died_at = excluded.died_at,
            exit_code = excluded.exit_code, out_of_memory = excluded.out_of_memory,
            restarts = excluded.restarts, log = excluded.log, to_stop = excluded.to_stop",
        agent.agent_id.uuid(),
        agent.organization_id.uuid(),
        death.node_id,
        death.container_id,
        death.died_at,
        death.exit_code,
        death.out_of_memory,
        death.restarts,
        death.log,
        death.to_stop
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A container that counts as dead and that its engine goes on starting.
#[derive(Clone, Debug)]
pub struct RestartedContainer {
    pub agent: AgentRef,
    pub node_id: String,
    pub container_id: String,
}

/// The containers on a lost host are left out: they are stopped as soon as it answers again, like all others there.
pub async fn containers_to_stop_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<Vec<RestartedContainer>> {
    let rows = sqlx::query!(
        "SELECT agent_id, organization_id, node_id, container_id FROM cloud.container_deaths d
        WHERE to_stop AND NOT EXISTS (
            SELECT FROM cloud.host_withdrawals w WHERE w.node_id = d.node_id AND w.kind = 'loss')
        ORDER BY died_at, agent_id LIMIT 1000"
    )
    .fetch_all(conn)
    .await?;
    let containers = rows.into_iter().map(|row| RestartedContainer {
        agent: AgentRef {
            organization_id: row.organization_id,
            agent_id: row.agent_id,
        },
        node_id: row.node_id,
        container_id: row.container_id,
    });
    Ok(containers.collect())
}

/// Records that the container does not run any more.
pub async fn death_finish(
    conn: &mut Connection,
    agent: AgentRef,
    container_id: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.container_deaths SET to_stop = false
        WHERE organization_id = $1 AND agent_id = $2 AND container_id = $3",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        container_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A death as the agent's owner sees it.
#[derive(Clone, Debug)]
pub struct DeathRecord {
    pub died_at: DateTime<Utc>,
    pub exit_code: Option<i64>,
    pub out_of_memory: bool,
    pub restarts: i64,
    pub log: String,
}

pub async fn death_find(
    conn: &mut Connection,
    agent: AgentRef,
) -> sqlx::Result<Option<DeathRecord>> {
    sqlx::query_as!(
        DeathRecord,
        "SELECT died_at, exit_code, out_of_memory, restarts, log FROM cloud.container_deaths
        WHERE organization_id = $1 AND agent_id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .fetch_optional(conn)
    .await
}
