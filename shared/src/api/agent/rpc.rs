//! Messages to agents: JSON-RPC 2.0. Owns: which requests are passed on, and the error that stands in for an
//! agent's answer.

use lambda_http::Request;
use schemars::JsonSchema;
use serde_json::{Value, json};

use crate::api::body;
use crate::api::problem::Problem;
use crate::app::agent::bridge::BridgeError;

/// JSON-RPC's code for errors of the server.
const SERVER_ERROR: i32 = -32_000;
pub(super) const VERSION: &str = "2.0";
const MAX_METHOD_CHARS: usize = 200;

#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
pub(super) struct RpcRequest {
    #[schemars(extend("const" = VERSION))]
    jsonrpc: String,
    id: Option<RpcId>,
    #[schemars(length(min = 1, max = MAX_METHOD_CHARS))]
    method: String,
    params: Option<RpcParams>,
}

#[derive(JsonSchema)]
#[schemars(inline, extend("type" = ["string", "number", "null"]))]
pub(super) struct RpcId;

#[derive(JsonSchema)]
#[schemars(inline, extend("type" = ["object", "array", "null"]))]
struct RpcParams;

/// Reads the body, which must be a JSON-RPC request. Returns its `id`, `method` and `params`.
pub(super) fn read(request: &Request) -> Result<Value, Problem> {
    let mut fields = body::object(request)?;
    let id = fields.take("id").unwrap_or_default();
    if !(id.is_null() || id.is_string() || id.is_number()) {
        fields.refuse("id", "must be a string or a number");
    }
    fields.text("jsonrpc", "must be 2.0", |version| version == VERSION);
    let rule = "must be 1 to 200 characters";
    let is_short = |method: &str| (1..=MAX_METHOD_CHARS).contains(&method.chars().count());
    let method = fields.text("method", rule, is_short);
    let params = fields.take("params").unwrap_or_default();
    if !(params.is_null() || params.is_object() || params.is_array()) {
        fields.refuse("params", "must be an object or an array");
    }
    fields.finish()?;
    Ok(json!({"id": id, "method": method, "params": params}))
}

/// The JSON-RPC error for the request with this id.
pub(super) fn error(id: &Value, error: &BridgeError) -> Value {
    json!({
        "jsonrpc": "2.0", "id": id,
        "error": {"code": SERVER_ERROR, "message": error.to_string()},
    })
}
