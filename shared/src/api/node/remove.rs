//! `DELETE /api/v1/admin/docker-nodes/{nodeId}`: removes a host.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::path::node_id;
use crate::api::deps::DatabaseDeps;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, ResponseKind, Route, Tag};
use crate::api::schema::Always;
use crate::app::node::remove::node_remove;

pub const ROUTE: Route = Route {
    description: "Refused with 409 while agents have containers on the host, or state there that no backup has: drain \
                  the host first, or declare it lost.",
    caller: CallerKind::SuperAdmin,
    responses: &[ResponseKind::json::<Data<RemovedNode>>(
        200,
        "The host was removed.",
    )],
    refusals: &[404, 409],
    ..Route::delete(
        "node-remove",
        "/api/v1/admin/docker-nodes/{nodeId}",
        Tag::Admin,
        "Remove a host",
    )
};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct RemovedNode {
    #[schemars(length(min = 1))]
    node_id: String,
    deleted: Always<true>,
}

/// # Errors
/// 401, 403, 404, 409 while agents run on the host or have unsaved state there, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let node_id = node_id(&request)?;
    node_remove(&deps.pool, admin.user_id, &node_id).await?;
    response::ok(RemovedNode {
        node_id,
        deleted: Always,
    })
}
