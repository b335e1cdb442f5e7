//! `POST /api/v1/milady/agents/{agentId}/bridge`: JSON-RPC 2.0, passed on to the agent.

use bytes::Bytes;
use lambda_http::{Body, Request, Response};
use serde_json::{Value, json};

use super::reach::Deps;
use crate::api::problem::Problem;
use crate::api::{body, json, path};
use crate::app::agent::bridge::{Unheard, agent_ask};

/// JSON-RPC's code for what a server says of itself.
const SERVER_ERROR: i32 = -32_000;

/// Passes a message on. What the agent says is answered as it is; when it is not heard, a JSON-RPC error
/// says why.
///
/// # Errors
/// 400 for what is no JSON-RPC request, 401, 403, 404, 413, 415, 503.
pub async fn handle(deps: &Deps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request).await?;
    let agent_id = path::uuid(&request, "agentId")?;
    let message = read(&request)?;
    let agent = (caller.organization_id, agent_id);
    let asked = Bytes::copy_from_slice(body::bytes(&request)?);
    let heard = agent_ask(&deps.pool, &deps.fleet, agent, asked).await?;
    json::ok(&heard.unwrap_or_else(|unheard| refusal(&message["id"], &unheard)))
}

/// The message, which must be a JSON-RPC request.
pub(super) fn read(request: &Request) -> Result<Value, Problem> {
    let mut fields = body::object(request)?;
    let id = fields.take("id").unwrap_or_default();
    if !(id.is_null() || id.is_string() || id.is_number()) {
        fields.refuse("id", "must be a string or a number");
    }
    fields.text("jsonrpc", "must be 2.0", |version| version == "2.0");
    let rule = "must be 1 to 200 characters";
    let short = |method: &str| (1..=200).contains(&method.chars().count());
    let method = fields.text("method", rule, short);
    let params = fields.take("params").unwrap_or_default();
    if !(params.is_null() || params.is_object() || params.is_array()) {
        fields.refuse("params", "must be an object or an array");
    }
    fields.finish()?;
    Ok(json!({"id": id, "method": method, "params": params}))
}

pub(super) fn refusal(id: &Value, unheard: &Unheard) -> Value {
    json!({
        "jsonrpc": "2.0", "id": id,
        "error": {"code": SERVER_ERROR, "message": unheard.to_string()},
    })
}
