//! `GET /api/v1/milady/agents/{agentId}/jobs`: an agent's jobs, newest first.

use lambda_http::{Body, Request, Response};

use crate::api::deps::DatabaseDeps;
use crate::api::job::view::JobJson;
use crate::api::list::{self, Entries, Page};
use crate::api::parameters::{CURSOR, LIMIT};
use crate::api::path;
use crate::api::problem::Problem;
use crate::api::route::{ResponseKind, Route, Tag};
use crate::db::agents::records::agent_find;
use crate::db::jobs::queue::jobs_page;
use crate::db::page::PagePosition;

pub const ROUTE: Route = Route {
    parameters: &[LIMIT, CURSOR],
    responses: &[
        ResponseKind::json::<Page<Entries<JobJson>>>(200, "One page of jobs.").with_etag(),
    ],
    refusals: &[400, 404],
    ..Route::get(
        "agent-jobs",
        "/api/v1/milady/agents/{agentId}/jobs",
        Tag::Agents,
        "List an agent's jobs, newest first",
    )
};

/// # Errors
/// 400, 401, 403, 404, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let limit = list::limit(&request)?;
    let after = list::cursor(&request)?;
    let mut conn = deps.pool.statements();
    if agent_find(&mut conn, agent).await?.is_none() {
        return Err(Problem::not_found("Agent not found"));
    }
    let jobs = jobs_page(&mut conn, agent, after, limit + 1).await?;
    drop(conn);
    let (jobs, next_cursor) = list::cut(jobs, limit, |job| PagePosition {
        created_at: job.created_at.and_utc(),
        id: job.id.uuid(),
    });
    let data = Entries(jobs.into_iter().map(JobJson::new).collect());
    list::respond(&request, &Page::new(data, next_cursor))
}
