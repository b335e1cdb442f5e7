//! `PATCH /api/v1/milady/agents/{agentId}`: stops an agent, under one of two names.

use lambda_http::{Body, Request, Response};

use super::stop::stop;
use crate::api::deps::StopDeps;
use crate::api::problem::Problem;
use crate::api::{body, path};
use crate::app::idempotency::IdempotencyKey;

/// # Errors
/// 400 if the action is unknown, 401, 403, 404, 409, 415, 503.
pub async fn handle(deps: &StopDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let mut fields = body::object(&request)?;
    let is_known = |action: &str| matches!(action, "shutdown" | "suspend");
    let action = fields.text("action", "must be shutdown or suspend", is_known);
    fields.finish()?;
    let action = action.unwrap_or_default();
    stop(deps, agent, &action, IdempotencyKey::default()).await
}
