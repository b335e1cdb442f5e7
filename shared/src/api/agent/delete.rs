//! `DELETE /api/v1/milady/agents/{agentId}`.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::job::Pending;
use crate::api::deps::StopDeps;
use crate::api::problem::Problem;
use crate::api::response::Done;
use crate::api::route::{JOB_LINK, ResponseKind, Route, Tag};
use crate::api::{path, response};
use crate::app::agent::delete::{Deleted, agent_delete};
use crate::domain::ids::{AgentId, JobId};
use crate::domain::job::JobStatus;

pub const ROUTE: Route = Route {
    description: "An agent that is being provisioned cannot be deleted; a start that no worker has begun is ended. \
                  Metering ends with the request, even if the host answers later.",
    responses: &[
        ResponseKind::json::<Done>(200, "The agent was deleted."),
        ResponseKind::json::<Pending<DeletionJob>>(
            202,
            "The agent's host did not answer in time. A job will delete the agent.",
        )
        .with_links(&[JOB_LINK]),
    ],
    refusals: &[400, 404, 409],
    ..Route::delete(
        "agent-delete",
        "/api/v1/milady/agents/{agentId}",
        Tag::Agents,
        "Delete an agent and its backups",
    )
};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct DeletionJob {
    agent_id: AgentId,
    job_id: JobId,
    status: JobStatus,
}

/// 200 if the agent is deleted, 202 if a job will delete it after the response.
///
/// # Errors
/// 400, 401, 403, 404, 409, 503.
pub async fn handle(deps: &StopDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let Deleted::Enqueued(job_id) = agent_delete(deps.for_app(), agent).await? else {
        return response::done();
    };
    let data = DeletionJob {
        agent_id: agent.agent_id,
        job_id,
        status: JobStatus::Pending,
    };
    let message = "The agent will be deleted as soon as its host answers";
    response::with_status(202, &Pending::new(message, data, job_id))
}
