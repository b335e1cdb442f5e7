//! `GET /api/v1/milady/agents/{agentId}/logs`: the end of the log of the agent's container.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use crate::api::deps::HostDeps;
use crate::api::problem::Problem;
use crate::api::{log_part, path, response};
use crate::app::agent::logs::agent_logs;
use crate::domain::timestamp::Timestamp;

/// # Errors
/// 400, 401, 403, 404, 409 if the agent has no container, 503.
pub async fn handle(deps: &HostDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let part = log_part::of_query(&request, "tail")?;
    let logs = agent_logs(&deps.pool, &deps.hosts, agent, part).await?;
    let data = json!({"logs": logs.text, "fetchedAt": Timestamp(logs.fetched_at)});
    response::ok(&json!({"success": true, "data": data}))
}
