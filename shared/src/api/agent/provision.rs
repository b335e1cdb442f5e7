//! `POST /api/v1/milady/agents/{agentId}/provision`.

use lambda_http::{Body, Request, Response};
use serde_json::json;
use uuid::Uuid;

use super::start::{self, Deps};
use super::view;
use crate::api::auth::Caller;
use crate::api::json;
use crate::api::problem::Problem;
use crate::app::agent::start::Started;
use crate::lambda::Invocation;

/// Starts an agent.
///
/// # Errors
/// 400, 401, 402, 403, 404, 409, 422, 503.
pub async fn handle(
    deps: &Deps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let begun = start::begin(deps, &request, "agent-provision", &invocation).await?;
    let (caller, agent_id, started) = begun;
    match started {
        Started::Running | Started::Done(_) => running(deps, &caller, agent_id).await,
        Started::InProgress(work) => {
            let data = start::data(agent_id, &work);
            start::answer(false, start::busy(&work), &data, work.job_id)
        }
        Started::Enqueued(work) => {
            let data = start::data(agent_id, &work);
            start::answer(
                true,
                "Agent provisioning has been queued",
                &data,
                work.job_id,
            )
        }
    }
}

async fn running(deps: &Deps, caller: &Caller, agent_id: Uuid) -> Result<Response<Body>, Problem> {
    let agent = deps.agent(caller, agent_id).await?;
    let address = view::address(&agent, deps.domain.as_deref());
    let data = json!({
        "id": agent.id, "agentName": agent.agent_name, "status": agent.status,
        "bridgeUrl": address, "healthUrl": address,
    });
    json::ok(&json!({"success": true, "data": data}))
}
