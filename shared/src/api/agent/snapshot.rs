//! `POST /api/v1/milady/agents/{agentId}/snapshot`: saves a running agent's state as a backup.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::auth::Auth;
use crate::api::parameters::IDEMPOTENCY_KEY;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{ResponseKind, Route, Tag};
use crate::api::{idempotency, path, response};
use crate::app::agent::snapshot::{SnapshotDeps, agent_snapshot};
use crate::bucket::Bucket;
use crate::db::Database;
use crate::domain::ids::BackupId;
use crate::domain::timestamp::Timestamp;
use crate::hosts::HostClient;
use crate::invocation::Invocation;

pub const ROUTE: Route = Route {
    description: "The newest three manual backups are kept. A state may have at most 50 MB. The status is 502 if the \
                  agent's response is not valid or the backup cannot be stored, and 503 if the agent's host cannot be \
                  reached: all count towards the limits on snapshots.",
    parameters: &[IDEMPOTENCY_KEY],
    responses: &[ResponseKind::json::<Data<NewBackup>>(
        200,
        "The backup. `id` and `backupId` are the same.",
    )],
    refusals: &[400, 404, 409, 422, 429, 502],
    ..Route::post(
        "agent-snapshot",
        "/api/v1/milady/agents/{agentId}/snapshot",
        Tag::Agents,
        "Save a running agent's state as a backup",
    )
};

const SNAPSHOT_TYPE: &str = "manual";

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct NewBackup {
    id: BackupId,
    backup_id: BackupId,
    #[schemars(extend("const" = SNAPSHOT_TYPE))]
    snapshot_type: &'static str,
    size_bytes: u64,
    created_at: Timestamp,
}

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub auth: Auth,
    pub hosts: HostClient,
    /// Where states are kept; in the database if there is no bucket.
    pub bucket: Option<Bucket>,
}

/// # Errors
/// 400, 401, 403, 404, 409 if the agent does not run, 422, 429, 502 if its answer is not valid, 503 if its host
/// cannot be reached.
pub async fn handle(
    deps: &Deps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let key = idempotency::optional(&request, &caller, "agent-snapshot", &invocation)?;
    let app_deps = SnapshotDeps {
        pool: &deps.pool,
        hosts: &deps.hosts,
        bucket: deps.bucket.as_ref(),
    };
    let backup = agent_snapshot(app_deps, agent, key).await?;
    response::ok(NewBackup {
        id: backup.id,
        backup_id: backup.id,
        snapshot_type: SNAPSHOT_TYPE,
        size_bytes: backup.size_bytes,
        created_at: Timestamp(backup.created_at),
    })
}
