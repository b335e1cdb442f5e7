//! `GET /api/v1/admin/docker-containers/{containerId}/logs`: the end of the log of any agent's container.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use crate::api::deps::HostDeps;
use crate::api::problem::Problem;
use crate::api::{list, log_part, path, response};
use crate::app::container::logs::container_logs;
use crate::domain::timestamp::Timestamp;

/// The id in the path is the agent's, as the list of containers gives it.
///
/// # Errors
/// 400, 401, 403, 404, 409 if the agent has no container, 503.
pub async fn handle(deps: &HostDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let id = path::identifier(&request, "containerId")?;
    let part = log_part::of_query(&request, "lines")?;
    let logs = container_logs(&deps.pool, &deps.hosts, id, part).await?;
    let data = json!({
        "containerId": id, "containerName": logs.container_name, "nodeId": logs.node_id,
        "agentName": logs.agent_name, "lines": part.tail,
        "since": list::parameter(&request, "since"), "logs": logs.text,
        "fetchedAt": Timestamp(logs.fetched_at),
    });
    response::ok(&json!({"success": true, "data": data}))
}
