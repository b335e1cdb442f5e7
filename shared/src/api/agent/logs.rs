//! `GET /api/v1/milady/agents/{agentId}/logs`.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::reach::Deps;
use crate::api::json::Date;
use crate::api::problem::Problem;
use crate::api::{json, log_part, path};
use crate::app::agent::logs::agent_logs;

/// Answers what the agent's container wrote last.
///
/// # Errors
/// 400, 401, 403, 404, 409 for an agent without a container, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent_id = path::uuid(&request, "agentId")?;
    let part = log_part::of_query(&request, "tail")?;
    let agent = (caller.organization_id, agent_id);
    let logs = agent_logs(&deps.pool, &deps.fleet, agent, part).await?;
    let data = json!({"logs": logs.text, "fetchedAt": Date(logs.fetched_at)});
    json::ok(&json!({"success": true, "data": data}))
}
