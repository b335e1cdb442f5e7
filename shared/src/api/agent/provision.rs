//! `POST /api/v1/milady/agents/{agentId}/provision`: starts an agent.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::start::{self, StartResult, start};
use super::view;
use crate::api::deps::StartDeps;
use crate::api::problem::Problem;
use crate::api::response;
use crate::app::agent::start::Started;
use crate::db::agents::records::agent_find;
use crate::domain::ids::AgentRef;
use crate::invocation::Invocation;

/// # Errors
/// 400, 401, 402, 403, 404, 409, 422, 503.
pub async fn handle(
    deps: &StartDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let StartResult { agent, started } =
        start(deps, &request, "agent-provision", &invocation).await?;
    match started {
        Started::Running | Started::Done(_) => running(deps, agent).await,
        Started::InProgress(job) => {
            let data = start::job_data(agent.agent_id, &job);
            start::respond(false, start::busy_message(&job), &data, job.job_id)
        }
        Started::Enqueued(job) => {
            let data = start::job_data(agent.agent_id, &job);
            let message = "Agent provisioning has been queued";
            start::respond(true, message, &data, job.job_id)
        }
    }
}

async fn running(deps: &StartDeps, agent: AgentRef) -> Result<Response<Body>, Problem> {
    let mut conn = deps.pool.acquire().await?;
    let row = agent_find(&mut conn, agent).await?;
    drop(conn);
    let row = row.ok_or_else(|| Problem::not_found("Agent not found"))?;
    let address = view::address(&row, deps.domain.as_deref());
    let data = json!({
        "id": row.id, "agentName": row.agent_name, "status": row.status,
        "bridgeUrl": address, "healthUrl": address,
    });
    response::ok(&json!({"success": true, "data": data}))
}
