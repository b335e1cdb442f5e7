//! `GET /api/v1/admin/docker-nodes/{nodeId}`.

use lambda_http::{Body, Request, Response};
use serde_json::json;

use super::view::{ContainerJson, DetailJson, NodeJson};
use super::{Deps, node_id};
use crate::api::list;
use crate::api::problem::Problem;
use crate::db::hosts::operator::{node_agents, node_record};

/// Answers one host and the agents whose rows name it.
///
/// # Errors
/// 401, 403, 404, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let node_id = node_id(&request)?;
    let mut conn = deps.pool.acquire().await?;
    let node = node_record(&mut conn, &node_id).await?;
    let node = node.ok_or_else(|| Problem::not_found("Node not found"))?;
    let agents = node_agents(&mut conn, &node_id).await?;
    drop(conn);
    let data = DetailJson {
        node: NodeJson::new(node),
        containers: agents.into_iter().map(ContainerJson::new).collect(),
    };
    list::answer(&request, &json!({"success": true, "data": data}))
}
