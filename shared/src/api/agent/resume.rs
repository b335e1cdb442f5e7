//! `POST /api/v1/milady/agents/{agentId}/resume`: starts a stopped agent. Does the same as `provision`; the
//! responses have another form.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::start::{self, StartResult, start};
use crate::api::deps::StartDeps;
use crate::api::problem::Problem;
use crate::api::response;
use crate::app::agent::start::Started;
use crate::invocation::Invocation;

/// # Errors
/// 400, 401, 402, 403, 404, 409, 422, 503.
pub async fn handle(
    deps: &StartDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let StartResult { agent, started } = start(deps, &request, "agent-resume", &invocation).await?;
    let agent_id = agent.agent_id;
    let (is_new, message, job) = match started {
        Started::Running => {
            let data = json!({
                "agentId": agent_id, "action": "resume", "jobId": null, "status": "running",
                "message": "Agent is already running",
            });
            return response::ok(&json!({"success": true, "data": data}));
        }
        Started::Done(job) => {
            let data = json!({
                "agentId": agent_id, "action": "resume", "jobId": job.job_id,
                "status": "running", "message": "Agent resumed",
            });
            return response::ok(&json!({"success": true, "data": data}));
        }
        Started::Enqueued(job) => (true, "Agent resume has been queued", job),
        Started::InProgress(job) => (false, start::busy_message(&job), job),
    };
    let mut data = start::job_data(agent_id, &job);
    data["action"] = json!("resume");
    data["message"] = json!(message);
    start::respond(is_new, message, &data, job.job_id)
}
