//! `GET /api/v1/admin/docker-containers/{containerId}/logs`

use dev::sim::{Fault, Health, Script};
use serde_json::{Value, json};
use tests::simulated_world::SimulatedWorld;
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

/// The newest entry of the audit log, and how many there are.
async fn last_entry(world: &World) -> Value {
    sqlx::query_scalar(
        "SELECT jsonb_build_object('user', user_id, 'action', action, 'subject', subject,
            'result', result, 'details', details - 'settledAt', 'settled', details ? 'settledAt',
            'entries', count(*) OVER ())
        FROM admin_audit_log ORDER BY id DESC LIMIT 1",
    )
    .fetch_one(&world.pool)
    .await
    .expect("an entry")
}

#[test]
fn each_reading_leaves_an_audit_entry_that_says_how_it_ended() {
    run(async {
        let fleet = SimulatedWorld::new(vec![Script::new("n1")], 1, Health::Healthy).await;
        let (world, agent) = (&fleet.world, fleet.agents[0][0]);
        let user: Uuid = sqlx::query_scalar("SELECT id FROM users WHERE organization_id = $1")
            .bind(fleet.organization)
            .fetch_one(&world.pool)
            .await
            .expect("a user");
        let set_fault = async |fault: Option<Fault>| {
            fleet.sim.hosts()[0]
                .update_script(|script| script.fault = fault)
                .await;
        };
        let name = format!("milady-{agent}");
        let entry = |result: &str, reason: Option<&str>, entries: i64| {
            let mut details = json!({"nodeId": "n1", "containerName": name, "agentId": agent});
            if let Some(reason) = reason {
                details["reason"] = json!(reason);
            }
            json!({
                "user": user, "action": "container.logs", "subject": format!("n1/{name}"),
                "result": result, "details": details, "settled": true, "entries": entries,
            })
        };
        let read = async || world.get(&fleet.operator, &path(agent, "")).await.status();
        assert_eq!(read().await, 200);
        assert_eq!(last_entry(world).await, entry("ok", None, 1));
        set_fault(Some(Fault::DockerDown)).await;
        assert_eq!(read().await, 503);
        let reason = Some("Docker does not answer on the host");
        assert_eq!(last_entry(world).await, entry("failed", reason, 2));
        set_fault(None).await;
        fleet.sim.hosts()[0]
            .update_script(|script| script.containers.clear())
            .await;
        assert_eq!(read().await, 409);
        let reason = Some("Agent has no container");
        assert_eq!(last_entry(world).await, entry("refused", reason, 3));
        // Without a container no log is read.
        world.set_columns(agent, "container_name = NULL").await;
        assert_eq!(read().await, 409);
        assert_eq!(last_entry(world).await, entry("refused", reason, 3));
    });
}

#[test]
fn a_log_is_not_read_if_its_audit_entry_cannot_be_written() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        world
            .execute("ALTER TABLE admin_audit_log ADD CONSTRAINT no CHECK (false) NOT VALID")
            .await;
        let organization = world.organization("5").await;
        let agent = agent_on_unreachable_host(&world, organization).await;
        let answer = world.get(&key, &path(agent, "")).await;
        // An attempt would have been 503, because the host cannot be reached.
        assert_eq!(answer.status(), 500, "{answer:?}");
    });
}
