//! `POST /api/v1/milady/agents/{agentId}/stream`

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::Request;
use tests::{World, run};
use uuid::Uuid;

use super::{UncallableAgent, agent_on_unreachable_host, call_without_leak, uncallable_agents};

fn message() -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": "message.send", "params": {"text": "Hello"}})
}

/// The event that a client gets if its message did not reach the agent.
fn failure(id: &Value, message: &str) -> String {
    let error = json!({
        "jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": message},
        "message": message,
    });
    format!("event: error\ndata: {error}\n\n")
}

#[test]
fn only_callers_of_the_agents_organization_reach_it() {
    run(async {
        let world = World::new().await;
        let (organization, _) = world.tenant("5").await;
        let (_, stranger) = world.tenant("5").await;
        let agent = world.agent(organization, "running").await;
        let path = agent_path(agent, "/stream");
        let nobody = world
            .call(Request::new("POST", &path).json(&message()))
            .await;
        assert_eq!(nobody.status(), 401);
        for path in [path, agent_path(Uuid::new_v4(), "/stream")] {
            let answer = world.post_json(&stranger, &path, &message()).await;
            assert_eq!(answer.json()["error"], "Agent not found");
            assert_eq!(answer.status(), 404);
        }
        for id in ["17", "%00", "11111111-2222-4333-8444-55555555555%35"] {
            let path = format!("/api/v1/milady/agents/{id}/stream");
            let malformed = world.post_json(&stranger, &path, &message()).await;
            assert_eq!(malformed.json()["details"][0]["field"], "agentId", "{id}");
            assert_eq!(malformed.status(), 400);
        }
    });
}

#[test]
fn an_invalid_message_is_refused_with_the_reason() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let path = agent_path(world.agent(organization, "running").await, "/stream");
        for (change, field) in [
            (json!({"jsonrpc": "1.0"}), "jsonrpc"),
            (json!({"id": {}}), "id"),
            (json!({"method": null}), "method"),
            (json!({"method": "status.get"}), "method"),
            (json!({"params": "Hello"}), "params"),
            (json!({"params": null}), "params.text"),
            (json!({"params": {}}), "params.text"),
            (json!({"params": ["Hello"]}), "params.text"),
            (json!({"params": {"text": 7}}), "params.text"),
            (
                json!({"params": {"text": "x", "roomId": 7}}),
                "params.roomId",
            ),
        ] {
            let mut message = message();
            for (name, value) in change.as_object().expect("fields") {
                message[name] = value.clone();
            }
            let answer = world.post_json(&key, &path, &message).await;
            assert_eq!(answer.status(), 400, "{change} {}", answer.text());
            assert_eq!(answer.json()["details"][0]["field"], field, "{change}");
            let kind = answer.header("content-type");
            assert_eq!(kind, Some("application/json"));
        }
        for body in ["", "{", "[]"] {
            let request = Request::new("POST", &path).key(&key).body(body);
            let answer = world
                .call(request.header("content-type", "application/json"))
                .await;
            assert_eq!(answer.json()["details"][0]["field"], "body", "{body}");
            assert_eq!(answer.status(), 400, "{body}");
        }
        let text = Request::new("POST", &path).key(&key).body("x");
        let text = text.header("content-type", "text/plain");
        assert_eq!(world.call(text).await.status(), 415);
        let mut large = message();
        large["params"]["text"] = json!("x".repeat(1 << 20));
        assert_eq!(world.post_json(&key, &path, &large).await.status(), 413);
    });
}

#[test]
fn an_agent_that_does_not_run_is_one_error_event_and_the_stream_ends() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let instance = world.function("agent-stream").start().await;
        for UncallableAgent { agent, columns } in uncallable_agents(&world, organization).await {
            for id in [json!(7), json!("seven"), json!(null)] {
                let mut message = message();
                message["id"] = id.clone();
                let request = Request::new("POST", &agent_path(agent, "/stream")).key(&key);
                let event = world.event(&request.json(&message));
                let limit = Duration::from_secs(30);
                let streamed = instance.invoke_streaming(event, limit).await;
                let mut streamed = streamed.expect("a stream");
                assert_eq!(streamed.prelude["statusCode"], 200, "{columns}");
                let headers = &streamed.prelude["headers"];
                assert_eq!(headers["content-type"], "text/event-stream");
                assert_eq!(headers["cache-control"], "no-store");
                assert!(headers["x-request-id"].is_string());
                let mut body = Vec::new();
                while let Some(chunk) = streamed.body.next().await {
                    body.extend_from_slice(&chunk.expect("a chunk"));
                }
                let body = String::from_utf8(body).expect("a text");
                assert_eq!(body, failure(&id, "Sandbox is not running"), "{columns}");
            }
        }
    });
}

#[test]
fn an_unreachable_host_is_an_error_event_without_its_address() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = agent_on_unreachable_host(&world, organization).await;
        let request = Request::new("POST", &agent_path(agent, "/stream")).key(&key);
        let answer = call_without_leak(&world, "agent-stream", &request.json(&message())).await;
        assert_eq!(answer.status(), 200);
        let expected = failure(&json!(7), "Sandbox bridge is unreachable");
        assert_eq!(answer.text(), expected);
    });
}
