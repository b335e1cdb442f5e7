//! `DELETE /api/v1/milady/agents/{agentId}`.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::job::polling;
use crate::api::deps::StopDeps;
use crate::api::problem::Problem;
use crate::api::{path, response};
use crate::app::agent::delete::{Deleted, agent_delete};

/// 200 if the agent is deleted, 202 if a job will delete it after the response.
///
/// # Errors
/// 400, 401, 403, 404, 409, 503.
pub async fn handle(deps: &StopDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let Deleted::Enqueued(job_id) = agent_delete(deps.for_app(), agent).await? else {
        return response::ok(&json!({"success": true}));
    };
    response::accepted(&json!({
        "success": true,
        "message": "The agent will be deleted as soon as its host answers",
        "data": {"agentId": agent.agent_id, "jobId": job_id, "status": "pending"},
        "polling": polling(job_id),
    }))
}
