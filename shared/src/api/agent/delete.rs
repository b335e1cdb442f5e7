//! `DELETE /api/v1/milady/agents/{agentId}`.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::start::polling;
use super::suspend::Deps;
use crate::api::problem::Problem;
use crate::api::{json, path};
use crate::app::agent::stop::{Deleted, agent_delete};

/// Deletes an agent: at once where no host holds anything of it, by a job otherwise.
///
/// # Errors
/// 400, 401, 403, 404, 409, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent_id = path::uuid(&request, "agentId")?;
    let deleted = agent_delete(deps.ports(), caller.organization_id, agent_id).await?;
    let Deleted::Enqueued(job_id) = deleted else {
        return json::ok(&json!({"success": true}));
    };
    json::accepted(&json!({
        "success": true,
        "message": "The agent will be deleted as soon as its host answers",
        "data": {"agentId": agent_id, "jobId": job_id, "status": "pending"},
        "polling": polling(job_id),
    }))
}
