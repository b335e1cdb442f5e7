//! Limits per agent and hour.

use tests::calls::agent_path;
use tests::suite::Response;
use tests::world::minutes;
use tests::{World, check_problem, run};

const STARTS: &str = "The limit startsPerAgentAndHour of 10 is reached; please try again later";
const SNAPSHOTS: &str =
    "The limit snapshotsPerAgentAndHour of 6 is reached; please try again later";

fn retry_after(response: &Response) -> Option<&str> {
    response.header("retry-after")
}

#[test]
fn f63_an_agents_eleventh_start_within_an_hour_is_refused() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let agent = world.agent(organization, "pending").await;
        let path = agent_path(agent, "/provision");
        for minute in 0..10 {
            world.set_clock(minutes(minute)).await;
            assert_eq!(world.post(&key, &path).await.status(), 202, "{minute}");
            // The first request is repeated while its job is active: that is no start.
            assert_eq!(world.post(&key, &path).await.status(), 409, "{minute}");
            world
                .execute("UPDATE jobs SET status = 'failed' WHERE status = 'pending'")
                .await;
        }
        let refused = world.post(&key, &path).await;
        check_problem(&refused, 429, STARTS);
        // The first start was nine minutes ago.
        assert_eq!(retry_after(&refused), Some("3060"));
        world.backup(agent, "auto").await;
        world.set_columns(agent, "status = 'stopped'").await;
        let restore = world.post(&key, &agent_path(agent, "/restore")).await;
        check_problem(&restore, 429, STARTS);
        let another = world.agent(organization, "pending").await;
        let response = world.post(&key, &agent_path(another, "/provision")).await;
        assert_eq!(response.status(), 202, "{response:?}");
        world.set_clock(minutes(60)).await;
        assert_eq!(world.post(&key, &path).await.status(), 202);
    });
}

#[test]
fn an_agents_seventh_manual_snapshot_within_an_hour_is_refused() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let agent = world.agent(organization, "running").await;
        let path = agent_path(agent, "/snapshot");
        for _ in 0..6 {
            world.backup(agent, "manual").await;
            world.backup(agent, "auto").await;
        }
        let refused = world.post(&key, &path).await;
        check_problem(&refused, 429, SNAPSHOTS);
        assert_eq!(retry_after(&refused), Some("3600"));
        world.set_clock(minutes(60)).await;
        // Only its host is missing now.
        let response = world.post(&key, &path).await;
        check_problem(&response, 409, "Sandbox is not running");
    });
}
