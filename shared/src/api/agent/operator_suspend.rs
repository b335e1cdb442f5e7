//! `POST /api/v1/admin/agents/{agentId}/suspend`: a super admin suspends an agent.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::body::{self, is_line};
use crate::api::deps::StopDeps;
use crate::api::parameters::IDEMPOTENCY_KEY;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::PlainText;
use crate::api::{idempotency, path};
use crate::app::agent::operator_suspend::{SuspensionRequest, agent_operator_suspend};
use crate::app::agent::suspend::Suspended;
use crate::domain::agent::AgentStatus;
use crate::domain::ids::{AgentId, JobId};
use crate::invocation::Invocation;

pub const ROUTE: Route = Route {
    description: "As if its owner suspended it: the state is saved first, if it can be read, metering ends with the \
                  request, and a start that no worker has begun is ended. The owner sees on the agent that an operator \
                  stopped it and why, gets a mail, and may start it again. The audit log has the reason. 409 if the \
                  agent is being started or deleted.",
    caller: CallerKind::SuperAdmin,
    parameters: &[IDEMPOTENCY_KEY],
    body: Some(RequestBody::required::<SuspendAgentBody>(EXAMPLE)),
    responses: &[
        ResponseKind::json::<Data<SuspendedAgent>>(
            200,
            "The agent is stopped. An agent that was stopped before keeps its reason, unless it would have been started \
             again by itself.",
        ),
        ResponseKind::json::<Data<SuspendedAgent>>(202, "`jobId` is the job that stops the agent."),
    ],
    refusals: &[404, 409, 422],
    ..Route::post(
        "agent-operator-suspend",
        "/api/v1/admin/agents/{agentId}/suspend",
        Tag::Admin,
        "Suspend an agent of any organization",
    )
};

const EXAMPLE: &str =
    r#"{"reason": "Its database fills the disk. Delete data before you start it again."}"#;

/// A mail shows no longer sentence.
const MAX_REASON_CHARS: usize = 300;

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", rename = "SuspendAgentRequest")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct SuspendAgentBody {
    /// Why. The agent's owner reads it. No control characters, not only spaces.
    #[schemars(with = "PlainText", extend("minLength" = 1, "maxLength" = MAX_REASON_CHARS))]
    reason: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct SuspendedAgent {
    agent_id: AgentId,
    #[schemars(with = "AgentStatus")]
    previous_status: String,
    /// Null if the agent is stopped already.
    job_id: Option<JobId>,
}

/// # Errors
/// 400, 401, 403, 404, 409, 415, 422, 503.
pub async fn handle(
    deps: &StopDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let agent_id: AgentId = path::identifier(&request, "agentId")?;
    let key = idempotency::optional(&request, &admin, ROUTE.function, &invocation)?;
    let mut fields = body::object(&request)?;
    let rule = "must be 1 to 300 characters without control characters, not all blank";
    let reason = fields.text("reason", rule, |text| is_line(text, MAX_REASON_CHARS));
    fields.finish()?;
    let suspension = SuspensionRequest {
        admin_id: admin.user_id,
        agent_id,
        reason: reason.unwrap_or_default(),
    };
    let (status, previous_status, job_id) =
        match agent_operator_suspend(deps.for_app(), &suspension, key).await? {
            Suspended::AlreadyStopped => (200, AgentStatus::Stopped.as_str().to_owned(), None),
            Suspended::WithoutJob { previous_status }
            | Suspended::Stopped {
                previous_status, ..
            } => (200, previous_status, None),
            Suspended::Enqueued {
                job_id,
                previous_status,
            } => (202, previous_status, Some(job_id)),
        };
    let data = SuspendedAgent {
        agent_id,
        previous_status,
        job_id,
    };
    response::with_status(status, &Data::new(data))
}
