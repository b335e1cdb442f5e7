//! `GET /api/v1/admin/docker-containers`: the agents of all organizations and where their containers are,
//! newest first.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::api::auth::Auth;
use crate::api::body::is_line;
use crate::api::json::Date;
use crate::api::list;
use crate::api::problem::{Detail, Problem};
use crate::db::agents::operator::{Filter, Row, containers_count, containers_page};
use crate::db::billing::ledger::Position;
use crate::domain::agent::AgentStatus;
use crate::domain::fleet::without_addresses;

/// What the route needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
}

/// Rows of a page, when the client asks for no number in particular and at most.
const ROWS: i64 = 100;
const MOST_ROWS: i64 = 500;
/// The longest name of a host.
const LONGEST_NAME: usize = 64;

/// A row as it is shown. The addresses are what operators look for; what an older deployment wrote of its
/// errors may hold others.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: Uuid,
    sandbox_id: Option<String>,
    organization_id: Uuid,
    user_id: Uuid,
    agent_name: Option<String>,
    status: String,
    node_id: Option<String>,
    container_name: Option<String>,
    bridge_port: Option<i32>,
    web_ui_port: Option<i32>,
    headscale_ip: Option<String>,
    docker_image: Option<String>,
    bridge_url: Option<String>,
    health_url: Option<String>,
    last_heartbeat_at: Option<Date>,
    error_message: Option<String>,
    error_count: i32,
    created_at: Date,
    updated_at: Date,
}

impl From<Row> for Shown {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            sandbox_id: row.sandbox_id,
            organization_id: row.organization_id,
            user_id: row.user_id,
            agent_name: row.agent_name,
            status: row.status,
            node_id: row.node_id,
            container_name: row.container_name,
            bridge_port: row.bridge_port,
            web_ui_port: row.web_ui_port,
            headscale_ip: row.headscale_ip,
            docker_image: row.docker_image,
            bridge_url: row.bridge_url,
            health_url: row.health_url,
            last_heartbeat_at: row.last_heartbeat_at.map(Date),
            error_message: row.error_message.as_deref().map(without_addresses),
            error_count: row.error_count,
            created_at: Date(row.created_at),
            updated_at: Date(row.updated_at),
        }
    }
}

/// Answers one page.
///
/// # Errors
/// 400 for a filter, `limit` or `cursor` that is none, 401, 403, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let (status, node_id) = (status(&request)?, node_id(&request)?);
    let (limit, after) = (limit(&request)?, list::cursor(&request)?);
    let filter = Filter {
        status,
        node_id: node_id.as_deref(),
    };
    let mut conn = deps.pool.acquire().await?;
    let total = containers_count(&mut conn, filter).await?;
    let rows = containers_page(&mut conn, filter, after, limit + 1).await?;
    drop(conn);
    let (rows, next_cursor) = list::cut(rows, limit, |row| Position {
        created_at: row.created_at,
        seq: None,
        id: row.id,
    });
    let containers: Vec<Shown> = rows.into_iter().map(Shown::from).collect();
    let mut body = json!({"success": true, "data": {
        "returned": containers.len(), "containers": containers, "total": total,
        "filters": {"status": status, "nodeId": node_id},
    }});
    if let Some(cursor) = next_cursor {
        body["nextCursor"] = json!(cursor);
    }
    list::answer(&request, &body)
}

fn status(request: &Request) -> Result<Option<AgentStatus>, Problem> {
    let Some(word) = list::parameter(request, "status") else {
        return Ok(None);
    };
    let status = AgentStatus::parse(&word);
    if status == AgentStatus::Unknown {
        let shown: String = word.chars().take(LONGEST_NAME).collect();
        let detail = Detail {
            field: "status",
            message: "must be pending, provisioning, running, stopped, disconnected or error",
        };
        let error = format!("Invalid status filter: {shown}");
        return Err(Problem::bad_value(error, detail));
    }
    Ok(Some(status))
}

fn node_id(request: &Request) -> Result<Option<String>, Problem> {
    let node_id = list::parameter(request, "nodeId");
    if node_id
        .as_ref()
        .is_some_and(|id| !is_line(id, LONGEST_NAME))
    {
        let message = "must be 1 to 64 characters without control characters";
        return Err(Problem::field("nodeId", message));
    }
    Ok(node_id)
}

fn limit(request: &Request) -> Result<i64, Problem> {
    let Some(text) = list::parameter(request, "limit") else {
        return Ok(ROWS);
    };
    let limit = text.parse().ok();
    limit
        .filter(|limit| (1..=MOST_ROWS).contains(limit))
        .ok_or_else(|| Problem::field("limit", "must be a number from 1 to 500"))
}
