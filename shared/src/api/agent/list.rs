//! `GET /api/v1/milady/agents`: an organization's agents, newest first.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use sqlx::PgPool;

use super::view::Summary;
use crate::api::auth::Auth;
use crate::api::list;
use crate::api::problem::Problem;
use crate::db::agents::owner::agents_page;
use crate::db::billing::ledger::Position;
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
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    success: bool,
    data: Vec<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Answers one page.
///
/// # Errors
/// 400 for a bad `limit` or `cursor`, 401, 403, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let (limit, after) = (list::limit(&request)?, list::cursor(&request)?);
    let mut conn = deps.pool.acquire().await?;
    let agents = agents_page(&mut conn, caller.organization_id, after, limit + 1).await?;
    drop(conn);
    let (agents, next_cursor) = list::cut(agents, limit, |agent| Position {
        created_at: agent.created_at,
        seq: None,
        id: agent.id,
    });
    let data = agents
        .into_iter()
        .map(|agent| Summary::new(agent, &deps.prices));
    let page = Page {
        success: true,
        data: data.collect(),
        next_cursor,
    };
    list::answer(&request, &page)
}
