//! `POST /api/v1/admin/agents/{agentId}/move`: a super admin moves an agent to another host.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::deps::StopDeps;
use crate::api::path;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, ResponseKind, Route, Tag};
use crate::app::agent::moves::agent_move;
use crate::domain::ids::{AgentId, JobId};

pub const ROUTE: Route = Route {
    description: "The agent is stopped and started on another host with a copy of its volume, and does not go back to the \
                  one that it left. It is not charged in between. If its data cannot be copied within 10 minutes, it is \
                  started again where it was. \
                  Refused with 409 unless the agent runs, no job works on it, and another host has a free slot.",
    caller: CallerKind::SuperAdmin,
    responses: &[ResponseKind::json::<Data<MovedAgent>>(
        202,
        "The move has begun. `jobId` is the job that stops the agent.",
    )],
    refusals: &[400, 404, 409],
    ..Route::post(
        "agent-move",
        "/api/v1/admin/agents/{agentId}/move",
        Tag::Admin,
        "Move an agent to another host",
    )
};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct MovedAgent {
    agent_id: AgentId,
    /// The host that the agent leaves.
    #[schemars(length(min = 1))]
    from_node: String,
    job_id: JobId,
}

/// # Errors
/// 400, 401, 403, 404, 409, 503.
pub async fn handle(deps: &StopDeps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let agent_id: AgentId = path::identifier(&request, "agentId")?;
    let accepted = agent_move(deps.for_app(), admin.user_id, agent_id).await?;
    let data = MovedAgent {
        agent_id,
        from_node: accepted.from_node,
        job_id: accepted.job_id,
    };
    response::with_status(202, &Data::new(data))
}
