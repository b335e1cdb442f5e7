//! `POST|DELETE /api/v1/admin/docker-nodes/{nodeId}/lost`: declares a host lost, and takes it back into service.

use lambda_http::http::Method;
use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::path::node_id;
use crate::api::body;
use crate::api::deps::DatabaseDeps;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::NodeId;
use crate::app::node::lost::{node_declare_lost, node_restore_service};
use crate::domain::timestamp::Timestamp;
use crate::domain::withdrawal::HostService;

pub const ROUTE: Route = Route {
    operation: "node-lost",
    description: "Refused with 409 unless the inspections of the last ten minutes could not read the host. Its agents are \
                  stopped: their metering ends when they were known to run last, their owners are told, and a start \
                  restores the newest backup on another host, with a new database password, API token and JWT secret. \
                  If the host answers again, the agents' containers on it are stopped before anything else.",
    caller: CallerKind::SuperAdmin,
    body: Some(RequestBody::required::<NodeLostRequest>(
        r#"{"nodeId": "local"}"#,
    )),
    responses: &[ResponseKind::json::<Data<LostNode>>(
        200,
        "The host is declared lost.",
    )],
    refusals: &[404, 409],
    ..Route::post(
        "node-lost",
        "/api/v1/admin/docker-nodes/{nodeId}/lost",
        Tag::Admin,
        "Declare a host lost",
    )
};

pub const RETURN_ROUTE: Route = Route {
    operation: "node-return",
    description: "Refused with 409 until the host has answered again. An agent that was not started since has its newest \
                  state in the host's volume, and starts there. To give the host up instead, remove it.",
    caller: CallerKind::SuperAdmin,
    responses: &[ResponseKind::json::<Data<ReturnedNode>>(
        200,
        "The host is in service.",
    )],
    refusals: &[404, 409],
    ..Route::delete(
        "node-lost",
        "/api/v1/admin/docker-nodes/{nodeId}/lost",
        Tag::Admin,
        "Take a lost host that has returned back into service",
    )
};

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct NodeLostRequest {
    /// The host's name once more, so that no other one is declared lost by accident.
    node_id: NodeId,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct LostNode {
    #[schemars(length(min = 1))]
    node_id: String,
    service: HostService,
    declared_at: Timestamp,
    /// How many agents were freed. Those that are being started follow when their starts have ended.
    freed_agents: usize,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct ReturnedNode {
    #[schemars(length(min = 1))]
    node_id: String,
    service: HostService,
}

/// # Errors
/// 400, 401, 403, 404, 409, 415, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let node_id = node_id(&request)?;
    if *request.method() == Method::DELETE {
        node_restore_service(&deps.pool, admin.user_id, &node_id).await?;
        return response::ok(ReturnedNode {
            node_id,
            service: HostService::InService,
        });
    }
    let mut fields = body::object(&request)?;
    fields.text("nodeId", "must be the name of the host", |text| {
        text == node_id
    });
    fields.finish()?;
    let loss = node_declare_lost(&deps.pool, admin.user_id, &node_id).await?;
    response::ok(LostNode {
        node_id,
        service: HostService::Lost,
        declared_at: Timestamp(loss.declared_at),
        freed_agents: loss.freed_agents,
    })
}
