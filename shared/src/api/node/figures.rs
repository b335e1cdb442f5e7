//! `GET /api/v1/admin/docker-nodes/{nodeId}/figures`: what the agents on a host used in the last 24 hours.

use lambda_http::{Body, Request, Response};

use super::path::node_id;
use crate::api::deps::FigureDeps;
use crate::api::figures::HostFiguresJson;
use crate::api::list;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{CallerKind, ResponseKind, Route, Tag};
use crate::db::clock::billing_clock;
use crate::db::hosts::coordinates::host_find;
use crate::domain::figures::SHOWN_FOR;

pub const ROUTE: Route = Route {
    description: "Processor, memory, network and disk of each agent's container, sampled every five minutes. No host is \
                  asked.",
    caller: CallerKind::SuperAdmin,
    responses: &[ResponseKind::json::<Data<HostFiguresJson>>(200, "The figures.").with_etag()],
    refusals: &[404],
    ..Route::get(
        "node-figures",
        "/api/v1/admin/docker-nodes/{nodeId}/figures",
        Tag::Admin,
        "Get what the agents on a host use",
    )
};

/// # Errors
/// 401, 403, 404, 503.
pub async fn handle(deps: &FigureDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let node_id = node_id(&request)?;
    let mut conn = deps.pool.statements();
    let node = host_find(&mut conn, &node_id).await?;
    let now = billing_clock(&mut conn).await?;
    drop(conn);
    if node.is_none() {
        return Err(Problem::not_found("Node not found"));
    }
    let samples = deps.cache.figures(&node_id, now - SHOWN_FOR).await?;
    list::respond(&request, &Data::new(HostFiguresJson::new(&samples, now)))
}
