//! `GET /api/v1/admin/docker-containers`: the agents of all organizations that have a host, with the places of their
//! containers, newest first.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::body::is_line;
use crate::api::deps::ImageDeps;
use crate::api::filter;
use crate::api::list::{self, Page};
use crate::api::parameters::CURSOR;
use crate::api::problem::Problem;
use crate::api::route::{CallerKind, Parameter, ResponseKind, Route, Tag};
use crate::api::schema::{KnownAgentStatus, NodeName, PageSize};
use crate::db::agents::operator::{
    AgentFilter, OperatorAgent, agents_count_of_any_organization, agents_page_of_any_organization,
};
use crate::db::page::PagePosition;
use crate::domain::agent::{AgentStatus, StopReason};
use crate::domain::container::ContainerKind;
use crate::domain::fleet::redact_addresses;
use crate::domain::ids::{AgentId, OrganizationId, UserId};
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    caller: CallerKind::SuperAdmin,
    parameters: &[
        Parameter::query::<KnownAgentStatus>("status", "Only agents with this status.")
            .example(r#""running""#),
        Parameter::query::<NodeName>("nodeId", "Only agents on this host.").example(r#""node-1""#),
        Parameter::query::<PageSize<DEFAULT_PAGE, MAX_PAGE>>(
            "limit",
            "The number of entries of a page.",
        )
        .example("200"),
        CURSOR,
    ],
    responses: &[ResponseKind::json::<Page<ContainerPage>>(200, "One page of agents.").with_etag()],
    refusals: &[400],
    ..Route::get(
        "container-list",
        "/api/v1/admin/docker-containers",
        Tag::Admin,
        "List the agents of all organizations that have a host, with the places of their containers, newest first",
    )
};

const DEFAULT_PAGE: i64 = 100;
const MAX_PAGE: i64 = 500;
/// The longest name of a host.
const MAX_NODE_ID_CHARS: usize = 64;

#[derive(Serialize, JsonSchema)]
struct ContainerPage {
    #[schemars(length(max = MAX_PAGE))]
    containers: Vec<ContainerJson>,
    /// The number of agents that match the filters, on all pages.
    #[schemars(range(min = 0))]
    total: i64,
    #[schemars(range(max = MAX_PAGE))]
    returned: usize,
    filters: Filters,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Filters {
    #[schemars(with = "Option<KnownAgentStatus>")]
    status: Option<AgentStatus>,
    node_id: Option<String>,
}

/// Holds the addresses that operators look for. Addresses in the error text are redacted: an older deployment
/// wrote them there.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ContainerRow")]
struct ContainerJson {
    id: AgentId,
    sandbox_id: Option<String>,
    organization_id: OrganizationId,
    organization_name: Option<String>,
    user_id: UserId,
    agent_name: Option<String>,
    status: String,
    node_id: Option<String>,
    container_name: Option<String>,
    bridge_port: Option<i32>,
    web_ui_port: Option<i32>,
    headscale_ip: Option<String>,
    docker_image: Option<String>,
    container_kind: ContainerKind,
    bridge_url: Option<String>,
    health_url: Option<String>,
    last_heartbeat_at: Option<Timestamp>,
    error_message: Option<String>,
    error_count: i32,
    /// Who stopped the agent, or what did. Null if nobody did, or another application; a start clears it.
    stop_reason: Option<StopReason>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl ContainerJson {
    fn new(row: OperatorAgent, default_image: &str) -> Self {
        Self {
            container_kind: ContainerKind::of(row.docker_image.as_deref(), default_image),
            id: row.id,
            sandbox_id: row.sandbox_id,
            organization_id: row.organization_id,
            organization_name: row.organization_name,
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
            last_heartbeat_at: row.last_heartbeat_at.map(Timestamp),
            error_message: row.error_message.as_deref().map(redact_addresses),
            error_count: row.error_count,
            stop_reason: row.stop_reason.as_deref().and_then(StopReason::parse),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
        }
    }
}

/// # Errors
/// 400 if a filter, `limit` or `cursor` is not valid, 401, 403, 503.
pub async fn handle(deps: &ImageDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let status = filter::agent_status(&request)?;
    let node_id = node_id(&request)?;
    let limit = limit(&request)?;
    let after = list::cursor(&request)?;
    let filter = AgentFilter {
        status,
        node_id: node_id.as_deref(),
    };
    let mut conn = deps.pool.statements();
    let total = agents_count_of_any_organization(&mut conn, filter).await?;
    let rows = agents_page_of_any_organization(&mut conn, filter, after, limit + 1).await?;
    drop(conn);
    let (rows, next_cursor) = list::cut(rows, limit, |row| PagePosition {
        created_at: row.created_at,
        id: row.id.uuid(),
    });
    let containers = rows
        .into_iter()
        .map(|row| ContainerJson::new(row, &deps.default_image));
    let containers: Vec<ContainerJson> = containers.collect();
    let data = ContainerPage {
        returned: containers.len(),
        containers,
        total,
        filters: Filters { status, node_id },
    };
    list::respond(&request, &Page::new(data, next_cursor))
}

fn node_id(request: &Request) -> Result<Option<String>, Problem> {
    let node_id = list::parameter(request, "nodeId");
    if node_id
        .as_ref()
        .is_some_and(|id| !is_line(id, MAX_NODE_ID_CHARS))
    {
        let message = "must be 1 to 64 characters without control characters";
        return Err(Problem::field("nodeId", message));
    }
    Ok(node_id)
}

fn limit(request: &Request) -> Result<i64, Problem> {
    let Some(text) = list::parameter(request, "limit") else {
        return Ok(DEFAULT_PAGE);
    };
    let limit = text.parse().ok();
    limit
        .filter(|limit| (1..=MAX_PAGE).contains(limit))
        .ok_or_else(|| Problem::field("limit", "must be a number from 1 to 500"))
}
