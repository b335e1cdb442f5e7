//! The bridge: JSON-RPC 2.0 in, JSON-RPC 2.0 out.
//!
//! | method | params | result |
//! |---|---|---|
//! | `message.send` | `text`, `roomId?` | `text`, and `roomId` as given |
//! | `status.get` | | `memories`: how many there are |
//! | `name.get` | | `name`: the environment variable `AGENT_NAME` |
//! | `env.get` | `name` | `value`: that environment variable, null when unset |
//! | `file.write` | `path`, `text` | `files`: how many the workspace has |

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::state::State;

/// A refusal: the code and the message of a JSON-RPC error.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    code: i32,
    message: &'static str,
}

impl Refusal {
    const NO_JSON: Self = Self::new(-32700, "Parse error");
    const NO_REQUEST: Self = Self::new(-32600, "Invalid Request");
    const NO_METHOD: Self = Self::new(-32601, "Method not found");
    const BAD_PARAMS: Self = Self::new(-32602, "Invalid params");
    /// The state could not be written.
    pub const NOT_SAVED: Self = Self::new(-32603, "Internal error");

    const fn new(code: i32, message: &'static str) -> Self {
        Self { code, message }
    }
}

/// One request, read.
#[derive(Debug, PartialEq)]
pub struct Call {
    /// Given back as it came; null when there was none.
    pub id: Value,
    method: String,
    params: Value,
}

impl Call {
    /// Reads a body.
    ///
    /// # Errors
    /// The answer to a body that is no JSON-RPC request.
    pub fn read(body: &[u8]) -> Result<Self, Value> {
        let request: Value = serde_json::from_slice(body)
            .map_err(|_| answer(&Value::Null, Err(Refusal::NO_JSON)))?;
        let id = request.get("id").cloned().unwrap_or_default();
        match (request["jsonrpc"].as_str(), request["method"].as_str()) {
            (Some("2.0"), Some(method)) => Ok(Self {
                id,
                method: method.to_owned(),
                params: request.get("params").cloned().unwrap_or_default(),
            }),
            _ => Err(answer(&id, Err(Refusal::NO_REQUEST))),
        }
    }

    /// Whether this is the method a stream may be had of.
    pub fn is_message(&self) -> bool {
        self.method == "message.send"
    }

    /// Does what was asked. `variable` looks up the environment.
    ///
    /// # Errors
    /// What a JSON-RPC error says.
    pub fn perform(
        &self,
        state: &mut State,
        variable: impl Fn(&str) -> Option<String>,
        now: SystemTime,
    ) -> Result<Value, Refusal> {
        let text = |name: &str| self.params[name].as_str().ok_or(Refusal::BAD_PARAMS);
        match self.method.as_str() {
            "message.send" => {
                let said = state.converse(text("text")?, now);
                let mut result = json!({ "text": said });
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
            _ => Err(Refusal::NO_METHOD),
        }
    }
}

/// The answer to the request with this id.
pub fn answer(id: &Value, outcome: Result<Value, Refusal>) -> Value {
    match outcome {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(Refusal { code, message }) => {
            json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    /// What a request is answered with, by an agent whose environment is `AGENT_NAME` alone.
    fn ask(state: &mut State, body: &Value) -> Value {
        let variable = |name: &str| (name == "AGENT_NAME").then(|| "a \"$(b)\"\n".to_owned());
        match Call::read(body.to_string().as_bytes()) {
            Ok(call) => answer(&call.id, call.perform(state, variable, UNIX_EPOCH)),
            Err(refused) => refused,
        }
    }

    fn request(method: &str, params: &Value) -> Value {
        json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    }

    #[test]
    fn every_method_answers_and_messages_are_remembered() {
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
    fn what_is_wrong_with_a_request_is_said_with_the_code_of_the_standard() {
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
        let refused = Call::read(b"{").unwrap_err();
        assert_eq!(refused["error"]["code"], -32700);
        assert_eq!(refused["id"], Value::Null);
        assert_eq!(state, State::default());
    }

    #[test]
    fn an_id_comes_back_as_it_was_sent() {
        for id in [json!("text"), json!(0), Value::Null] {
            let body = json!({"jsonrpc": "2.0", "id": id, "method": "status.get"});
            assert_eq!(ask(&mut State::default(), &body)["id"], id);
        }
    }
}
