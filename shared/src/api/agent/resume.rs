//! `POST /api/v1/milady/agents/{agentId}/resume`: starts a stopped agent. Does the same as `provision`; the
//! responses have another form.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::start::{self, Accepted, Busy, StartJob, StartResult, start};
use crate::api::deps::StartDeps;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{JOB_LINK, ResponseKind, Route, Tag};
use crate::api::schema::AgentUrl;
use crate::app::agent::start::{JobTicket, Started};
use crate::domain::agent::AgentStatus;
use crate::domain::ids::{AgentId, AgentRef, JobId};
use crate::invocation::Invocation;

pub const ROUTE: Route = Route {
    parameters: start::PARAMETERS,
    responses: &[
        ResponseKind::json::<Data<Resumed>>(200, start::RUNNING),
        ResponseKind::json::<Accepted<ResumeJob>>(202, start::ENQUEUED).with_links(&[JOB_LINK]),
        ResponseKind::json::<Busy<ResumeJob>>(409, start::CONFLICT).or_refused(),
    ],
    refusals: start::REFUSALS,
    ..Route::post(
        "agent-resume",
        "/api/v1/milady/agents/{agentId}/resume",
        Tag::Agents,
        "Start a stopped agent again",
    )
};

const ACTION: &str = "resume";

/// The agent runs.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Resumed {
    agent_id: AgentId,
    #[schemars(extend("const" = ACTION))]
    action: &'static str,
    /// Null if the agent was running before.
    job_id: Option<JobId>,
    status: AgentStatus,
    message: &'static str,
    /// Null if the agent has no public address.
    #[schemars(with = "Option<AgentUrl>")]
    bridge_url: Option<String>,
    /// Null if the agent has no public address.
    #[schemars(with = "Option<AgentUrl>")]
    health_url: Option<String>,
}

/// A job that resumes an agent.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ResumeJob {
    #[serde(flatten)]
    job: StartJob,
    #[schemars(extend("const" = ACTION))]
    action: &'static str,
    message: &'static str,
}

/// # Errors
/// 400, 401, 402, 403, 404, 409, 422, 429, 503.
pub async fn handle(
    deps: &StartDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let StartResult { agent, started } = start(deps, &request, "agent-resume", &invocation).await?;
    let agent_id = agent.agent_id;
    let pending = |job: &JobTicket, message| ResumeJob {
        job: StartJob::new(agent_id, job),
        action: ACTION,
        message,
    };
    match started {
        Started::Running => running(deps, agent, None, "Agent is already running").await,
        Started::Done(job) => running(deps, agent, Some(job.job_id), "Agent resumed").await,
        Started::Enqueued(job) => {
            let message = "Agent resume has been queued";
            start::accepted(message, pending(&job, message), job)
        }
        Started::InProgress(job) => {
            let message = start::busy_message(&job);
            start::in_progress(message, pending(&job, message), job.job_id)
        }
    }
}

async fn running(
    deps: &StartDeps,
    agent: AgentRef,
    job_id: Option<JobId>,
    message: &'static str,
) -> Result<Response<Body>, Problem> {
    let address = start::started_agent(deps, agent).await?.address;
    response::ok(Resumed {
        agent_id: agent.agent_id,
        action: ACTION,
        job_id,
        status: AgentStatus::Running,
        message,
        bridge_url: address.clone(),
        health_url: address,
    })
}
