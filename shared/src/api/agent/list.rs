//! `GET /api/v1/milady/agents`: an organization's agents, newest first.

use lambda_http::{Body, Request, Response};

use super::view::AgentSummary;
use crate::api::deps::PriceDeps;
use crate::api::list::{self, Entries, Page};
use crate::api::parameters::{CURSOR, LIMIT};
use crate::api::problem::Problem;
use crate::api::route::{ResponseKind, Route, Tag};
use crate::db::agents::records::agents_page;
use crate::db::page::PagePosition;

pub const ROUTE: Route = Route {
    parameters: &[LIMIT, CURSOR],
    responses: &[
        ResponseKind::json::<Page<Entries<AgentSummary>>>(200, "One page of agents.").with_etag(),
    ],
    refusals: &[400],
    ..Route::get(
        "agent-list",
        "/api/v1/milady/agents",
        Tag::Agents,
        "List the organization's agents, newest first",
    )
};

/// # Errors
/// 400 if `limit` or `cursor` is not valid, 401, 403, 503.
pub async fn handle(deps: &PriceDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let limit = list::limit(&request)?;
    let after = list::cursor(&request)?;
    let mut conn = deps.pool.statements();
    let agents = agents_page(&mut conn, caller.organization_id, after, limit + 1).await?;
    drop(conn);
    let (agents, next_cursor) = list::cut(agents, limit, |agent| PagePosition {
        created_at: agent.created_at,
        id: agent.id.uuid(),
    });
    let agents = agents
        .into_iter()
        .map(|agent| AgentSummary::new(agent, &deps.prices));
    let data = Entries(agents.collect());
    list::respond(&request, &Page::new(data, next_cursor))
}
