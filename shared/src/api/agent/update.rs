//! `PATCH /api/v1/milady/agents/{agentId}`: stops an agent, under one of two names.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;

use super::stop::{self, StopAction, stop};
use crate::api::deps::StopDeps;
use crate::api::problem::Problem;
use crate::api::route::{RequestBody, Route, Tag};
use crate::api::{body, path};
use crate::app::idempotency::IdempotencyKey;

pub const ROUTE: Route = Route {
    description: "Does the same as the suspend route. Both actions stop the agent and keep its state.",
    body: Some(RequestBody::required::<AgentUpdateRequest>(
        r#"{"action": "suspend"}"#,
    )),
    responses: stop::RESPONSES,
    refusals: &[404, 409],
    ..Route::patch(
        "agent-update",
        "/api/v1/milady/agents/{agentId}",
        Tag::Agents,
        "Stop an agent, with the action in the body",
    )
};

#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct AgentUpdateRequest {
    action: StopAction,
}

/// # Errors
/// 400 if the action is unknown, 401, 403, 404, 409, 415, 503.
pub async fn handle(deps: &StopDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let mut fields = body::object(&request)?;
    let is_known = |action: &str| StopAction::parse(action).is_some();
    let action = fields.text("action", "must be shutdown or suspend", is_known);
    fields.finish()?;
    let action = action.and_then(|word| StopAction::parse(&word));
    let action = action.unwrap_or(StopAction::Suspend);
    stop(deps, agent, action, IdempotencyKey::default()).await
}
