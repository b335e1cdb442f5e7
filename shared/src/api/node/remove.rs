//! `DELETE /api/v1/admin/docker-nodes/{nodeId}`.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::{Deps, node_id};
use crate::api::json;
use crate::api::problem::Problem;
use crate::app::node::remove::node_remove;

/// Removes a host.
///
/// # Errors
/// 401, 403, 404, 409 while agents have something there that is nowhere else, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let node_id = node_id(&request)?;
    node_remove(&deps.pool, admin.user_id, &node_id).await?;
    let data = json!({"nodeId": node_id, "deleted": true});
    json::ok(&json!({"success": true, "data": data}))
}
