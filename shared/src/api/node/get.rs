//! `GET /api/v1/admin/docker-nodes/{nodeId}`: a host, and the agents whose rows name it.

use lambda_http::{Body, Request, Response};

use super::path::node_id;
use super::view::{HostAgentJson, HostDetailJson, HostJson};
use crate::api::deps::ImageDeps;
use crate::api::list;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{CallerKind, ResponseKind, Route, Tag};
use crate::db::agents::operator::host_agents_of_any_organization;
use crate::db::hosts::registry::host_record;
use crate::db::hosts::unread::unread_host_find;
use crate::db::hosts::withdrawals::withdrawal_find;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    caller: CallerKind::SuperAdmin,
    responses: &[ResponseKind::json::<Data<HostDetailJson>>(
        200,
        "The host and the agents whose rows name it.",
    )
    .with_etag()],
    refusals: &[404],
    ..Route::get(
        "node-get",
        "/api/v1/admin/docker-nodes/{nodeId}",
        Tag::Admin,
        "Get a host",
    )
};

/// # Errors
/// 401, 403, 404, 503.
pub async fn handle(deps: &ImageDeps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let node_id = node_id(&request)?;
    let mut conn = deps.pool.statements();
    let node = host_record(&mut conn, &node_id).await?;
    let node = node.ok_or_else(|| Problem::not_found("Node not found"))?;
    let agents = host_agents_of_any_organization(&mut conn, &node_id).await?;
    let unread = unread_host_find(&mut conn, &node_id).await?;
    let withdrawal = withdrawal_find(&mut conn, &node_id).await?;
    drop(conn);
    let agents = agents
        .into_iter()
        .map(|agent| HostAgentJson::new(agent, &deps.default_image));
    let data = HostDetailJson {
        host_key_fingerprint: node.host_key_fingerprint.clone(),
        unread_since: unread.map(|unread| Timestamp(unread.since)),
        withdrawn_at: withdrawal
            .as_ref()
            .map(|withdrawal| Timestamp(withdrawal.requested_at)),
        withdrawal_done_at: withdrawal
            .and_then(|withdrawal| withdrawal.done_at)
            .map(Timestamp),
        node: HostJson::new(node),
        containers: agents.collect(),
    };
    list::respond(&request, &Data::new(data))
}
