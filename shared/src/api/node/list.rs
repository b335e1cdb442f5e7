//! `GET /api/v1/admin/docker-nodes`: the hosts, sorted by name.

use lambda_http::{Body, Request, Response};
use serde::Serialize;

use super::view::HostJson;
use crate::api::deps::DatabaseDeps;
use crate::api::list;
use crate::api::problem::Problem;
use crate::db::hosts::registry::{hosts_count, hosts_page};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    success: bool,
    data: Data,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Data {
    nodes: Vec<HostJson>,
    /// Of all pages.
    total: i64,
}

/// # Errors
/// 400 if `limit` or `cursor` is not valid, 401, 403, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let limit = list::limit(&request)?;
    let after = list::name_cursor(&request)?;
    let mut conn = deps.pool.acquire().await?;
    let nodes = hosts_page(&mut conn, after.as_deref(), limit + 1).await?;
    let total = hosts_count(&mut conn).await?;
    drop(conn);
    let (nodes, next_cursor) = list::cut_by(nodes, limit, |node| list::encode_name(&node.node_id));
    let nodes = nodes.into_iter().map(HostJson::new).collect();
    let page = Page {
        success: true,
        data: Data { nodes, total },
        next_cursor,
    };
    list::respond(&request, &page)
}
