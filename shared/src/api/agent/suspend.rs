//! `POST /api/v1/milady/agents/{agentId}/suspend`: stops an agent and keeps its state.

use lambda_http::{Body, Request, Response};

use super::stop::stop;
use crate::api::deps::StopDeps;
use crate::api::problem::Problem;
use crate::api::{idempotency, path};
use crate::invocation::Invocation;

/// # Errors
/// 400, 401, 403, 404, 409, 422, 503.
pub async fn handle(
    deps: &StopDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let key = idempotency::optional(&request, &caller, "agent-suspend", &invocation)?;
    stop(deps, agent, "suspend", key).await
}
