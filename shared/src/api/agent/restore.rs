//! `POST /api/v1/milady/agents/{agentId}/restore`.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::start::{Deps, polling};
use crate::api::json::Date;
use crate::api::problem::Problem;
use crate::api::{body, idempotency, json, path};
use crate::app::agent::start::agent_restore;
use crate::lambda::Invocation;

/// Gives an agent an earlier state: 200 once it has it, 202 when that takes longer.
///
/// # Errors
/// 400, 401, 402, 403, 404 for an unknown agent and for a backup that is not this agent's, 409, 415,
/// 422, 503.
pub async fn handle(
    deps: &Deps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent_id = path::uuid(&request, "agentId")?;
    let repeatable = idempotency::optional(&request, &caller, "agent-restore", &invocation)?;
    let mut fields = body::optional_object(&request)?;
    let backup_id = fields.optional_uuid("backupId");
    fields.finish()?;
    let agent = (caller.organization_id, agent_id);
    let restoring = agent_restore(deps.ports(), agent, backup_id, repeatable).await?;
    let data = json!({
        "restoredFromBackupId": restoring.backup_id, "snapshotType": restoring.snapshot_type,
        "createdAt": Date(restoring.created_at), "jobId": restoring.job_id,
    });
    if restoring.done {
        return json::ok(&json!({"success": true, "data": data}));
    }
    json::accepted(&json!({
        "success": true,
        "message": "The backup will be restored as soon as the agent's host answers",
        "data": data,
        "polling": polling(restoring.job_id),
    }))
}
