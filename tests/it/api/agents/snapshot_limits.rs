//! How many snapshots owners may request: of an agent, of all agents within an hour, and at a time.

use tests::calls::agent_path;
use tests::suite::{Request, Response};
use tests::world::minutes;
use tests::{World, check_limit, check_problem, run};
use uuid::Uuid;

use super::retry_after;

/// A snapshot of an agent on such a host counts, and fails.
async fn unreachable_host(world: &World) {
    world
        .execute(
            "INSERT INTO docker_nodes (node_id, hostname, ssh_port) VALUES ('n1', '127.0.0.1', 9)",
        )
        .await;
}

/// A running agent on that host.
async fn running_agent(world: &World, organization: Uuid, bridge_port: i32) -> Uuid {
    let agent = world.agent(organization, "running").await;
    sqlx::query(
        "UPDATE milady_sandboxes SET node_id = 'n1', container_name = 'milady-' || id, bridge_port = $2
        WHERE id = $1",
    )
    .bind(agent)
    .bind(bridge_port)
    .execute(&world.pool)
    .await
    .expect("a place");
    agent
}

fn request(key: &str, agent: Uuid) -> Request {
    Request::new("POST", &agent_path(agent, "/snapshot")).key(key)
}

/// The snapshot was not refused.
fn check_attempted(response: &Response) {
    check_problem(response, 503, "The host cannot be reached");
}

#[test]
fn an_agents_seventh_manual_snapshot_within_an_hour_is_refused() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        unreachable_host(&world).await;
        let agent = running_agent(&world, organization, 20_000).await;
        for minute in 0..6 {
            world.set_clock(minutes(minute)).await;
            world.snapshot_request(organization, agent, 0).await;
            // Nobody requested this one.
            world.backup(agent, "auto").await;
        }
        let refused = world.call(request(&key, agent)).await;
        let text = "Snapshots of an agent are limited to 6 an hour; please try again later";
        check_limit(&refused, 429, text, ("snapshotsPerAgentAndHour", 6, 6));
        // The first one was five minutes ago.
        assert_eq!(retry_after(&refused), Some("3300"));
        world.set_clock(minutes(60)).await;
        check_attempted(&world.call(request(&key, agent)).await);
    });
}

#[test]
fn f49_an_agents_second_manual_snapshot_within_a_minute_is_refused() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        unreachable_host(&world).await;
        let agent = running_agent(&world, organization, 20_000).await;
        world.backup(agent, "pre-shutdown").await;
        world.snapshot_request(organization, agent, 0).await;
        let refused = world.call(request(&key, agent)).await;
        let text = "Snapshots of an agent are limited to 1 a minute; please try again later";
        let reached = ("snapshotsPerAgentAndMinute", 1, 1);
        check_limit(&refused, 429, text, reached);
        assert_eq!(retry_after(&refused), Some("60"));
        let another = running_agent(&world, organization, 20_001).await;
        check_attempted(&world.call(request(&key, another)).await);
        let column = "snapshots_per_agent_and_minute";
        world.set_limit(organization, column, 2).await;
        check_attempted(&world.call(request(&key, agent)).await);
        world.set_limit(organization, column, 1).await;
        world.set_clock(minutes(1)).await;
        check_attempted(&world.call(request(&key, agent)).await);
    });
}

#[test]
fn f49_a_snapshot_that_failed_counts_and_one_that_was_not_attempted_does_not() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        unreachable_host(&world).await;
        let agent = running_agent(&world, organization, 20_000).await;
        let stopped = world.agent(organization, "stopped").await;
        for _ in 0..2 {
            let refused = world.call(request(&key, stopped)).await;
            check_problem(&refused, 409, "Sandbox is not running");
        }
        let keyed = || request(&key, agent).header("idempotency-key", "k");
        check_attempted(&world.call(keyed()).await);
        // Its key is free again, and its place is not.
        let refused = world.call(keyed()).await;
        let text = "Snapshots of an agent are limited to 1 a minute; please try again later";
        check_limit(&refused, 429, text, ("snapshotsPerAgentAndMinute", 1, 1));
        let rows = "SELECT count(*) FROM cloud.snapshot_requests";
        assert_eq!(world.count(rows).await, 1);
        let running =
            "SELECT count(*) FROM cloud.snapshot_requests WHERE running_until > billing_clock()";
        assert_eq!(world.count(running).await, 0);
    });
}

