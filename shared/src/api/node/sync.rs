//! `POST /api/v1/admin/docker-nodes/sync`: recounts the allocated slots of all hosts.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use crate::api::deps::DatabaseDeps;
use crate::api::problem::Problem;
use crate::api::response;
use crate::app::node::sync::node_sync;
use crate::domain::timestamp::Timestamp;

/// # Errors
/// 401, 403, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let synced = node_sync(&deps.pool, admin.user_id).await?;
    let data = json!({
        "nodesChanged": synced.changes.len(), "changes": synced.changes_json(),
        "syncedAt": Timestamp(synced.synced_at),
    });
    response::ok(&json!({"success": true, "data": data}))
}
