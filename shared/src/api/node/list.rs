//! `GET /api/v1/admin/docker-nodes`: the hosts, by their names.

use lambda_http::{Body, Request, Response};
use serde::Serialize;

use super::Deps;
use super::view::NodeJson;
use crate::api::list;
use crate::api::problem::Problem;
use crate::db::hosts::operator::{nodes_count, nodes_page};

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
    nodes: Vec<NodeJson>,
    /// Of all pages.
    total: i64,
}

/// Answers one page.
///
/// # Errors
/// 400 for a bad `limit` or `cursor`, 401, 403, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let (limit, after) = (list::limit(&request)?, list::name_cursor(&request)?);
    let mut conn = deps.pool.acquire().await?;
    let nodes = nodes_page(&mut conn, after.as_deref(), limit + 1).await?;
    let total = nodes_count(&mut conn).await?;
    drop(conn);
    let (nodes, next_cursor) = list::cut_by(nodes, limit, |node| list::encode_name(&node.node_id));
    let nodes = nodes.into_iter().map(NodeJson::new).collect();
    let page = Page {
        success: true,
        data: Data { nodes, total },
        next_cursor,
    };
    list::answer(&request, &page)
}
