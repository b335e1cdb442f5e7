//! `POST /api/v1/milady/agents/{agentId}/suspend` and `PATCH /api/v1/milady/agents/{agentId}`

use expect_test::expect;
use serde_json::json;
use tests::calls::agent_path;
use tests::suite::{Request, Response};
use tests::world::hours;
use tests::{World, audit, check, check_field_errors, check_problem, run};
use uuid::Uuid;

async fn patch(world: &World, key: &str, agent: Uuid, body: &serde_json::Value) -> Response {
    let request = Request::new("PATCH", &agent_path(agent, ""));
    world.call(request.key(key).json(body)).await
}

#[test]
fn a_job_stops_a_running_agent_and_charging_ends_with_the_request() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "running").await;
        world.set_clock(hours(1)).await;
        let first = world.post(&key, &agent_path(agent, "/suspend")).await;
        check(
            &first,
            expect![[r#"
                202 application/json
                {
                  "data": {
                    "action": "suspend",
                    "agentId": "<1>",
                    "jobId": "<2>",
                    "message": "The agent will be stopped as soon as its host answers",
                    "previousStatus": "running"
                  },
                  "message": "The agent will be stopped as soon as its host answers",
                  "polling": {
                    "endpoint": "/api/v1/jobs/<2>",
                    "expectedDurationMs": 90000,
                    "intervalMs": 1000
                  },
                  "success": true
                }
            "#]],
        );
        let repeated = patch(&world, &key, agent, &json!({"action": "shutdown"})).await;
        check(
            &repeated,
            expect![[r#"
                202 application/json
                {
                  "data": {
                    "action": "shutdown",
                    "agentId": "<1>",
                    "jobId": "<2>",
                    "message": "The agent will be stopped as soon as its host answers",
                    "previousStatus": "running"
                  },
                  "message": "The agent will be stopped as soon as its host answers",
                  "polling": {
                    "endpoint": "/api/v1/jobs/<2>",
                    "expectedDurationMs": 90000,
                    "intervalMs": 1000
                  },
                  "success": true
                }
            "#]],
        );
        assert_eq!(
            first.json()["data"]["jobId"],
            repeated.json()["data"]["jobId"]
        );
        assert_eq!(world.jobs_of(agent).await.len(), 1);
        // However late the host answers (F35).
        world.run_billing(5).await;
        assert_eq!(world.charged(organization).await, rust_decimal::dec!(0.02));
    });
}

#[test]
fn suspending_a_stopped_agent_changes_nothing() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "stopped").await;
        check(
            &world.post(&key, &agent_path(agent, "/suspend")).await,
            expect![[r#"
                200 application/json
                {
                  "data": {
                    "action": "suspend",
                    "agentId": "<1>",
                    "message": "Agent is already suspended",
                    "previousStatus": "stopped"
                  },
                  "success": true
                }
            "#]],
        );
        for (action, message) in [
            ("suspend", "Agent is already suspended"),
            ("shutdown", "Agent is already stopped"),
        ] {
            let answer = patch(&world, &key, agent, &json!({"action": action})).await;
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.json()["data"]["message"], message);
            assert_eq!(answer.json()["data"]["action"], action);
        }
    });
}

#[test]
fn an_agent_in_error_without_a_container_is_stopped_at_once() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "error").await;
        world
            .set_columns(agent, "error_message = 'No host is registered'")
            .await;
        check(
            &world.post(&key, &agent_path(agent, "/suspend")).await,
            expect![[r#"
                200 application/json
                {
                  "data": {
                    "action": "suspend",
                    "agentId": "<1>",
                    "message": "Agent suspended",
                    "previousStatus": "error"
                  },
                  "success": true
                }
            "#]],
        );
        // A stop clears the last error (F32).
        let data = world.get(&key, &agent_path(agent, "")).await.json()["data"].clone();
        assert_eq!(
            (&data["status"], &data["errorMessage"]),
            (&json!("stopped"), &json!(null))
        );
        let left = world.agent(organization, "error").await;
        world
            .set_columns(left, "node_id = 'n1', container_name = 'milady-x'")
            .await;
        assert_eq!(
            world
                .post(&key, &agent_path(left, "/suspend"))
                .await
                .status(),
            202
        );
    });
}

