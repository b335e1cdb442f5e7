//! `milady_sandboxes` as operators see it: agents and their containers across organizations. Only what a
//! super admin asks for reads here.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::db::billing::ledger::Position;
use crate::domain::agent::{AgentStatus, BillingStatus};

/// An agent's row, with what leads to its container.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct Row {
    pub id: Uuid,
    pub sandbox_id: Option<String>,
    pub organization_id: Uuid,
    pub user_id: Uuid,
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
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Which rows are wanted; none = whatever it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Where the agent is in its life.
    pub status: Option<AgentStatus>,
    /// The host that the row names.
    pub node_id: Option<&'a str>,
}

/// One page of them, newest first, beginning after a position.
///
/// # Errors
/// Database errors.
pub async fn containers_page(
    conn: &mut PgConnection,
    filter: Filter<'_>,
    after: Option<Position>,
    limit: i64,
) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        "SELECT id, sandbox_id, organization_id, user_id, agent_name, status, node_id,
            container_name, bridge_port, web_ui_port, headscale_ip, docker_image, bridge_url,
            health_url, last_heartbeat_at, error_message, error_count, created_at, updated_at
        FROM milady_sandboxes
        WHERE ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR node_id = $2)
            AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4))
        ORDER BY created_at DESC, id DESC LIMIT $5",
        filter.status.map(AgentStatus::as_str),
        filter.node_id,
        after.map(|position| position.created_at),
        after.map(|position| position.id),
        limit
    )
    .fetch_all(conn)
    .await
}

/// How many of them there are.
///
/// # Errors
/// Database errors.
pub async fn containers_count(conn: &mut PgConnection, filter: Filter<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM milady_sandboxes
        WHERE ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR node_id = $2)"#,
        filter.status.map(AgentStatus::as_str),
        filter.node_id
    )
    .fetch_one(conn)
    .await
}

/// A row that names a host, and with it the container it claims there.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The agent.
    pub agent_id: Uuid,
    /// What the row calls its container; none = what it would be called.
    pub container_name: Option<String>,
}

/// The rows that name this host.
///
/// # Errors
/// Database errors.
pub async fn claims(conn: &mut PgConnection, node_id: &str) -> sqlx::Result<Vec<Claim>> {
    sqlx::query_as!(
        Claim,
        "SELECT id AS agent_id, container_name FROM milady_sandboxes WHERE node_id = $1",
        node_id
    )
    .fetch_all(conn)
    .await
}

/// An agent as far as it decides about its container.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Whose it is.
    pub organization_id: Uuid,
    /// Its name.
    pub name: Option<String>,
    /// Where it is in its life.
    pub status: AgentStatus,
    /// Its standing with billing.
    pub billing: Option<BillingStatus>,
    /// It was asked to stop.
    pub stop_requested: bool,
    /// The host that its row names.
    pub node_id: Option<String>,
    /// What the row calls its container.
    pub container_name: Option<String>,
    /// Its image, if not the default one.
    pub docker_image: Option<String>,
}

/// One agent of whichever organization.
///
/// # Errors
/// Database errors.
pub async fn agent_find(conn: &mut PgConnection, agent_id: Uuid) -> sqlx::Result<Option<Agent>> {
    let row = sqlx::query!(
        r#"SELECT organization_id, agent_name, status, billing_status, node_id, container_name,
            docker_image, stop_requested_at IS NOT NULL AS "stop_requested!"
        FROM milady_sandboxes WHERE id = $1"#,
        agent_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Agent {
        organization_id: row.organization_id,
        name: row.agent_name,
        status: AgentStatus::parse(&row.status),
        billing: BillingStatus::parse(&row.billing_status),
        stop_requested: row.stop_requested,
        node_id: row.node_id,
        container_name: row.container_name,
        docker_image: row.docker_image,
    }))
}
