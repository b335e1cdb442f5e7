//! `GET /api/v1/admin/headscale`: the nodes of the private network.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;

use crate::api::auth::Auth;
use crate::api::problem::Problem;
use crate::api::response;
use crate::db::clock::billing_clock;
use crate::domain::timestamp::Timestamp;
use crate::vpn::{Vpn, VpnNode};

#[derive(Debug)]
pub struct Deps {
    pub pool: PgPool,
    pub auth: Auth,
    /// `None` if Headscale is not set up.
    pub vpn: Option<Vpn>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeJson {
    id: String,
    name: String,
    given_name: String,
    user: Option<String>,
    ip_addresses: Vec<String>,
    online: bool,
    last_seen: Option<Timestamp>,
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
    let now = billing_clock(&mut *deps.pool.acquire().await?).await?;
    let nodes: Vec<NodeJson> = vpn.nodes().await?.into_iter().map(NodeJson::from).collect();
    let online = nodes.iter().filter(|node| node.online).count();
    let summary = json!({"total": nodes.len(), "online": online, "offline": nodes.len() - online});
    let data = json!({
        "serverConfigured": true, "user": vpn.user(), "vpnNodes": nodes, "summary": summary,
        "queriedAt": Timestamp(now),
    });
    response::ok(&json!({"success": true, "data": data}))
}
