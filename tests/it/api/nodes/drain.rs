//! `GET|POST|DELETE /api/v1/admin/docker-nodes/{nodeId}/drain` and `POST /api/v1/admin/agents/{agentId}/move`

use serde_json::{Value, json};
use tests::suite::{Request, Response};
use tests::{World, check_field_errors, run};
use uuid::Uuid;

use super::{
    NODES, agent_with, audit_entries, host_rows, register_closed_host, status_and_error, update,
};

async fn call(world: &World, key: &str, method: &str, node: &str) -> Response {
    let request = Request::new(method, &format!("{NODES}/{node}/drain"));
    world.call(request.key(key)).await
}

#[test]
fn a_plan_says_what_a_drain_does_with_each_agent_and_what_stays_behind() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        let organization = world.organization("10").await;
        let mut expected = Vec::new();
        for (status, columns, fate) in [
            ("running", "node_id = 'n1', container_name = 'c1'", "moves"),
            (
                "disconnected",
                "node_id = 'n1', container_name = 'c2'",
                "waits",
            ),
            (
                "stopped",
                "node_id = 'n1', last_backup_at = billing_clock()",
                "saved",
            ),
            (
                "stopped",
                "node_id = 'n1', unsaved_since = billing_clock()",
                "unsaved",
            ),
            ("stopped", "node_id = 'n1', last_backup_at = NULL", "empty"),
        ] {
            let agent = agent_with(&world, organization, status, columns).await;
            expected.push((json!(agent), json!(fate)));
        }
        agent_with(&world, organization, "running", "node_id = 'n2'").await;
        let plan = call(&world, &key, "GET", "n1").await;
        assert_eq!(plan.status(), 200, "{plan:?}");
        let data = &plan.json()["data"];
        let agents = data["agents"].as_array().expect("agents").iter();
        let mut found: Vec<(Value, Value)> = agents
            .map(|agent| (agent["agentId"].clone(), agent["fate"].clone()))
            .collect();
        let order = |(agent, _): &(Value, Value)| agent.to_string();
        found.sort_by_key(order);
        expected.sort_by_key(order);
        assert_eq!(found, expected);
        assert_eq!(data["requestedAt"], Value::Null);
        // A plan changes nothing.
        assert_eq!(host_rows(&world).await[0]["enabled"], json!(true));
        assert_eq!(audit_entries(&world).await, Vec::<Value>::new());
    });
}

#[test]
fn a_drain_begins_changes_and_is_cancelled() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        let mut begun = call(&world, &key, "POST", "n1").await.json();
        assert!(begun["data"]["requestedBy"].is_string(), "{begun}");
        begun["data"]["requestedBy"] = Value::Null;
        let expected = json!({"success": true, "data": {
            "nodeId": "n1", "requestedAt": begun["data"]["requestedAt"], "requestedBy": null, "movesAtOnce": 2,
            "doneAt": null, "moved": 0, "agents": [],
        }});
        assert_eq!(begun, expected);
        let body = json!({"movesAtOnce": 5});
        let path = format!("{NODES}/n1/drain");
        let changed = world.post_json(&key, &path, &body).await.json();
        assert_eq!(changed["data"]["movesAtOnce"], json!(5));
        assert_eq!(changed["data"]["requestedAt"], begun["data"]["requestedAt"]);
        let enabled = update(&world, &key, "n1", &json!({"enabled": true})).await;
        assert_eq!(
            status_and_error(&enabled),
            (
                409,
                "The host is drained; cancel the drain first".to_owned()
            )
        );
        let cancelled = call(&world, &key, "DELETE", "n1").await;
        assert_eq!(cancelled.json()["data"]["requestedAt"], Value::Null);
        assert_eq!(host_rows(&world).await[0]["enabled"], json!(true));
        let repeated = call(&world, &key, "DELETE", "n1").await;
        assert_eq!(
            status_and_error(&repeated),
            (409, "The host is not being drained".to_owned())
        );
        let actions = audit_entries(&world).await;
        let actions: Vec<&Value> = actions.iter().map(|entry| &entry["action"]).collect();
        let expected =
            ["node.drain", "node.drain", "node.drain_cancel"].map(|action| json!(action));
        assert_eq!(actions, expected.iter().collect::<Vec<_>>());
    });
}

#[test]
fn a_drain_of_a_host_that_was_disabled_leaves_it_disabled() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        update(&world, &key, "n1", &json!({"enabled": false})).await;
        assert_eq!(call(&world, &key, "POST", "n1").await.status(), 200);
        assert_eq!(call(&world, &key, "DELETE", "n1").await.status(), 200);
        assert_eq!(host_rows(&world).await[0]["enabled"], json!(false));
    });
}

#[test]
fn an_unknown_host_and_a_number_out_of_range_are_refused() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        for method in ["GET", "POST", "DELETE"] {
            assert_eq!(call(&world, &key, method, "n2").await.status(), 404);
        }
        let path = format!("{NODES}/n1/drain");
        for moves_at_once in [json!(0), json!(21), json!("2"), json!(1.5)] {
            let body = json!({"movesAtOnce": moves_at_once});
            let refused = world.post_json(&key, &path, &body).await;
            let rule = "must be a whole number from 1 to 20";
            let text = format!("movesAtOnce {rule}");
            check_field_errors(&refused, &text, &[("movesAtOnce", rule)]);
        }
        assert_eq!(host_rows(&world).await[0]["enabled"], json!(true));
    });
}

#[test]
fn only_an_agent_that_runs_and_has_somewhere_to_go_is_moved() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        let organization = world.organization("10").await;
        let place = "node_id = 'n1', container_name = 'c'";
        let running = agent_with(&world, organization, "running", place).await;
        let stopped = agent_with(&world, organization, "stopped", "node_id = 'n1'").await;
        let start = async |agent: String| {
            let path = format!("/api/v1/admin/agents/{agent}/move");
            world.post(&key, &path).await
        };
        assert_eq!(start("no-uuid".to_owned()).await.status(), 400);
        assert_eq!(start(Uuid::nil().to_string()).await.status(), 404);
        assert_eq!(
            status_and_error(&start(stopped.to_string()).await),
            (409, "Agent is not running".to_owned())
        );
        assert_eq!(
            status_and_error(&start(running.to_string()).await),
            (409, "No other host has a free slot".to_owned())
        );
        world
            .execute(
                "INSERT INTO docker_nodes (node_id, hostname, ssh_port) VALUES ('n2', '127.0.0.1', 9)",
            )
            .await;
        let (_, owner) = world.tenant("0").await;
        let path = format!("/api/v1/admin/agents/{running}/move");
        assert_eq!(world.post(&owner, &path).await.status(), 403);
        assert_eq!(audit_entries(&world).await, Vec::<Value>::new());
        let accepted = start(running.to_string()).await;
        assert_eq!(accepted.status(), 202, "{accepted:?}");
        assert_eq!(accepted.json()["data"]["fromNode"], json!("n1"));
        assert_eq!(
            status_and_error(&start(running.to_string()).await),
            (409, "A job is under way for this agent".to_owned())
        );
        let entries = audit_entries(&world).await;
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0]["action"], json!("agent.move"));
        assert_eq!(entries[0]["details"]["fromNode"], json!("n1"));
    });
}
