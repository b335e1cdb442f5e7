//! `POST /api/v1/milady/agents/{agentId}/snapshot`

use tests::calls::agent_path;
use tests::suite::Request;
use tests::world::minutes;
use tests::{World, check_problem, run};
use uuid::Uuid;

use super::{UncallableAgent, agent_on_unreachable_host, call_without_leak, uncallable_agents};

#[test]
fn only_callers_of_the_agents_organization_save_its_state() {
    run(async {
        let world = World::new().await;
        let (organization, _) = world.tenant("5").await;
        let (_, stranger) = world.tenant("5").await;
        let agent = world.agent(organization, "running").await;
        let path = agent_path(agent, "/snapshot");
        let nobody = world.call(Request::new("POST", &path)).await;
        assert_eq!(nobody.status(), 401);
        for path in [path, agent_path(Uuid::new_v4(), "/snapshot")] {
            let answer = world.post(&stranger, &path).await;
            assert_eq!(answer.json()["error"], "Agent not found");
            assert_eq!(answer.status(), 404);
        }
        let malformed = world
            .post(&stranger, "/api/v1/milady/agents/17/snapshot")
            .await;
        assert_eq!(malformed.json()["details"][0]["field"], "agentId");
        assert_eq!(malformed.status(), 400);
    });
}

#[test]
fn a_snapshot_of_an_agent_that_does_not_run_is_refused() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        for UncallableAgent { agent, columns } in uncallable_agents(&world, organization).await {
            let answer = world.post(&key, &agent_path(agent, "/snapshot")).await;
            assert_eq!(
                (answer.status(), answer.json()["error"].as_str()),
                (409, Some("Sandbox is not running")),
                "{columns}"
            );
        }
        let backups = "SELECT count(*) FROM milady_sandbox_backups";
        assert_eq!(world.count(backups).await, 0);
    });
}

#[test]
fn an_unreachable_host_is_reported_without_its_address() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = agent_on_unreachable_host(&world, organization).await;
        let request = Request::new("POST", &agent_path(agent, "/snapshot")).key(&key);
        let answer = call_without_leak(&world, "agent-snapshot", &request).await;
        check_problem(&answer, 503, "The host cannot be reached");
        assert_eq!(answer.header("retry-after"), Some("30"));
    });
}

#[test]
fn the_idempotency_key_of_a_failed_snapshot_can_be_used_again() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = agent_on_unreachable_host(&world, organization).await;
        for minute in 0..2 {
            // The first one counts, although it failed.
            world.set_clock(minutes(minute)).await;
            let request = Request::new("POST", &agent_path(agent, "/snapshot")).key(&key);
            let answer = world.call(request.header("idempotency-key", "k")).await;
            assert_eq!(answer.status(), 503, "{answer:?}");
        }
        let key_count_query = "SELECT count(*) FROM idempotency_keys";
        assert_eq!(world.count(key_count_query).await, 0);
    });
}
