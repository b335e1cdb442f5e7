//! `DELETE /api/v1/admin/docker-nodes/{nodeId}`: removes a host.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::node_id;
use crate::api::deps::DatabaseDeps;
use crate::api::problem::Problem;
use crate::api::response;
use crate::app::node::remove::node_remove;

/// # Errors
/// 401, 403, 404, 409 while agents run on the host or have unsaved state there, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let node_id = node_id(&request)?;
    node_remove(&deps.pool, admin.user_id, &node_id).await?;
    let data = json!({"nodeId": node_id, "deleted": true});
    response::ok(&json!({"success": true, "data": data}))
}
