//! What provision and resume share. Owns: reading the request, and the form of responses that name a job.

use lambda_http::{Body, Request, Response};
use serde_json::{Value, json};

use super::job::polling;
use crate::api::deps::StartDeps;
use crate::api::problem::{Problem, log_internal};
use crate::api::{idempotency, list, path, response};
use crate::app::agent::start::{JobTicket, Started, Webhook, agent_start};
use crate::app::job::wait::job_await;
use crate::domain::address::AddressPolicy;
use crate::domain::ids::{AgentId, AgentRef, JobId};
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook;
use crate::invocation::Invocation;
use crate::random::random_bytes;

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
    let caller = deps.auth.caller(&deps.pool, request).await?;
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
    Ok(if ticket.status == "completed" {
        Started::Done(ticket)
    } else {
        Started::Enqueued(ticket)
    })
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

/// The members of a job that clients of both routes read.
pub(super) fn job_data(agent_id: AgentId, job: &JobTicket) -> Value {
    let mut data = json!({
        "jobId": job.job_id, "agentId": agent_id, "status": job.status,
        "estimatedCompletionAt": job.estimated_completion_at.map(Timestamp),
    });
    if let Some(secret) = &job.webhook_secret {
        data["webhookSecret"] = json!(secret);
    }
    data
}

/// 202 if the request made the job, 409 if the job was active before.
pub(super) fn respond(
    is_new: bool,
    message: &str,
    data: &Value,
    job_id: JobId,
) -> Result<Response<Body>, Problem> {
    let body = json!({
        "success": true, "created": is_new, "alreadyInProgress": !is_new, "message": message,
        "data": data, "polling": polling(job_id),
    });
    if is_new {
        response::accepted(&body)
    } else {
        response::in_progress(&body)
    }
}

/// Why the agent cannot be started while this job is active.
pub(super) fn busy_message(job: &JobTicket) -> &'static str {
    match job.kind.as_str() {
        "milady_suspend" => "Agent is being suspended",
        "milady_delete" => "Agent is being deleted",
        _ => "Agent provisioning is already in progress",
    }
}
