//! `POST /api/v1/milady/agents/{agentId}/restore`: restores an agent's state from a backup.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::job::polling;
use crate::api::deps::StartDeps;
use crate::api::problem::Problem;
use crate::api::{body, idempotency, path, response};
use crate::app::agent::restore::agent_restore;
use crate::domain::timestamp::Timestamp;
use crate::invocation::Invocation;

/// 200 if the state is restored, 202 if a job will restore it after the response.
///
/// # Errors
/// 400, 401, 402, 403, 404 if the agent is unknown or the backup is not this agent's, 409, 415, 422, 503.
pub async fn handle(
    deps: &StartDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let key = idempotency::optional(&request, &caller, "agent-restore", &invocation)?;
    let mut fields = body::optional_object(&request)?;
    let backup_id = fields.optional_identifier("backupId");
    fields.finish()?;
    let restore = agent_restore(deps.for_app(), agent, backup_id, key).await?;
    let data = json!({
        "restoredFromBackupId": restore.backup_id, "snapshotType": restore.snapshot_type,
        "createdAt": Timestamp(restore.created_at), "jobId": restore.job_id,
    });
    if restore.is_done {
        return response::ok(&json!({"success": true, "data": data}));
    }
    response::accepted(&json!({
        "success": true,
        "message": "The backup will be restored as soon as the agent's host answers",
        "data": data,
        "polling": polling(restore.job_id),
    }))
}
