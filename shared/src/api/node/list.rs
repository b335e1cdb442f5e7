//! `GET /api/v1/admin/docker-nodes`: the hosts, sorted by name.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::view::HostJson;
use crate::api::deps::DatabaseDeps;
use crate::api::list::{self, MAX_PAGE, Page};
use crate::api::parameters::{CURSOR, LIMIT};
use crate::api::problem::Problem;
use crate::api::route::{CallerKind, ResponseKind, Route, Tag};
use crate::db::hosts::registry::{hosts_count, hosts_page};

pub const ROUTE: Route = Route {
    caller: CallerKind::SuperAdmin,
    parameters: &[LIMIT, CURSOR],
    responses: &[ResponseKind::json::<Page<Hosts>>(200, "One page of hosts.").with_etag()],
    refusals: &[400],
    ..Route::get(
        "node-list",
        "/api/v1/admin/docker-nodes",
        Tag::Admin,
        "List the hosts, sorted by name",
    )
};

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Hosts {
    #[schemars(length(max = MAX_PAGE))]
    nodes: Vec<HostJson>,
    /// The number of hosts on all pages.
    #[schemars(range(min = 0))]
    total: i64,
}

/// # Errors
/// 400 if `limit` or `cursor` is not valid, 401, 403, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let limit = list::limit(&request)?;
    let after = list::name_cursor(&request)?;
    let mut conn = deps.pool.statements();
    let nodes = hosts_page(&mut conn, after.as_deref(), limit + 1).await?;
    let total = hosts_count(&mut conn).await?;
    drop(conn);
    let (nodes, next_cursor) = list::cut_by(nodes, limit, |node| list::encode_name(&node.node_id));
    let nodes = nodes.into_iter().map(HostJson::new).collect();
    let page = Page::new(Hosts { nodes, total }, next_cursor);
    list::respond(&request, &page)
}
