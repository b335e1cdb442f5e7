//! `POST /api/v1/milady/agents/{agentId}/snapshot`.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::reach::Deps;
use crate::api::json::Date;
use crate::api::problem::Problem;
use crate::api::{idempotency, json, path};
use crate::app::agent::snapshot::agent_snapshot;
use crate::lambda::Invocation;

/// Saves a running agent's state.
///
/// # Errors
/// 400, 401, 403, 404, 409 for an agent that does not run, 422, 502 when it answers badly, 503 when its
/// host cannot be reached.
pub async fn handle(
    deps: &Deps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent_id = path::uuid(&request, "agentId")?;
    let repeatable = idempotency::optional(&request, &caller, "agent-snapshot", &invocation)?;
    let agent = (caller.organization_id, agent_id);
    let saved = agent_snapshot(&deps.pool, &deps.fleet, agent, repeatable).await?;
    json::ok(&json!({"success": true, "data": {
        "id": saved.id, "backupId": saved.id, "snapshotType": "manual", "sizeBytes": saved.size,
        "createdAt": Date(saved.created_at),
    }}))
}