#[test]
fn an_agent_that_was_never_started_is_stopped_at_once_and_costs_nothing() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let mut agents = Vec::new();
        for action in ["suspend", "shutdown"] {
            let agent = world.agent(organization, "pending").await;
            let answer = patch(&world, &key, agent, &json!({"action": action})).await;
            let expected = json!({"success": true, "data": {
                "agentId": agent, "action": action, "message": "Agent suspended",
                "previousStatus": "pending",
            }});
            assert_eq!((answer.status(), answer.json()), (200, expected));
            agents.push(agent);
        }
        let by_post = world.agent(organization, "pending").await;
        let answer = world.post(&key, &agent_path(by_post, "/suspend")).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        agents.push(by_post);
        world.run_billing(2).await;
        assert_eq!(world.charged(organization).await, rust_decimal::dec!(0));
        for agent in agents {
            assert_eq!(world.agent_row(agent).await.status, "stopped");
            assert_eq!(world.jobs_of(agent).await.len(), 0);
        }
        assert_eq!(world.start(organization, by_post).await.status(), 202);
    });
}

#[test]
fn a_state_that_allows_no_stop_is_409_with_the_reason() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let pending = world.agent(organization, "pending").await;
        assert_eq!(world.start(organization, pending).await.status(), 202);
        world
            .execute("UPDATE jobs SET status = 'in_progress', attempts = 1")
            .await;
        check_problem(
            &patch(&world, &key, pending, &json!({"action": "suspend"})).await,
            409,
            "Agent provisioning is in progress",
        );
        let deleted = world.agent(organization, "running").await;
        let path = agent_path(deleted, "");
        assert_eq!(
            world
                .call(Request::new("DELETE", &path).key(&key))
                .await
                .status(),
            202
        );
        let refused = world.post(&key, &agent_path(deleted, "/suspend")).await;
        check_problem(&refused, 409, "Agent is being deleted");
    });
}

#[test]
fn a_stop_ends_a_start_that_waits_for_a_worker() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let superseded = |kind: &str| json!({"type": kind, "status": "failed", "attempts": 1, "error": "Superseded by a stop"});
        for status in ["pending", "stopped", "error"] {
            let agent = world.agent(organization, status).await;
            assert_eq!(world.start(organization, agent).await.status(), 202);
            let answer = patch(&world, &key, agent, &json!({"action": "suspend"})).await;
            let expected = json!({"success": true, "data": {
                "agentId": agent, "action": "suspend", "message": "Agent suspended",
                "previousStatus": status,
            }});
            assert_eq!((answer.status(), answer.json()), (200, expected));
            assert_eq!(world.agent_row(agent).await.status, "stopped");
            let jobs = world.jobs_of(agent).await;
            assert_eq!(jobs, [superseded("milady_provision")], "{status}");
            assert_eq!(world.start(organization, agent).await.status(), 202);
        }
        // A restore of a running agent waits like a start.
        let agent = world.agent(organization, "running").await;
        world.backup(agent, "auto").await;
        let restore = world.post(&key, &agent_path(agent, "/restore")).await;
        assert_eq!(restore.status(), 202, "{restore:?}");
        let answer = world.post(&key, &agent_path(agent, "/suspend")).await;
        assert_eq!(answer.status(), 202, "{answer:?}");
        let jobs = world.jobs_of(agent).await;
        assert!(jobs.contains(&superseded("milady_restore")), "{jobs:?}");
        assert_eq!(jobs.len(), 2);
        world.run_billing(2).await;
        audit::check(&world.pool).await;
    });
}

#[test]
fn an_agent_whose_start_job_is_gone_can_be_stopped() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let stuck = world.agent(organization, "provisioning").await;
        assert_eq!(
            world
                .post(&key, &agent_path(stuck, "/suspend"))
                .await
                .status(),
            202
        );
    });
}

#[test]
fn unknown_actions_and_other_tenants_are_refused() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "running").await;
        for body in [
            json!({"action": "restart"}),
            json!({"action": 1}),
            json!({}),
            json!([]),
        ] {
            assert_eq!(
                patch(&world, &key, agent, &body).await.status(),
                400,
                "{body}"
            );
        }
        check_field_errors(
            &patch(&world, &key, agent, &json!({"action": "explode"})).await,
            "action must be shutdown or suspend",
            &[("action", "must be shutdown or suspend")],
        );
        let (_, stranger) = world.tenant("5").await;
        let path = agent_path(agent, "/suspend");
        assert_eq!(world.post(&stranger, &path).await.status(), 404);
        let foreign = patch(&world, &stranger, agent, &json!({"action": "suspend"})).await;
        assert_eq!(foreign.status(), 404);
        assert_eq!(world.agent_row(agent).await.status, "running");
        assert_eq!(world.jobs_of(agent).await.len(), 0);
    });
}
