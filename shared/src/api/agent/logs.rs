//! `GET /api/v1/milady/agents/{agentId}/logs`: the end of the log of the agent's container.
//! `GET /api/compat/agents/{agentId}/logs`: the same as a text, for the agent page of the earlier deployment.

use lambda_http::{Body, Request, RequestExt, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::deps::HostDeps;
use crate::api::log_part::LogLines;
use crate::api::parameters::LOG_SINCE;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{Parameter, ResponseKind, Route, Tag};
use crate::api::{log_part, path, response};
use crate::app::agent::logs::agent_logs;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    parameters: PARAMETERS,
    responses: &[ResponseKind::json::<Data<AgentLogs>>(
        200,
        "The lines, each with its time.",
    )],
    refusals: REFUSALS,
    ..Route::get(
        "agent-logs",
        "/api/v1/milady/agents/{agentId}/logs",
        Tag::Agents,
        SUMMARY,
    )
};

pub const TEXT_ROUTE: Route = Route {
    operation: "agent-logs-text",
    description: "The log that `GET /api/v1/milady/agents/{agentId}/logs` returns, as a text.",
    is_deprecated: true,
    parameters: PARAMETERS,
    responses: &[ResponseKind::json::<Data<String>>(
        200,
        "The lines, each with its time.",
    )],
    refusals: REFUSALS,
    ..Route::get(
        "agent-logs",
        "/api/compat/agents/{agentId}/logs",
        Tag::Agents,
        SUMMARY,
    )
};

const SUMMARY: &str = "Read the log of an agent's container";
const PARAMETERS: &[Parameter] = &[
    Parameter::query::<LogLines>("tail", "The number of lines, from the end of the log.")
        .example("100"),
    LOG_SINCE,
];
const REFUSALS: &[u16] = &[400, 404, 409];
/// How the paths of routes begin whose answers have another form.
const COMPAT_PREFIX: &str = "/api/compat/";

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct AgentLogs {
    logs: String,
    fetched_at: Timestamp,
}

/// # Errors
/// 400, 401, 403, 404, 409 if the agent has no container, 429 if too many streams are open, 503.
pub async fn handle(deps: &HostDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let part = log_part::of_query(&request, "tail")?;
    let logs = agent_logs(&deps.pool, &deps.hosts, agent, part).await?;
    if request.raw_http_path().starts_with(COMPAT_PREFIX) {
        return response::ok(logs.text);
    }
    response::ok(AgentLogs {
        logs: logs.text,
        fetched_at: Timestamp(logs.fetched_at),
    })
}
