//! `GET /api/v1/admin/headscale`: the nodes of the private network.

use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::auth::Auth;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, ResponseKind, Route, Tag};
use crate::api::schema::Always;
use crate::db::Database;
use crate::db::clock::billing_clock;
use crate::domain::timestamp::Timestamp;
use crate::vpn::{Vpn, VpnNode};

pub const ROUTE: Route = Route {
    description: "Lists the nodes of one Headscale user, and those without a user.",
    caller: CallerKind::SuperAdmin,
    responses: &[ResponseKind::json::<Data<Network>>(
        200,
        "The nodes that Headscale knows now.",
    )],
    refusals: &[502],
    ..Route::get(
        "admin-headscale",
        "/api/v1/admin/headscale",
        Tag::Admin,
        "List the nodes of the private network",
    )
};

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub auth: Auth,
    /// `None` if Headscale is not set up.
    pub vpn: Option<Vpn>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Network {
    server_configured: Always<true>,
    user: String,
    vpn_nodes: Vec<NodeJson>,
    summary: NetworkSummary,
    queried_at: Timestamp,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct NetworkSummary {
    total: usize,
    online: usize,
    offline: usize,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct NodeJson {
    id: String,
    name: String,
    given_name: String,
    user: Option<String>,
    ip_addresses: Vec<String>,
    online: bool,
    last_seen: Option<Timestamp>,
    /// Null if the node's key does not expire.
    expiry: Option<Timestamp>,
    created_at: Option<Timestamp>,
    tags: Vec<String>,
}

impl From<VpnNode> for NodeJson {
    fn from(node: VpnNode) -> Self {
        Self {
            id: node.id,
            name: node.name,
            given_name: node.given_name,
            user: node.user,
            ip_addresses: node.ip_addresses,
            online: node.online,
            last_seen: node.last_seen.map(Timestamp),
            expiry: node.expiry.map(Timestamp),
            created_at: node.created_at.map(Timestamp),
            tags: node.tags,
        }
    }
}

/// # Errors
/// 401, 403, 502 if Headscale's response is not valid, 503 if Headscale is not set up.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let vpn = deps.vpn.as_ref();
    let vpn = vpn.ok_or_else(|| Problem::not_configured("Headscale is not set up"))?;
    // Returns the connection before waiting for Headscale.
    let now = billing_clock(&mut deps.pool.statements()).await?;
    let nodes: Vec<NodeJson> = vpn.nodes().await?.into_iter().map(NodeJson::from).collect();
    let online = nodes.iter().filter(|node| node.online).count();
    response::ok(Network {
        server_configured: Always,
        user: vpn.user().to_owned(),
        summary: NetworkSummary {
            total: nodes.len(),
            online,
            offline: nodes.len() - online,
        },
        vpn_nodes: nodes,
        queried_at: Timestamp(now),
    })
}
