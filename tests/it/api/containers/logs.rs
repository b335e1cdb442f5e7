//! `GET /api/v1/admin/docker-containers/{containerId}/logs`

use tests::suite::Request;
use tests::{World, run};
use uuid::Uuid;

use super::super::agents::{agent_on_unreachable_host, call_without_leak};
use super::LIST;

fn path(id: Uuid, query: &str) -> String {
    format!("{LIST}/{id}/logs{query}")
}

#[test]
fn unknown_agents_invalid_parameters_and_missing_containers_are_refused() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let unknown = world.get(&key, &path(Uuid::new_v4(), "")).await;
        assert_eq!(
            (unknown.status(), unknown.json()["error"].as_str()),
            (404, Some("Container not found"))
        );
        for id in ["17", "milady-x", "..%2f..", "x'%20OR%201=1"] {
            let malformed = world.get(&key, &format!("{LIST}/{id}/logs")).await;
            assert_eq!(malformed.status(), 400, "{id}");
            assert_eq!(malformed.json()["details"][0]["field"], "containerId");
        }
        let organization = world.organization("5").await;
        let agent = world.agent(organization, "pending").await;
        for (query, field) in [
            ("?lines=0", "lines"),
            ("?lines=5001", "lines"),
            ("?lines=x", "lines"),
            ("?since=1w", "since"),
            ("?since=nonsense", "since"),
        ] {
            let answer = world.get(&key, &path(agent, query)).await;
            assert_eq!(answer.status(), 400, "{query}");
            assert_eq!(answer.json()["details"][0]["field"], field, "{query}");
        }
        for columns in [
            "status = 'pending'",
            "status = 'stopped', last_backup_at = now(), node_id = 'n1'",
            "status = 'running', container_name = 'c'",
            // Its host was removed.
            "status = 'running', node_id = 'gone', container_name = 'c'",
            "status = 'error', node_id = 'gone', container_name = 'c'",
        ] {
            let agent = world.agent(organization, "pending").await;
            world.set_columns(agent, columns).await;
            let answer = world.get(&key, &path(agent, "?lines=5000&since=1h")).await;
            assert_eq!(
                (answer.status(), answer.json()["error"].as_str()),
                (409, Some("Agent has no container")),
                "{columns}"
            );
        }
    });
}

#[test]
fn an_unreachable_host_is_reported_without_its_address() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("5").await;
        let agent = agent_on_unreachable_host(&world, organization).await;
        for status in ["running", "error", "disconnected"] {
            world.set_status(agent, status).await;
            let request = Request::new("GET", &path(agent, "")).key(&key);
            let answer = call_without_leak(&world, "container-logs", &request).await;
            assert_eq!(answer.json()["error"], "The host cannot be reached");
            assert_eq!(answer.status(), 503);
            assert_eq!(answer.header("retry-after"), Some("30"));
        }
    });
}
