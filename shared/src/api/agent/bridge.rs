//! `POST /api/v1/milady/agents/{agentId}/bridge`: passes a JSON-RPC request on to the agent.

use bytes::Bytes;
use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::rpc::{self, RpcRequest};
use crate::api::deps::HostDeps;
use crate::api::problem::Problem;
use crate::api::route::{RequestBody, ResponseKind, Route, Tag};
use crate::api::{body, path, response};
use crate::app::agent::bridge::agent_call;

pub const ROUTE: Route = Route {
    description: "The agent's answer is returned unchanged if it arrives within 25 seconds. Otherwise the response \
                  is a JSON-RPC error with the code -32000, whose message gives the reason. Until then the call is one \
                  of the organization's open streams, of which there may be only so many: a further one gets 429.",
    body: Some(RequestBody::required::<RpcRequest>(
        r#"{"jsonrpc": "2.0", "id": 1, "method": "status.get", "params": {}}"#,
    )),
    responses: &[ResponseKind::json::<RpcResponse>(
        200,
        "The agent's answer, or a JSON-RPC error.",
    )
    .example(
        r#"{"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "Sandbox is not running"}}"#,
    )],
    refusals: &[404, 409],
    ..Route::post(
        "agent-bridge",
        "/api/v1/milady/agents/{agentId}/bridge",
        Tag::Agents,
        "Send a JSON-RPC request to a running agent",
    )
};

/// A JSON-RPC response, as the agent wrote it.
#[derive(JsonSchema)]
#[schemars(inline, extend("additionalProperties" = true))]
#[expect(dead_code, reason = "describes what is passed on")]
struct RpcResponse {
    #[schemars(skip_serializing_if = "Option::is_none")]
    error: Option<Map<String, Value>>,
}

/// Responds with the agent's answer, unchanged. If the agent does not answer, the response is a JSON-RPC error
/// with status 200.
///
/// # Errors
/// 400 if the body is not a JSON-RPC request, 401, 403, 404, 409 and 429 if too many streams are open, 413, 415, 503.
pub async fn handle(deps: &HostDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let message = rpc::read(&request)?;
    let bytes = Bytes::copy_from_slice(body::bytes(&request)?);
    let answer = agent_call(&deps.pool, &deps.hosts, agent, bytes).await?;
    match answer {
        Ok(answer) => response::with_status(200, &answer),
        Err(error) => response::with_status(200, &rpc::error(&message["id"], &error)),
    }
}
