//! `POST /api/v1/admin/docker-nodes/sync`: counts the taken slots anew.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::Deps;
use crate::api::json::{self, Date};
use crate::api::problem::Problem;
use crate::app::node::sync::node_sync;

/// Answers what was changed.
///
/// # Errors
/// 401, 403, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let synced = node_sync(&deps.pool, admin.user_id).await?;
    let data = json!({
        "nodesChanged": synced.changes.len(), "changes": synced.changes(),
        "syncedAt": Date(synced.at),
    });
    json::ok(&json!({"success": true, "data": data}))
}
