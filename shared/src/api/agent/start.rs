//! What provision and resume have in common: they are one request, answered in two forms.

use lambda_http::{Body, Request, Response};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::api::auth::{Auth, Caller};
use crate::api::json::Date;
use crate::api::problem::Problem;
use crate::api::{idempotency, json, list, path};
use crate::app::agent::start::{Ports, Started, Webhook, Work, agent_start};
use crate::app::job::wait::job_await;
use crate::db::agents::owner::{Record, agent_find};
use crate::domain::pricing::Prices;
use crate::domain::webhook::{self, Reach};
use crate::events::Publisher;
use crate::lambda::{Invocation, random_bytes};

/// What the routes need.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
    /// The price list.
    pub prices: Prices,
    /// The domain that agents are reached below; none = they have no public address.
    pub domain: Option<String>,
    /// Where a webhook may lead.
    pub reach: Reach,
    /// Who is told that a job is due.
    pub publisher: Publisher,
}

impl Deps {
    /// What starting takes.
    #[must_use]
    pub fn ports(&self) -> Ports<'_> {
        Ports {
            pool: &self.pool,
            prices: &self.prices,
            publisher: &self.publisher,
        }
    }

    pub(super) async fn agent(&self, caller: &Caller, id: Uuid) -> Result<Record, Problem> {
        let mut conn = self.pool.acquire().await?;
        let agent = agent_find(&mut conn, caller.organization_id, id).await?;
        agent.ok_or_else(|| Problem::not_found("Agent not found"))
    }
}

/// Asks for the start. With `sync=true` it waits for the end of the job, within limits: once it is
/// done the agent runs.
pub(super) async fn begin(
    deps: &Deps,
    request: &Request,
    route: &'static str,
    invocation: &Invocation,
) -> Result<(Caller, Uuid, Started), Problem> {
    let caller = deps.auth.caller(&deps.pool, request).await?;
    let agent_id = path::uuid(request, "agentId")?;
    let sync = match list::parameter(request, "sync").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::field("sync", "must be true or false")),
    };
    let repeatable = idempotency::optional(request, &caller, route, invocation)?;
    let webhook = webhook(request, deps.reach)?;
    let agent = (caller.organization_id, agent_id);
    let started = agent_start(deps.ports(), agent, webhook.as_ref(), repeatable).await?;
    let started = match started {
        Started::Enqueued(work) if sync => wait(deps, &caller, work).await?,
        started => started,
    };
    Ok((caller, agent_id, started))
}

async fn wait(deps: &Deps, caller: &Caller, mut work: Work) -> Result<Started, Problem> {
    let job = job_await(&deps.pool, caller.organization_id, work.job_id).await?;
    if let Some(job) = job {
        work.status = job.status;
    }
    Ok(if work.status == "completed" {
        Started::Done(work)
    } else {
        Started::Enqueued(work)
    })
}

fn webhook(request: &Request, reach: Reach) -> Result<Option<Webhook>, Problem> {
    const HEADER: &str = "X-Webhook-URL";
    let Some(value) = request.headers().get(HEADER) else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| "must be a URL");
    let url = text.and_then(|text| webhook::parse(text, reach));
    let url = url.map_err(|message| Problem::field(HEADER, message))?;
    let secret: [u8; 32] = random_bytes().map_err(|_| Problem::internal())?;
    Ok(Some(Webhook {
        url: url.into(),
        secret: hex::encode(secret),
    }))
}

/// What clients of both routes read of a job.
pub(super) fn data(agent_id: Uuid, work: &Work) -> Value {
    let mut data = json!({
        "jobId": work.job_id, "agentId": agent_id, "status": work.status,
        "estimatedCompletionAt": work.estimated.map(Date),
    });
    if let Some(secret) = &work.webhook_secret {
        data["webhookSecret"] = json!(secret);
    }
    data
}

/// 202 for a job that was made, 409 for one that was there.
pub(super) fn answer(
    created: bool,
    message: &str,
    data: &Value,
    job_id: Uuid,
) -> Result<Response<Body>, Problem> {
    let body = json!({
        "success": true, "created": created, "alreadyInProgress": !created, "message": message,
        "data": data, "polling": polling(job_id),
    });
    if created {
        json::accepted(&body)
    } else {
        json::in_progress(&body)
    }
}

/// Where and how often to ask what has become of a job.
pub(super) fn polling(job_id: Uuid) -> Value {
    json!({
        "endpoint": format!("/api/v1/jobs/{job_id}"), "intervalMs": 5_000,
        "expectedDurationMs": 90_000,
    })
}

/// Why a start has to wait for this job.
pub(super) fn busy(work: &Work) -> &'static str {
    match work.kind.as_str() {
        "milady_suspend" => "Agent is being suspended",
        "milady_delete" => "Agent is being deleted",
        _ => "Agent provisioning is already in progress",
    }
}
