//! `GET /api/v1/admin/docker-containers/{containerId}/logs`: the end of the log of any agent's container.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::deps::HostDeps;
use crate::api::log_part::{LogLines, MAX_LINES};
use crate::api::parameters::LOG_SINCE;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{CallerKind, Parameter, ResponseKind, Route, Tag};
use crate::api::{list, log_part, path, response};
use crate::app::container::logs::{LogRequest, container_logs};
use crate::domain::ids::AgentId;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    description: "The audit log records each reading before it begins and when it has ended.",
    caller: CallerKind::SuperAdmin,
    parameters: &[
        Parameter::query::<LogLines>("lines", "The number of lines, from the end of the log.")
            .example("100"),
        LOG_SINCE,
    ],
    responses: &[ResponseKind::json::<Data<ContainerLogs>>(
        200,
        "The lines, each with its time.",
    )],
    refusals: &[400, 404, 409],
    ..Route::get(
        "container-logs",
        "/api/v1/admin/docker-containers/{containerId}/logs",
        Tag::Admin,
        "Read the log of any agent's container",
    )
};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ContainerLogs {
    container_id: AgentId,
    container_name: String,
    node_id: String,
    agent_name: Option<String>,
    #[schemars(range(min = 1, max = MAX_LINES))]
    lines: u32,
    /// The value of the request.
    since: Option<String>,
    logs: String,
    fetched_at: Timestamp,
}

/// The id in the path is the agent's, as the list of containers gives it.
///
/// # Errors
/// 400, 401, 403, 404, 409 if the agent has no container, 503.
pub async fn handle(deps: &HostDeps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let id = path::identifier(&request, "containerId")?;
    let part = log_part::of_query(&request, "lines")?;
    let log_request = LogRequest {
        admin_id: admin.user_id,
        agent_id: id,
        part,
    };
    let logs = container_logs(&deps.pool, &deps.hosts, log_request).await?;
    response::ok(ContainerLogs {
        container_id: id,
        container_name: logs.container_name,
        node_id: logs.node_id,
        agent_name: logs.agent_name,
        lines: part.tail,
        since: list::parameter(&request, "since"),
        logs: logs.text,
        fetched_at: Timestamp(logs.fetched_at),
    })
}
