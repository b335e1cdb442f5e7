//! `POST /api/v1/milady/agents/{agentId}/resume`: the same start, told in other words.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::start::{self, Deps};
use crate::api::json;
use crate::api::problem::Problem;
use crate::app::agent::start::Started;
use crate::lambda::Invocation;

/// Starts an agent that was stopped.
///
/// # Errors
/// 400, 401, 402, 403, 404, 409, 422, 503.
pub async fn handle(
    deps: &Deps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let begun = start::begin(deps, &request, "agent-resume", &invocation).await?;
    let (_, agent_id, started) = begun;
    let (created, message, work) = match started {
        Started::Running => {
            let data = json!({
                "agentId": agent_id, "action": "resume", "jobId": null, "status": "running",
                "message": "Agent is already running",
            });
            return json::ok(&json!({"success": true, "data": data}));
        }
        Started::Done(work) => {
            let data = json!({
                "agentId": agent_id, "action": "resume", "jobId": work.job_id,
                "status": "running", "message": "Agent resumed",
            });
            return json::ok(&json!({"success": true, "data": data}));
        }
        Started::Enqueued(work) => (true, "Agent resume has been queued", work),
        Started::InProgress(work) => (false, start::busy(&work), work),
    };
    let mut data = start::data(agent_id, &work);
    data["action"] = json!("resume");
    data["message"] = json!(message);
    start::answer(created, message, &data, work.job_id)
}
