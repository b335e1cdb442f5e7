//! `GET /api/v1/milady/agents/{agentId}`.

use lambda_http::{Body, Request, Response};
use serde_json::json;
use sqlx::PgPool;

use super::view::Detail;
use crate::api::auth::Auth;
use crate::api::problem::Problem;
use crate::api::{list, path};
use crate::db::agents::owner::agent_find;
use crate::domain::pricing::Prices;

/// What the route needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// Who may call.
    pub auth: Auth,
    /// The price list: what an hour costs where the agent has no price of its own.
    pub prices: Prices,
    /// The domain that agents are reached below; none = they have no public address.
    pub domain: Option<String>,
}

/// Answers one agent.
///
/// # Errors
/// 400, 401, 403, 404, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent_id = path::uuid(&request, "agentId")?;
    let mut conn = deps.pool.acquire().await?;
    let agent = agent_find(&mut conn, caller.organization_id, agent_id).await?;
    drop(conn);
    let agent = agent.ok_or_else(|| Problem::not_found("Agent not found"))?;
    let domain = deps.domain.as_deref();
    let data = Detail::new(agent, &deps.prices, domain, caller.super_admin);
    list::answer(&request, &json!({"success": true, "data": data}))
}
