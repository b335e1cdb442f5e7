//! `GET /api/v1/milady/agents/{agentId}/figures`: what an agent's container used in the last 24 hours.

use lambda_http::{Body, Request, Response};

use crate::api::deps::FigureDeps;
use crate::api::figures::AgentFiguresJson;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{ResponseKind, Route, Tag};
use crate::api::{list, path};
use crate::db::agents::placement::runtime_record_find;
use crate::domain::figures::SHOWN_FOR;

pub const ROUTE: Route = Route {
    description: "Processor, memory, network and disk, sampled every five minutes on the host that the agent is on. What it \
                  used on an earlier host is not shown, and of an agent without a host nothing is known. The figures of a \
                  container begin with the second sample, five to ten minutes after its start, except for its memory. The \
                  size of its files is not measured.",
    responses: &[ResponseKind::json::<Data<AgentFiguresJson>>(200, "The figures.").with_etag()],
    refusals: &[400, 404],
    ..Route::get(
        "agent-figures",
        "/api/v1/milady/agents/{agentId}/figures",
        Tag::Agents,
        "Get what an agent's container uses",
    )
};

/// # Errors
/// 400, 401, 403, 404, 503.
pub async fn handle(deps: &FigureDeps, request: Request) -> Result<Response<Body>, Problem> {
    let authenticated = deps
        .auth
        .authenticate(&deps.pool, &request, ROUTE.caller)
        .await?;
    let agent = authenticated
        .caller
        .agent(path::identifier(&request, "agentId")?);
    let record = runtime_record_find(&mut deps.pool.statements(), agent).await?;
    let record = record.ok_or_else(|| Problem::not_found("Agent not found"))?;
    let now = authenticated.now;
    let samples = match &record.node_id {
        Some(node_id) => deps.cache.figures(node_id, now - SHOWN_FOR).await?,
        None => Vec::new(),
    };
    let data = AgentFiguresJson::new(samples, agent.agent_id, now);
    list::respond(&request, &Data::new(data))
}
