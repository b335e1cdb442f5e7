//! `GET /api/v1/milady/agents/{agentId}`.

use lambda_http::{Body, Request, Response};

use super::view::{AgentDetail, ViewContext};
use crate::api::auth::Auth;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{ResponseKind, Route, Tag};
use crate::api::{list, path};
use crate::app::agent::read::agent_details;
use crate::db::Database;
use crate::domain::pricing::Prices;

pub const ROUTE: Route = Route {
    responses: &[ResponseKind::json::<Data<AgentDetail>>(200, "The agent.").with_etag()],
    refusals: &[400, 404],
    ..Route::get(
        "agent-get",
        "/api/v1/milady/agents/{agentId}",
        Tag::Agents,
        "Get an agent",
    )
};

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub auth: Auth,
    /// For agents without a price of their own.
    pub prices: Prices,
    /// The image of agents that name none.
    pub default_image: String,
    /// Agents are reached at `https://<id>.<domain>`. `None` if they have no public address.
    pub domain: Option<String>,
}

/// # Errors
/// 400, 401, 403, 404, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let authenticated = deps
        .auth
        .authenticate(&deps.pool, &request, ROUTE.caller)
        .await?;
    let caller = authenticated.caller;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let details = agent_details(&deps.pool, agent).await?;
    let details = details.ok_or_else(|| Problem::not_found("Agent not found"))?;
    let domain = deps.domain.as_deref();
    let context = ViewContext {
        prices: &deps.prices,
        default_image: &deps.default_image,
        now: authenticated.now,
    };
    let is_admin = caller.is_super_admin;
    let data = AgentDetail::new(details, context, domain, is_admin);
    list::respond(&request, &Data::new(data))
}
