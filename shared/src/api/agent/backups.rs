//! `GET /api/v1/milady/agents/{agentId}/backups`: the newest backups.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::deps::DatabaseDeps;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{ResponseKind, Route, Tag};
use crate::api::schema::SnapshotType;
use crate::api::{list, path};
use crate::db;
use crate::db::agents::backups::MAX_LISTED_BACKUPS;
use crate::domain::ids::BackupId;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    responses: &[
        ResponseKind::json::<Data<Backups>>(200, "The backups, newest first.").with_etag(),
    ],
    refusals: &[400, 404],
    ..Route::get(
        "agent-backups",
        "/api/v1/milady/agents/{agentId}/backups",
        Tag::Agents,
        "List the newest backups of an agent",
    )
};

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Backups(#[schemars(length(max = MAX_LISTED_BACKUPS))] Vec<BackupJson>);

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Backup")]
struct BackupJson {
    id: BackupId,
    #[schemars(with = "SnapshotType")]
    snapshot_type: String,
    #[schemars(range(min = 0))]
    size_bytes: Option<i64>,
    vercel_snapshot_id: Option<String>,
    created_at: Timestamp,
}

/// # Errors
/// 400, 401, 403, 404, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let mut conn = deps.pool.statements();
    let record = db::agents::records::agent_find(&mut conn, agent).await?;
    if record.is_none() {
        return Err(Problem::not_found("Agent not found"));
    }
    let backups = db::agents::backups::backups_newest(&mut conn, agent).await?;
    drop(conn);
    let backups = backups.into_iter().map(|backup| BackupJson {
        id: backup.id,
        snapshot_type: backup.snapshot_type,
        size_bytes: backup.size_bytes,
        vercel_snapshot_id: backup.vercel_snapshot_id,
        created_at: Timestamp(backup.created_at),
    });
    let data = Backups(backups.collect());
    list::respond(&request, &Data::new(data))
}
