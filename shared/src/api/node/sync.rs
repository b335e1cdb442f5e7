//! `POST /api/v1/admin/docker-nodes/sync`: recounts the allocated slots of all hosts.

use std::collections::BTreeMap;

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::api::deps::DatabaseDeps;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, ResponseKind, Route, Tag};
use crate::app::node::sync::node_sync;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    description: "Each host's count is set to the number of agents with a container on the host.",
    caller: CallerKind::SuperAdmin,
    responses: &[ResponseKind::json::<Data<SyncedSlots>>(
        200,
        "The counts that were changed.",
    )],
    ..Route::post(
        "node-sync",
        "/api/v1/admin/docker-nodes/sync",
        Tag::Admin,
        "Recount the allocated slots of all hosts",
    )
};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct SyncedSlots {
    nodes_changed: usize,
    /// By the host's name.
    #[schemars(with = "BTreeMap<String, SlotChange>")]
    changes: Value,
    synced_at: Timestamp,
}

#[derive(JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, reason = "describes what `changes_json` makes")]
struct SlotChange {
    before: i32,
    #[schemars(range(min = 0))]
    after: i32,
}

/// # Errors
/// 401, 403, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let admin = deps.auth.super_admin(&deps.pool, &request).await?;
    let synced = node_sync(&deps.pool, admin.user_id).await?;
    response::ok(SyncedSlots {
        nodes_changed: synced.changes.len(),
        changes: synced.changes_json(),
        synced_at: Timestamp(synced.synced_at),
    })
}
