//! How many streams of an organization are open at a time, and other requests that hold their connection for long. Those
//! that wait for a job are tested in `jobs::waits`.

use std::time::Duration;

use dev::host::SilentPort;
use dev::runtime::Outcome;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::Request;
use tests::world::minutes;
use tests::{World, check_limit, check_problem, run, wait_until};
use uuid::Uuid;

use super::retry_after;

const ROWS: &str = "SELECT count(*) FROM cloud.open_streams";

/// Both routes take it.
fn message() -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": "message.send", "params": {"text": "Hello"}})
}

/// Inserts the row of a stream that expires so many seconds after the test's time begins.
async fn open_stream(world: &World, organization: Uuid, seconds: i32) {
    sqlx::query(
        "INSERT INTO cloud.open_streams (organization_id, expires_at)
        VALUES ($1, billing_clock() + make_interval(secs => $2))",
    )
    .bind(organization)
    .bind(f64::from(seconds))
    .execute(&world.pool)
    .await
    .expect("a stream");
}

#[test]
fn f49_a_21st_open_stream_is_refused_until_one_has_ended_or_expired() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let agent = world.agent(organization, "pending").await;
        let path = agent_path(agent, "/stream");
        // Those of functions that were killed.
        for n in 0..20 {
            open_stream(&world, organization, 60 + n).await;
        }
        let refused = world.post_json(&key, &path, &message()).await;
        let text = "Open streams are limited to 20 per organization; please try again later";
        check_limit(&refused, 429, text, ("openStreams", 20, 20));
        assert_eq!(retry_after(&refused), Some("60"));
        // So is any other request that may hold its connection for long.
        let bridge = agent_path(agent, "/bridge");
        let refused = world.post_json(&key, &bridge, &message()).await;
        check_limit(&refused, 429, text, ("openStreams", 20, 20));
        let (others, others_key) = world.tenant("50").await;
        let others_path = agent_path(world.agent(others, "pending").await, "/stream");
        let response = world.post_json(&others_key, &others_path, &message()).await;
        assert_eq!(response.status(), 200, "{response:?}");
        world.set_clock(minutes(1)).await;
        for _ in 0..3 {
            // The agent does not run, so that the stream ends at once, and its place is free again.
            for path in [&path, &bridge] {
                let response = world.post_json(&key, path, &message()).await;
                assert_eq!(response.status(), 200, "{response:?}");
            }
        }
        assert_eq!(world.count(ROWS).await, 19);
        world.set_limit(organization, "open_streams", 18).await;
        let refused = world.post_json(&key, &path, &message()).await;
        let text = "Open streams are limited to 18 per organization; please try again later";
        check_limit(&refused, 429, text, ("openStreams", 19, 18));
        // Two of them must end.
        assert_eq!(retry_after(&refused), Some("2"));
        world.set_limit(organization, "open_streams", 0).await;
        let refused = world.post_json(&key, &path, &message()).await;
        let text = "Open streams are limited to 0 per organization";
        check_limit(&refused, 409, text, ("openStreams", 19, 0));
    });
}

#[test]
fn f49_a_stream_that_was_not_opened_leaves_no_row() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let (_, stranger) = world.tenant("50").await;
        let agent = world.agent(organization, "running").await;
        for route in ["/stream", "/bridge"] {
            let path = agent_path(agent, route);
            let answer = world.post_json(&stranger, &path, &message()).await;
            check_problem(&answer, 404, "Agent not found");
            let answer = world.post_json(&key, &path, &message()).await;
            assert_eq!(answer.status(), 200, "{answer:?}");
            assert_eq!(world.count(ROWS).await, 0, "{route}");
        }
    });
}

#[test]
fn f49_simultaneous_requests_open_no_more_streams_than_allowed() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        world.set_limit(organization, "open_streams", 3).await;
        // As if no stream ended.
        world
            .execute(
                "CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
                CREATE TRIGGER keep BEFORE DELETE ON cloud.open_streams
                    FOR EACH ROW EXECUTE FUNCTION public.keep()",
            )
            .await;
        let agent = world.agent(organization, "pending").await;
        let request = |route| {
            let request = Request::new("POST", &agent_path(agent, route)).key(&key);
            request.json(&message())
        };
        let requests = (0..6).flat_map(|_| ["/stream", "/bridge"]);
        let requests = requests.map(|route| world.call_on_new_instance(request(route)));
        let answers = futures_util::future::join_all(requests).await;
        let with = |status| answers.iter().filter(|one| one.status() == status).count();
        assert_eq!((with(200), with(429)), (3, 9), "{answers:?}");
    });
}

#[test]
fn f49_a_request_that_a_host_does_not_answer_is_an_open_stream() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        world.set_limit(organization, "open_streams", 1).await;
        let silent = SilentPort::start().expect("a silent host");
        let host =
            "INSERT INTO docker_nodes (node_id, hostname, ssh_port) VALUES ('n1', '127.0.0.1', $1)";
        sqlx::query(host)
            .bind(i32::from(silent.port()))
            .execute(&world.pool)
            .await
            .expect("a host");
        let agent = world.agent(organization, "running").await;
        let columns = "node_id = 'n1', container_name = 'c', bridge_port = 20000";
        world.set_columns(agent, columns).await;
        let bridge = Request::new("POST", &agent_path(agent, "/bridge")).json(&message());
        let logs = Request::new("GET", &agent_path(agent, "/logs"));
        for request in [bridge, logs] {
            let request = request.key(&key);
            let waiting = world.function_for(&request).start().await;
            let event = world.event(&request);
            let meanwhile = async {
                wait_until("the request is counted", async || {
                    world.count(ROWS).await == 1
                })
                .await;
                let refused = world.call(request).await;
                let text = "Open streams are limited to 1 per organization; please try again later";
                check_limit(&refused, 429, text, ("openStreams", 1, 1));
                waiting.kill().await;
            };
            let (outcome, ()) =
                tokio::join!(waiting.invoke(event, Duration::from_secs(30)), meanwhile);
            assert!(matches!(outcome, Outcome::Crashed { .. }), "{outcome:?}");
            // The row of the function that was killed would count until it expires.
            world.execute("DELETE FROM cloud.open_streams").await;
        }
    });
}
