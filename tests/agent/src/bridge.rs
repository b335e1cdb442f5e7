//! The bridge: JSON-RPC 2.0 in, JSON-RPC 2.0 out.
//!
//! | method | params | result |
//! |---|---|---|
//! | `message.send` | `text`, `roomId?` | `text`, and `roomId` if sent |
//! | `status.get` | | `memories`: the number of stored messages |
//! | `name.get` | | `name`: the value of the environment variable `AGENT_NAME` |
//! | `env.get` | `name` | `value`: the value of that environment variable, null if unset |
//! | `file.write` | `path`, `text` | `files`: the number of files in the workspace |

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::state::State;

/// The code and message of a JSON-RPC error.
#[derive(Debug, PartialEq, Eq)]
pub struct RpcError {
    code: i32,
    message: &'static str,
}

impl RpcError {
    const PARSE_ERROR: Self = Self::new(-32700, "Parse error");
    const INVALID_REQUEST: Self = Self::new(-32600, "Invalid Request");
    const METHOD_NOT_FOUND: Self = Self::new(-32601, "Method not found");
    const INVALID_PARAMS: Self = Self::new(-32602, "Invalid params");
    /// The agent could not write its state.
    pub const INTERNAL_ERROR: Self = Self::new(-32603, "Internal error");

    const fn new(code: i32, message: &'static str) -> Self {
        Self { code, message }
    }
}

/// A parsed request.
#[derive(Debug, PartialEq)]
pub struct Call {
    /// Returned unchanged in the answer; null if the request has none.
    pub id: Value,
    method: String,
    params: Value,
}

impl Call {
    /// Parses a request body. The error is the complete answer to a body that is not a JSON-RPC
    /// request.
    pub fn read(body: &[u8]) -> Result<Self, Value> {
        let request: Value = serde_json::from_slice(body)
            .map_err(|_| response(&Value::Null, Err(RpcError::PARSE_ERROR)))?;
        let id = request.get("id").cloned().unwrap_or_default();
        match (request["jsonrpc"].as_str(), request["method"].as_str()) {
            (Some("2.0"), Some(method)) => Ok(Self {
                id,
                method: method.to_owned(),
                params: request.get("params").cloned().unwrap_or_default(),
            }),
            _ => Err(response(&id, Err(RpcError::INVALID_REQUEST))),
        }
    }

    /// Whether this is the only method that can be streamed.
    pub fn is_message(&self) -> bool {
        self.method == "message.send"
    }

    /// Carries out the call. `variable` looks up an environment variable.
    pub fn perform(
        &self,
        state: &mut State,
        variable: impl Fn(&str) -> Option<String>,
        now: SystemTime,
    ) -> Result<Value, RpcError> {
        let text = |name: &str| self.params[name].as_str().ok_or(RpcError::INVALID_PARAMS);
        match self.method.as_str() {
            "message.send" => {
                let reply = state.converse(text("text")?, now);
                let mut result = json!({ "text": reply });
                if let Some(room) = self.params.get("roomId") {
                    result["roomId"] = room.clone();
                }
                Ok(result)
            }
            "status.get" => Ok(json!({ "memories": state.memories.len() })),
            "name.get" => Ok(json!({ "name": variable("AGENT_NAME") })),
            "env.get" => Ok(json!({ "value": variable(text("name")?) })),
            "file.write" => {
                let (path, content) = (text("path")?.to_owned(), text("text")?.to_owned());
                state.workspace_files.insert(path, content);
                Ok(json!({ "files": state.workspace_files.len() }))
            }
            _ => Err(RpcError::METHOD_NOT_FOUND),
        }
    }
}

pub fn response(id: &Value, outcome: Result<Value, RpcError>) -> Value {
    match outcome {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(RpcError { code, message }) => {
            json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    /// The response of an agent whose only environment variable is `AGENT_NAME`.
    fn ask(state: &mut State, body: &Value) -> Value {
        let variable = |name: &str| (name == "AGENT_NAME").then(|| "a \"$(b)\"\n".to_owned());
        match Call::read(body.to_string().as_bytes()) {
            Ok(call) => response(&call.id, call.perform(state, variable, UNIX_EPOCH)),
            Err(response) => response,
        }
    }

    fn request(method: &str, params: &Value) -> Value {
        json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    }

    #[test]
    fn every_method_answers_and_messages_are_stored() {
        let mut state = State::default();
        for (method, params, result) in [
            ("status.get", json!(null), json!({"memories": 0})),
            (
                "message.send",
                json!({"text": "hi"}),
                json!({"text": "You said: hi"}),
            ),
            (
                "message.send",
                json!({"text": "", "roomId": "r"}),
                json!({"text": "You said: ", "roomId": "r"}),
            ),
            ("status.get", json!({}), json!({"memories": 4})),
            ("name.get", json!({}), json!({"name": "a \"$(b)\"\n"})),
            (
                "env.get",
                json!({"name": "AGENT_NAME"}),
                json!({"value": "a \"$(b)\"\n"}),
            ),
            ("env.get", json!({"name": "X"}), json!({"value": null})),
            (
                "file.write",
                json!({"path": "a/b", "text": "c"}),
                json!({"files": 1}),
            ),
        ] {
            let expected = json!({"jsonrpc": "2.0", "id": 1, "result": result});
            assert_eq!(ask(&mut state, &request(method, &params)), expected);
        }
        assert_eq!(state.workspace_files["a/b"], "c");
    }

    #[test]
    fn invalid_requests_get_the_standard_error_codes() {
        let mut state = State::default();
        for (body, code) in [
            (json!([]), -32600),
            (
                json!({"jsonrpc": "1.0", "id": 1, "method": "status.get"}),
                -32600,
            ),
            (json!({"jsonrpc": "2.0", "id": 1}), -32600),
            (request("nothing.do", &json!({})), -32601),
            (request("message.send", &json!({})), -32602),
            (request("message.send", &json!({"text": 1})), -32602),
            (request("env.get", &json!([])), -32602),
        ] {
            assert_eq!(ask(&mut state, &body)["error"]["code"], code, "{body}");
        }
        let response = Call::read(b"{").unwrap_err();
        assert_eq!(response["error"]["code"], -32700);
        assert_eq!(response["id"], Value::Null);
        assert_eq!(state, State::default());
    }

    #[test]
    fn response_repeats_the_request_id() {
        for id in [json!("text"), json!(0), Value::Null] {
            let body = json!({"jsonrpc": "2.0", "id": id, "method": "status.get"});
            assert_eq!(ask(&mut State::default(), &body)["id"], id);
        }
    }
}