#[test]
fn f49_simultaneous_snapshots_of_an_agent_ask_it_once() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        unreachable_host(&world).await;
        let agent = running_agent(&world, organization, 20_000).await;
        let requests = (0..8).map(|_| world.call_on_new_instance(request(&key, agent)));
        let answers = futures_util::future::join_all(requests).await;
        let with = |status| answers.iter().filter(|one| one.status() == status).count();
        assert_eq!((with(503), with(429)), (1, 7), "{answers:?}");
    });
}

#[test]
fn f49_an_organizations_61st_snapshot_within_an_hour_is_refused() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let (others, others_key) = world.tenant("50").await;
        unreachable_host(&world).await;
        let agent = running_agent(&world, organization, 20_000).await;
        let others_agent = running_agent(&world, others, 20_001).await;
        for _ in 0..60 {
            let another = Uuid::new_v4();
            world.snapshot_request(organization, another, 0).await;
        }
        world.set_clock(minutes(20)).await;
        let refused = world.call(request(&key, agent)).await;
        let text = "Snapshots of all agents are limited to 60 an hour; please try again later";
        check_limit(&refused, 429, text, ("snapshotsPerHour", 60, 60));
        assert_eq!(retry_after(&refused), Some("2400"));
        check_attempted(&world.call(request(&others_key, others_agent)).await);
        let column = "snapshots_per_hour";
        world.set_limit(organization, column, 61).await;
        check_attempted(&world.call(request(&key, agent)).await);
        world.set_limit(organization, column, 0).await;
        let refused = world.call(request(&key, others_agent)).await;
        check_problem(&refused, 404, "Agent not found");
        let another = running_agent(&world, organization, 20_002).await;
        let refused = world.call(request(&key, another)).await;
        let text = "Snapshots of all agents are limited to 0 an hour";
        check_limit(&refused, 409, text, ("snapshotsPerHour", 61, 0));
        assert_eq!(retry_after(&refused), None);
        // What is an hour old does not count, and is forgotten.
        world.set_limit(organization, column, 60).await;
        world.set_clock(minutes(60)).await;
        check_attempted(&world.call(request(&key, agent)).await);
        let rows = "SELECT count(*) FROM cloud.snapshot_requests";
        assert_eq!(world.count(rows).await, 3);
    });
}

#[test]
fn f49_an_eleventh_snapshot_at_a_time_is_refused_until_one_has_ended_or_its_time_is_over() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        unreachable_host(&world).await;
        // Those of functions that were killed.
        for seconds in 20..30 {
            let another = Uuid::new_v4();
            world.snapshot_request(organization, another, seconds).await;
        }
        let first = running_agent(&world, organization, 20_000).await;
        let refused = world.call(request(&key, first)).await;
        let text = "Snapshots that run are limited to 10 per organization; please try again later";
        check_limit(&refused, 429, text, ("runningSnapshots", 10, 10));
        assert_eq!(retry_after(&refused), Some("20"));
        world.set_limit(organization, "running_snapshots", 11).await;
        check_attempted(&world.call(request(&key, first)).await);
        // It has ended.
        let second = running_agent(&world, organization, 20_001).await;
        check_attempted(&world.call(request(&key, second)).await);
        world.set_limit(organization, "running_snapshots", 10).await;
        world.set_clock(minutes(1)).await;
        check_attempted(&world.call(request(&key, first)).await);
    });
}
