//! `GET /api/v1/milady/agents/{agentId}/backups`: the ten newest backups.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::json;

use crate::api::deps::DatabaseDeps;
use crate::api::problem::Problem;
use crate::api::{list, path};
use crate::db;
use crate::domain::ids::BackupId;
use crate::domain::timestamp::Timestamp;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BackupJson {
    id: BackupId,
    snapshot_type: String,
    size_bytes: Option<i64>,
    vercel_snapshot_id: Option<String>,
    created_at: Timestamp,
}

/// # Errors
/// 400, 401, 403, 404, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let mut conn = deps.pool.acquire().await?;
    let record = db::agents::records::agent_find(&mut conn, agent).await?;
    if record.is_none() {
        return Err(Problem::not_found("Agent not found"));
    }
    let backups = db::agents::backups::backups_newest(&mut conn, agent).await?;
    drop(conn);
    let data: Vec<BackupJson> = backups
        .into_iter()
        .map(|backup| BackupJson {
            id: backup.id,
            snapshot_type: backup.snapshot_type,
            size_bytes: backup.size_bytes,
            vercel_snapshot_id: backup.vercel_snapshot_id,
            created_at: Timestamp(backup.created_at),
        })
        .collect();
    list::respond(&request, &json!({"success": true, "data": data}))
}
