//! `POST /api/v1/milady/agents/{agentId}/snapshot`: saves a running agent's state as a backup.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use crate::api::deps::HostDeps;
use crate::api::problem::Problem;
use crate::api::{idempotency, path, response};
use crate::app::agent::snapshot::agent_snapshot;
use crate::domain::timestamp::Timestamp;
use crate::invocation::Invocation;

/// # Errors
/// 400, 401, 403, 404, 409 if the agent does not run, 422, 502 if its answer is not valid, 503 if its host
/// cannot be reached.
pub async fn handle(
    deps: &HostDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let key = idempotency::optional(&request, &caller, "agent-snapshot", &invocation)?;
    let backup = agent_snapshot(&deps.pool, &deps.hosts, agent, key).await?;
    response::ok(&json!({"success": true, "data": {
        "id": backup.id, "backupId": backup.id, "snapshotType": "manual",
        "sizeBytes": backup.size_bytes, "createdAt": Timestamp(backup.created_at),
    }}))
}
