//! `POST /api/v1/milady/agents/{agentId}/bridge`

use dev::sim::{Fault, Health, Script};
use expect_test::expect;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::simulated_world::SimulatedWorld;
use tests::suite::Request;
use tests::world::minutes;
use tests::{World, check, check_problem, run};
use uuid::Uuid;

use super::{UncallableAgent, agent_on_unreachable_host, call_without_leak, uncallable_agents};

fn message() -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": "status.get", "params": {}})
}

#[test]
fn only_callers_of_the_agents_organization_reach_it() {
    run(async {
        let world = World::new().await;
        let (organization, _) = world.tenant("5").await;
        let (_, stranger) = world.tenant("5").await;
        let agent = world.agent(organization, "running").await;
        let path = agent_path(agent, "/bridge");
        let nobody = world
            .call(Request::new("POST", &path).json(&message()))
            .await;
        assert_eq!(nobody.status(), 401);
        for path in [path, agent_path(Uuid::new_v4(), "/bridge")] {
            let answer = world.post_json(&stranger, &path, &message()).await;
            assert_eq!(answer.json()["error"], "Agent not found");
            assert_eq!(answer.status(), 404);
        }
        let path = "/api/v1/milady/agents/17/bridge";
        let malformed = world.post_json(&stranger, path, &message()).await;
        assert_eq!(malformed.json()["details"][0]["field"], "agentId");
        assert_eq!(malformed.status(), 400);
    });
}

