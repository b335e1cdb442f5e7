//! `POST /api/v1/milady/agents/{agentId}/provision`: starts an agent.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::start::{self, Accepted, Busy, StartJob, StartResult, StartedAgent, start};
use crate::api::deps::StartDeps;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{JOB_LINK, ResponseKind, Route, Tag};
use crate::api::schema::AgentUrl;
use crate::app::agent::start::Started;
use crate::domain::agent::AgentStatus;
use crate::domain::ids::AgentId;
use crate::invocation::Invocation;

pub const ROUTE: Route = Route {
    parameters: start::PARAMETERS,
    responses: &[
        ResponseKind::json::<Data<RunningAgent>>(200, start::RUNNING),
        ResponseKind::json::<Accepted<StartJob>>(202, start::ENQUEUED).with_links(&[JOB_LINK]),
        ResponseKind::json::<Busy<StartJob>>(409, start::CONFLICT).or_refused(),
    ],
    refusals: start::REFUSALS,
    ..Route::post(
        "agent-provision",
        "/api/v1/milady/agents/{agentId}/provision",
        Tag::Agents,
        "Start an agent for the first time",
    )
};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct RunningAgent {
    id: AgentId,
    agent_name: Option<String>,
    #[schemars(with = "AgentStatus")]
    status: String,
    /// Null if the agent has no public address.
    #[schemars(with = "Option<AgentUrl>")]
    bridge_url: Option<String>,
    /// Null if the agent has no public address.
    #[schemars(with = "Option<AgentUrl>")]
    health_url: Option<String>,
}

/// # Errors
/// 400, 401, 402, 403, 404, 409, 422, 429, 503.
pub async fn handle(
    deps: &StartDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let StartResult { agent, started } =
        start(deps, &request, "agent-provision", &invocation).await?;
    match started {
        Started::Running | Started::Done(_) => {
            let StartedAgent { row, address } = start::started_agent(deps, agent).await?;
            response::ok(RunningAgent {
                id: row.id,
                agent_name: row.agent_name,
                status: row.status,
                bridge_url: address.clone(),
                health_url: address,
            })
        }
        Started::InProgress(job) => {
            let data = StartJob::new(agent.agent_id, &job);
            start::in_progress(start::busy_message(&job), data, job.job_id)
        }
        Started::Enqueued(job) => {
            let data = StartJob::new(agent.agent_id, &job);
            start::accepted("Agent provisioning has been queued", data, job)
        }
    }
}
