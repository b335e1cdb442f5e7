//! `GET /api/v1/milady/agents/{agentId}/backups`: the newest ten.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::api::auth::Auth;
use crate::api::json::Date;
use crate::api::problem::Problem;
use crate::api::{list, path};
use crate::db;

/// What the route needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Backup {
    id: Uuid,
    snapshot_type: String,
    size_bytes: Option<i64>,
    vercel_snapshot_id: Option<String>,
    created_at: Date,
}

/// Answers an agent's backups.
///
/// # Errors
/// 400, 401, 403, 404, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent_id = path::uuid(&request, "agentId")?;
    let organization_id = caller.organization_id;
    let mut conn = deps.pool.acquire().await?;
    let agent = db::agents::owner::agent_find(&mut conn, organization_id, agent_id).await?;
    if agent.is_none() {
        return Err(Problem::not_found("Agent not found"));
    }
    let backups = db::agents::backups::backups_newest(&mut conn, organization_id, agent_id).await?;
    drop(conn);
    let data: Vec<Backup> = backups
        .into_iter()
        .map(|backup| Backup {
            id: backup.id,
            snapshot_type: backup.snapshot_type,
            size_bytes: backup.size_bytes,
            vercel_snapshot_id: backup.vercel_snapshot_id,
            created_at: Date(backup.created_at),
        })
        .collect();
    list::answer(&request, &json!({"success": true, "data": data}))
}
