//! What provision and resume share. Owns: reading the request, and the form of responses that name a job.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::job::Polling;
use super::view;
use crate::api::deps::StartDeps;
use crate::api::parameters::{IDEMPOTENCY_KEY, SYNC, WEBHOOK_URL};
use crate::api::problem::{Problem, log_internal};
use crate::api::route::{CallerKind, Parameter};
use crate::api::schema::{Always, Succeeded};
use crate::api::{idempotency, list, path, response};
use crate::app::agent::start::{JobTicket, Started, Webhook, agent_start};
use crate::app::job::wait::job_await;
use crate::db::agents::records::{AgentRecord, agent_find};
use crate::domain::address::AddressPolicy;
use crate::domain::ids::{AgentId, AgentRef, JobId};
use crate::domain::job::{JobClass, JobKind, JobStatus};
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook;
use crate::invocation::Invocation;
use crate::random::random_bytes;

pub(super) const PARAMETERS: &[Parameter] = &[SYNC, WEBHOOK_URL, IDEMPOTENCY_KEY];
/// Beside 409.
pub(super) const REFUSALS: &[u16] = &[400, 402, 404, 422, 429];

pub(super) const RUNNING: &str =
    "The agent runs. It was running before, or the request waited for it.";
pub(super) const ENQUEUED: &str = "A job will start the agent.";
pub(super) const CONFLICT: &str = "Another job is active for the agent, the agent's state does not allow a start, or \
                                   the first request with this key is still running.";

pub(super) struct StartResult {
    pub(super) agent: AgentRef,
    pub(super) started: Started,
}

/// Starts the agent. With `sync=true` it then waits for the job, as long as a request may.
pub(super) async fn start(
    deps: &StartDeps,
    request: &Request,
    route: &'static str,
    invocation: &Invocation,
) -> Result<StartResult, Problem> {
    let caller = deps
        .auth
        .caller(&deps.pool, request, CallerKind::AgentManager)
        .await?;
    let agent = caller.agent(path::identifier(request, "agentId")?);
    let is_sync = match list::parameter(request, "sync").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::field("sync", "must be true or false")),
    };
    let key = idempotency::optional(request, &caller, route, invocation)?;
    let webhook = webhook(request, deps.address_policy)?;
    let started = agent_start(deps.for_app(), agent, webhook.as_ref(), key).await?;
    let started = match started {
        Started::Enqueued(job) if is_sync => wait(deps, agent, job).await?,
        started => started,
    };
    Ok(StartResult { agent, started })
}

async fn wait(
    deps: &StartDeps,
    agent: AgentRef,
    mut ticket: JobTicket,
) -> Result<Started, Problem> {
    let job = job_await(&deps.pool, agent.organization_id, ticket.job_id).await?;
    if let Some(job) = job {
        ticket.status = job.status;
    }
    Ok(if ticket.status == JobStatus::Completed {
        Started::Done(ticket)
    } else {
        Started::Enqueued(ticket)
    })
}

/// An agent that was started, as its row describes it now.
pub(super) struct StartedAgent {
    pub(super) row: AgentRecord,
    /// Where it can be reached; `None` if it has no public address.
    pub(super) address: Option<String>,
}

pub(super) async fn started_agent(
    deps: &StartDeps,
    agent: AgentRef,
) -> Result<StartedAgent, Problem> {
    let row = agent_find(&mut deps.pool.statements(), agent).await?;
    let row = row.ok_or_else(|| Problem::not_found("Agent not found"))?;
    let address = view::address(&row, deps.domain.as_deref());
    Ok(StartedAgent { row, address })
}

/// The webhook that the header `X-Webhook-URL` asks for, with a new secret to sign it.
fn webhook(request: &Request, address_policy: AddressPolicy) -> Result<Option<Webhook>, Problem> {
    const HEADER: &str = "X-Webhook-URL";
    let Some(value) = request.headers().get(HEADER) else {
        return Ok(None);
    };
    let url = value
        .to_str()
        .map_err(|_| "must be a URL")
        .and_then(|text| webhook::parse(text, address_policy))
        .map_err(|message| Problem::field(HEADER, message))?;
    let secret: [u8; 32] = random_bytes().map_err(log_internal("webhook secret not made"))?;
    Ok(Some(Webhook {
        url: url.into(),
        secret: hex::encode(secret),
    }))
}

/// The job of a start.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartJob {
    job_id: JobId,
    agent_id: AgentId,
    status: JobStatus,
    estimated_completion_at: Option<Timestamp>,
}

impl StartJob {
    pub(super) fn new(agent_id: AgentId, job: &JobTicket) -> Self {
        Self {
            job_id: job.job_id,
            agent_id,
            status: job.status,
            estimated_completion_at: job.estimated_completion_at.map(Timestamp),
        }
    }
}

/// The request made the job.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub(super) struct Accepted<T> {
    success: Succeeded,
    created: Always<true>,
    already_in_progress: Always<false>,
    message: &'static str,
    data: NewJob<T>,
    polling: Polling,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct NewJob<T> {
    #[serde(flatten)]
    job: T,
    /// The secret that signs the webhook. Present only if the request names a webhook, and shown only in this
    /// response.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1))]
    webhook_secret: Option<String>,
}

/// The job was active before.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub(super) struct Busy<T> {
    success: Succeeded,
    created: Always<false>,
    already_in_progress: Always<true>,
    message: &'static str,
    data: T,
    polling: Polling,
}

/// 202: the request made the job.
pub(super) fn accepted<T: Serialize>(
    message: &'static str,
    data: T,
    job: JobTicket,
) -> Result<Response<Body>, Problem> {
    let body = Accepted {
        success: Succeeded,
        created: Always,
        already_in_progress: Always,
        message,
        data: NewJob {
            job: data,
            webhook_secret: job.webhook_secret,
        },
        polling: Polling::of(job.job_id),
    };
    response::with_status(202, &body)
}

/// 409: the job was active before.
pub(super) fn in_progress<T: Serialize>(
    message: &'static str,
    data: T,
    job_id: JobId,
) -> Result<Response<Body>, Problem> {
    let body = Busy {
        success: Succeeded,
        created: Always,
        already_in_progress: Always,
        message,
        data,
        polling: Polling::of(job_id),
    };
    response::with_status(409, &body)
}

/// Why the agent cannot be started while this job is active.
pub(super) fn busy_message(job: &JobTicket) -> &'static str {
    match job.kind {
        JobKind::Delete => "Agent is being deleted",
        kind => match kind.class() {
            JobClass::Start => "Agent provisioning is already in progress",
            JobClass::Stop => "Agent is being suspended",
        },
    }
}
