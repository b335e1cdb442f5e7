//! `GET /api/v1/admin/headscale`: who is in the private network.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;

use crate::api::auth::Auth;
use crate::api::json::{self, Date};
use crate::api::problem::Problem;
use crate::db::clock::billing_clock;
use crate::vpn::{Vpn, VpnNode};

/// What the route needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
    /// The network; none = there is none.
    pub vpn: Option<Vpn>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    id: String,
    name: String,
    given_name: String,
    user: Option<String>,
    ip_addresses: Vec<String>,
    online: bool,
    last_seen: Option<Date>,
    expiry: Option<Date>,
    created_at: Option<Date>,
    tags: Vec<String>,
}

impl From<VpnNode> for Node {
    fn from(node: VpnNode) -> Self {
        Self {
            id: node.id,
            name: node.name,
            given_name: node.given_name,
            user: node.user,
            ip_addresses: node.ip_addresses,
            online: node.online,
            last_seen: node.last_seen.map(Date),
            expiry: node.expiry.map(Date),
            created_at: node.created_at.map(Date),
            tags: node.tags,
        }
    }
}

/// Asks Headscale and answers what it says.
///
/// # Errors
/// 401, 403, 502 when Headscale does not answer as it should, 503 when there is none.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    deps.auth.super_admin(&deps.pool, &request).await?;
    let vpn = deps.vpn.as_ref();
    let vpn = vpn.ok_or_else(|| Problem::not_configured("Headscale is not set up"))?;
    // The connection is given back before anything else is waited for.
    let now = billing_clock(&mut *deps.pool.acquire().await?).await?;
    let nodes: Vec<Node> = vpn.nodes().await?.into_iter().map(Node::from).collect();
    let online = nodes.iter().filter(|node| node.online).count();
    let summary = json!({"total": nodes.len(), "online": online, "offline": nodes.len() - online});
    let data = json!({
        "serverConfigured": true, "user": vpn.user(), "vpnNodes": nodes, "summary": summary,
        "queriedAt": Date(now),
    });
    json::ok(&json!({"success": true, "data": data}))
}
