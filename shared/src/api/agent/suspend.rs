//! `POST /api/v1/milady/agents/{agentId}/suspend`: stops an agent and keeps its state.

use lambda_http::{Body, Request, Response};

use super::stop::{self, StopAction, stop};
use crate::api::deps::StopDeps;
use crate::api::parameters::IDEMPOTENCY_KEY;
use crate::api::problem::Problem;
use crate::api::route::{Route, Tag};
use crate::api::{idempotency, path};
use crate::invocation::Invocation;

pub const ROUTE: Route = Route {
    description: "The agent's state is saved first, if it can be read. Metering ends with the request, even if the \
                  host answers later. A start that no worker has begun is ended.",
    parameters: &[IDEMPOTENCY_KEY],
    responses: stop::RESPONSES,
    refusals: &[400, 404, 409, 422],
    ..Route::post(
        "agent-suspend",
        "/api/v1/milady/agents/{agentId}/suspend",
        Tag::Agents,
        "Stop an agent and keep its state",
    )
};

/// # Errors
/// 400, 401, 403, 404, 409, 422, 503.
pub async fn handle(
    deps: &StopDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let key = idempotency::optional(&request, &caller, "agent-suspend", &invocation)?;
    stop(deps, agent, StopAction::Suspend, key).await
}
