//! `GET /api/v1/admin/docker-containers/{containerId}/logs`.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::ReachDeps;
use crate::api::json::Date;
use crate::api::problem::Problem;
use crate::api::{json, list, log_part, path};
use crate::app::container::logs::container_logs;

/// Answers what the container of any agent wrote last. The id is the row's, as the list gives it.
///
/// # Errors
/// 400, 401, 403, 404, 409 for an agent without a container, 503.
pub async fn handle(deps: &ReachDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let id = path::uuid(&request, "containerId")?;
    let part = log_part::of_query(&request, "lines")?;
    let logs = container_logs(&deps.pool, &deps.fleet, id, part).await?;
    let data = json!({
        "containerId": id, "containerName": logs.container_name, "nodeId": logs.node_id,
        "agentName": logs.agent_name, "lines": part.tail,
        "since": list::parameter(&request, "since"), "logs": logs.text,
        "fetchedAt": Date(logs.fetched_at),
    });
    json::ok(&json!({"success": true, "data": data}))
}
