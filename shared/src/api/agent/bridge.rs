//! `POST /api/v1/milady/agents/{agentId}/bridge`: passes a JSON-RPC request on to the agent.

use bytes::Bytes;
use lambda_http::{Body, Request, Response};

use super::rpc;
use crate::api::deps::HostDeps;
use crate::api::problem::Problem;
use crate::api::{body, path, response};
use crate::app::agent::bridge::agent_call;

/// Responds with the agent's answer, unchanged. If the agent does not answer, the response is a JSON-RPC error
/// with status 200.
///
/// # Errors
/// 400 if the body is not a JSON-RPC request, 401, 403, 404, 413, 415, 503.
pub async fn handle(deps: &HostDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent = caller.agent(path::identifier(&request, "agentId")?);
    let message = rpc::read(&request)?;
    let bytes = Bytes::copy_from_slice(body::bytes(&request)?);
    let answer = agent_call(&deps.pool, &deps.hosts, agent, bytes).await?;
    response::ok(&answer.unwrap_or_else(|error| rpc::error(&message["id"], &error)))
}
