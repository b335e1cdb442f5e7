//! `GET /api/v1/milady/agents`: an organization's agents, newest first.

use lambda_http::{Body, Request, Response};
use serde::Serialize;

use super::view::AgentSummary;
use crate::api::deps::PriceDeps;
use crate::api::list;
use crate::api::problem::Problem;
use crate::db::agents::records::agents_page;
use crate::db::page::PagePosition;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    success: bool,
    data: Vec<AgentSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// # Errors
/// 400 if `limit` or `cursor` is not valid, 401, 403, 503.
pub async fn handle(deps: &PriceDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let limit = list::limit(&request)?;
    let after = list::cursor(&request)?;
    let mut conn = deps.pool.acquire().await?;
    let agents = agents_page(&mut conn, caller.organization_id, after, limit + 1).await?;
    drop(conn);
    let (agents, next_cursor) = list::cut(agents, limit, |agent| PagePosition {
        created_at: agent.created_at,
        seq: None,
        id: agent.id.uuid(),
    });
    let data = agents
        .into_iter()
        .map(|agent| AgentSummary::new(agent, &deps.prices));
    let page = Page {
        success: true,
        data: data.collect(),
        next_cursor,
    };
    list::respond(&request, &page)
}
