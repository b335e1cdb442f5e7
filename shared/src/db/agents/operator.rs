//! `milady_sandboxes` as operators see it: agents and their containers of any organization. Only requests of super
//! admins read here.

use chrono::{DateTime, Utc};

use crate::db::page::PagePosition;
use crate::db::session::Connection;
use crate::domain::agent::{AgentStatus, BillingStatus, StopReason};
use crate::domain::ids::{AgentId, AgentRef, OrganizationId, UserId};

/// An agent's row, including what leads to its container.
#[derive(Clone, Debug)]
pub struct OperatorAgent {
    pub id: AgentId,
    pub sandbox_id: Option<String>,
    pub organization_id: OrganizationId,
    pub organization_name: Option<String>,
    pub user_id: UserId,
    pub agent_name: Option<String>,
    pub status: String,
    pub node_id: Option<String>,
    pub container_name: Option<String>,
    pub bridge_port: Option<i32>,
    pub web_ui_port: Option<i32>,
    pub headscale_ip: Option<String>,
    pub docker_image: Option<String>,
    pub bridge_url: Option<String>,
    pub health_url: Option<String>,
    pub last_heartbeat_at: Option<DateTime<Utc>>,
    pub error_message: Option<String>,
    pub error_count: i32,
    /// A word of [`StopReason`], or of another version.
    pub stop_reason: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Which agents are listed; `None` does not limit the list.
#[derive(Clone, Copy, Debug, Default)]
pub struct AgentFilter<'a> {
    pub status: Option<AgentStatus>,
    /// The host that the row names.
    pub node_id: Option<&'a str>,
}

/// One page of the agents that have a host, newest first, after a position.
pub async fn agents_page_of_any_organization(
    conn: &mut Connection,
    filter: AgentFilter<'_>,
    after: Option<PagePosition>,
    limit: i64,
) -> sqlx::Result<Vec<OperatorAgent>> {
    sql!(query_as!(
        OperatorAgent,
        "SELECT "
            + OPERATOR_AGENT_COLUMNS
            + " FROM public.milady_sandboxes
        WHERE node_id IS NOT NULL AND ($1::text IS NULL OR status = $1)
            AND ($2::text IS NULL OR node_id = $2)
            AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4))
        ORDER BY created_at DESC, id DESC LIMIT $5",
        filter.status.map(AgentStatus::as_str),
        filter.node_id,
        after.map(|position| position.created_at),
        after.map(|position| position.id),
        limit
    ))
    .fetch_all(conn)
    .await
}

pub async fn agents_count_of_any_organization(
    conn: &mut Connection,
    filter: AgentFilter<'_>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM public.milady_sandboxes
        WHERE node_id IS NOT NULL AND ($1::text IS NULL OR status = $1)
            AND ($2::text IS NULL OR node_id = $2)"#,
        filter.status.map(AgentStatus::as_str),
        filter.node_id
    )
    .fetch_one(conn)
    .await
}

/// The agents whose rows name a host, at most a thousand: those with a container there first, then by age.
pub async fn host_agents_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
) -> sqlx::Result<Vec<OperatorAgent>> {
    sql!(query_as!(
        OperatorAgent,
        "SELECT "
            + OPERATOR_AGENT_COLUMNS
            + " FROM public.milady_sandboxes WHERE node_id = $1
        ORDER BY container_name IS NULL, created_at, id LIMIT 1000",
        node_id
    ))
    .fetch_all(conn)
    .await
}

/// A row that names a host, and thereby claims a container there.
#[derive(Clone, Debug)]
pub struct ContainerClaim {
    pub agent_id: AgentId,
    /// `None` if the row names no container. Then it claims the container whose name follows from the agent's id.
    pub container_name: Option<String>,
}

pub async fn claims_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
) -> sqlx::Result<Vec<ContainerClaim>> {
    sqlx::query_as!(
        ContainerClaim,
        "SELECT id AS agent_id, container_name FROM public.milady_sandboxes WHERE node_id = $1",
        node_id
    )
    .fetch_all(conn)
    .await
}

/// What decides about an operator's action on an agent's container.
#[derive(Clone, Debug)]
pub struct ContainerAgent {
    pub organization_id: OrganizationId,
    pub name: Option<String>,
    pub status: AgentStatus,
    /// `None` for a word that this version does not know.
    pub billing: Option<BillingStatus>,
    pub stop_requested: bool,
    /// The host that the row names.
    pub node_id: Option<String>,
    pub container_name: Option<String>,
    /// `None` for the default image.
    pub docker_image: Option<String>,
}

pub async fn agent_of_any_organization(
    conn: &mut Connection,
    agent_id: AgentId,
) -> sqlx::Result<Option<ContainerAgent>> {
    let row = sqlx::query!(
        r#"SELECT organization_id, agent_name, status, billing_status, node_id, container_name,
            docker_image, stop_requested_at IS NOT NULL AS "stop_requested!"
        FROM public.milady_sandboxes WHERE id = $1"#,
        agent_id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| ContainerAgent {
        organization_id: row.organization_id,
        name: row.agent_name,
        status: AgentStatus::parse_or_unknown(&row.status),
        billing: BillingStatus::parse(&row.billing_status),
        stop_requested: row.stop_requested,
        node_id: row.node_id,
        container_name: row.container_name,
        docker_image: row.docker_image,
    }))
}

/// Records that an operator stopped the container of an agent that neither runs nor is being started. An earlier reason
/// stays.
pub async fn agent_stopped_by_operator(
    conn: &mut Connection,
    agent: AgentRef,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET stop_reason = $3, updated_at = $4
        WHERE organization_id = $1 AND id = $2 AND stop_reason IS NULL AND status IN ('stopped', 'error')",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        StopReason::Operator.as_str(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