#[test]
fn an_invalid_json_rpc_request_is_refused_with_the_reason() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let path = agent_path(world.agent(organization, "running").await, "/bridge");
        for (body, field) in [
            ("", "body"),
            ("{", "body"),
            ("[]", "body"),
            ("\"x\"", "body"),
            (r#"{"method":"m"}"#, "jsonrpc"),
            (r#"{"jsonrpc":"1.0","method":"m"}"#, "jsonrpc"),
            (r#"{"jsonrpc":2.0,"method":"m"}"#, "jsonrpc"),
            (r#"{"jsonrpc":"2.0"}"#, "method"),
            (r#"{"jsonrpc":"2.0","method":""}"#, "method"),
            (r#"{"jsonrpc":"2.0","method":7}"#, "method"),
            (r#"{"jsonrpc":"2.0","method":"m","id":{}}"#, "id"),
            (r#"{"jsonrpc":"2.0","method":"m","id":[1]}"#, "id"),
            (r#"{"jsonrpc":"2.0","method":"m","id":true}"#, "id"),
            (r#"{"jsonrpc":"2.0","method":"m","params":"p"}"#, "params"),
            (r#"{"jsonrpc":"2.0","method":"m","params":1}"#, "params"),
        ] {
            let request = Request::new("POST", &path).key(&key).body(body);
            let answer = world
                .call(request.header("content-type", "application/json"))
                .await;
            assert_eq!(answer.status(), 400, "{body} {}", answer.text());
            assert_eq!(answer.json()["details"][0]["field"], field, "{body}");
        }
        let long = json!({"jsonrpc": "2.0", "method": "m".repeat(201)});
        assert_eq!(world.post_json(&key, &path, &long).await.status(), 400);
        let long = json!({"jsonrpc": "2.0", "method": "ü".repeat(200)});
        assert_eq!(world.post_json(&key, &path, &long).await.status(), 200);
        let text = Request::new("POST", &path).key(&key).body("x");
        let text = text.header("content-type", "text/plain");
        assert_eq!(world.call(text).await.status(), 415);
        let large = json!({"jsonrpc": "2.0", "method": "m", "params": ["x".repeat(1 << 20)]});
        assert_eq!(world.post_json(&key, &path, &large).await.status(), 413);
    });
}

#[test]
fn an_agent_that_does_not_run_is_a_json_rpc_error_with_the_requests_id() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        for UncallableAgent { agent, columns } in uncallable_agents(&world, organization).await {
            for id in [json!(7), json!("seven"), json!(null)] {
                let mut message = message();
                message["id"] = id.clone();
                let path = agent_path(agent, "/bridge");
                let answer = world.post_json(&key, &path, &message).await;
                assert_eq!(answer.status(), 200, "{columns}");
                let expected = json!({
                    "jsonrpc": "2.0", "id": id,
                    "error": {"code": -32000, "message": "Sandbox is not running"},
                });
                assert_eq!(answer.json(), expected, "{columns}");
            }
        }
    });
}

#[test]
fn an_unreachable_host_is_a_json_rpc_error_without_its_address() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = agent_on_unreachable_host(&world, organization).await;
        let request = Request::new("POST", &agent_path(agent, "/bridge")).key(&key);
        let answer = call_without_leak(&world, "agent-bridge", &request.json(&message())).await;
        check(
            &answer,
            expect![[r#"
                200 application/json
                {
                  "error": {
                    "code": -32000,
                    "message": "Sandbox bridge is unreachable"
                  },
                  "id": 7,
                  "jsonrpc": "2.0"
                }
            "#]],
        );
    });
}

#[test]
fn a_huge_or_broken_answer_of_an_agent_fails_its_own_request_only() {
    run(async {
        let fleet = SimulatedWorld::new(vec![Script::new("n1")], 1, Health::Healthy).await;
        let (world, key) = (&fleet.world, &fleet.operator);
        let agent = fleet.agents[0][0];
        world.set_columns(agent, "bridge_port = web_ui_port").await;
        let ask = async || {
            let path = agent_path(agent, "/bridge");
            let answer = world.post_json(key, &path, &message()).await;
            assert_eq!(answer.status(), 200, "{answer:?}");
            answer.json()["error"]["message"].clone()
        };
        let host = &fleet.sim.hosts()[0];
        for (minute, (fault, error, reason)) in (0_i64..).zip([
            (
                Fault::HugeAnswers(51 << 20),
                "Bridge returned an answer that is too long",
                "The agent's state is larger than 50 MB",
            ),
            (
                Fault::Answers(br#"{"jsonrpc": "2.0", "re"#),
                "Bridge returned an invalid answer",
                "The agent did not answer with a valid state",
            ),
        ]) {
            // A snapshot counts, although it fails.
            world.set_clock(minutes(minute)).await;
            host.update_script(|script| script.fault = Some(fault))
                .await;
            assert_eq!(ask().await, json!(error), "{error}");
            let snapshot = world.post(key, &agent_path(agent, "/snapshot")).await;
            check_problem(&snapshot, 502, reason);
        }
        // The same instance goes on. A simulated agent has no bridge.
        host.update_script(|script| script.fault = None).await;
        assert_eq!(ask().await, json!("Bridge returned HTTP 404"));
        let backups = "SELECT count(*) FROM milady_sandbox_backups";
        assert_eq!(world.count(backups).await, 0);
    });
}

/// Origins: `json.dumps` of Python and `JSON.stringify` before ES2019 write half an emoji as a lone surrogate; Lambda's
/// quota for a synchronous response is 6,291,556 bytes.
#[test]
fn f91_f92_an_answer_is_passed_on_as_it_is_unless_lambda_could_not_return_it() {
    run(async {
        let fleet = SimulatedWorld::new(vec![Script::new("n1")], 1, Health::Healthy).await;
        let (world, key) = (&fleet.world, &fleet.operator);
        let agent = fleet.agents[0][0];
        world.set_columns(agent, "bridge_port = web_ui_port").await;
        // 4.5 MB that become 7.5 MB.
        let long = format!("{{\"result\":[{}0]}}", "\"\",".repeat(1_500_000));
        let long: &'static str = Box::leak(long.into_boxed_str());
        let too_long = json!({"jsonrpc": "2.0", "id": 7, "error": {
            "code": -32000, "message": "Bridge returned an answer that is too long",
        }})
        .to_string();
        let surrogate = r#"{"jsonrpc":"2.0","id":7,"result":{"text":"\ud83d"}}"#;
        for (answer, expected) in [(surrogate, surrogate), (long, too_long.as_str())] {
            let fault = Fault::Answers(answer.as_bytes());
            fleet.sim.hosts()[0]
                .update_script(|script| script.fault = Some(fault))
                .await;
            let path = agent_path(agent, "/bridge");
            let response = world.post_json(key, &path, &message()).await;
            assert_eq!(response.status(), 200);
            assert_eq!(response.text(), expected);
        }
    });
}
