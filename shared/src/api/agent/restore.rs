//! `POST /api/v1/milady/agents/{agentId}/restore`: restores an agent's state from a backup.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::job::Pending;
use crate::api::deps::StartDeps;
use crate::api::parameters::IDEMPOTENCY_KEY;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{JOB_LINK, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::SnapshotType;
use crate::api::{body, idempotency, path, response};
use crate::app::agent::restore::agent_restore;
use crate::domain::ids::{BackupId, JobId};
use crate::domain::timestamp::Timestamp;
use crate::invocation::Invocation;

pub const ROUTE: Route = Route {
    description: "Without a body or without `backupId`, the newest backup is restored. A stopped agent can only be \
                  restored from its newest backup.",
    parameters: &[IDEMPOTENCY_KEY],
    body: Some(RequestBody::optional::<RestoreRequest>(
        r#"{"backupId": "22222222-3333-4444-8555-666666666666"}"#,
    )),
    responses: &[
        ResponseKind::json::<Data<RestoredBackup>>(200, "The state was restored."),
        ResponseKind::json::<Pending<RestoredBackup>>(
            202,
            "The restore takes longer than a request may. A job will finish it.",
        )
        .with_links(&[JOB_LINK]),
    ],
    refusals: &[402, 404, 409, 422, 429],
    ..Route::post(
        "agent-restore",
        "/api/v1/milady/agents/{agentId}/restore",
        Tag::Agents,
        "Restore an agent's state from a backup",
    )
};

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct RestoreRequest {
    backup_id: Option<BackupId>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RestoredBackup {
    restored_from_backup_id: BackupId,
    #[schemars(with = "SnapshotType")]
    snapshot_type: String,
    /// When the backup was created.
    created_at: Timestamp,
    job_id: JobId,
}

/// 200 if the state is restored, 202 if a job will restore it after the response.
///
/// # Errors
/// 400, 401, 402, 403, 404 if the agent is unknown or the backup is not this agent's, 409, 415, 422, 429, 503.
pub async fn handle(
    deps: &StartDeps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let key = idempotency::optional(&request, &caller, "agent-restore", &invocation)?;
    let mut fields = body::optional_object(&request)?;
    let backup_id = fields.optional_identifier("backupId");
    fields.finish()?;
    let restore = agent_restore(deps.for_app(), agent, backup_id, key).await?;
    let data = RestoredBackup {
        restored_from_backup_id: restore.backup_id,
        snapshot_type: restore.snapshot_type,
        created_at: Timestamp(restore.created_at),
        job_id: restore.job_id,
    };
    if restore.is_done {
        return response::ok(data);
    }
    let message = "The backup will be restored as soon as the agent's host answers";
    response::with_status(202, &Pending::new(message, data, restore.job_id))
}
