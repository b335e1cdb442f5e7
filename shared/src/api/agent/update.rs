//! `PATCH /api/v1/milady/agents/{agentId}`: a stop, under one of two names.

use lambda_http::{Body, Request, Response};

use super::suspend::{Deps, suspend};
use crate::api::problem::Problem;
use crate::api::{body, path};
use crate::app::idempotency::Repeatable;

/// Carries out the action that the body names.
///
/// # Errors
/// 400 for an unknown action, 401, 403, 404, 409, 415, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent_id = path::uuid(&request, "agentId")?;
    let mut fields = body::object(&request)?;
    let known = |action: &str| matches!(action, "shutdown" | "suspend");
    let action = fields.text("action", "must be shutdown or suspend", known);
    fields.finish()?;
    let agent = (caller.organization_id, agent_id);
    suspend(
        deps,
        agent,
        &action.unwrap_or_default(),
        Repeatable::default(),
    )
    .await
}
