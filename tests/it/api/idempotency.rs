//! `Idempotency-Key`: a key has one effect, however often the request is repeated.

use std::time::Duration;

use dev::runtime::Outcome;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::{Request, Response};
use tests::world::hours;
use tests::{World, run};

const CREATE: &str = "/api/v1/milady/agents";

fn create(key: &str, idempotency_key: &str, name: &str) -> Request {
    let request = Request::new("POST", CREATE)
        .key(key)
        .json(&json!({"agentName": name}));
    request.header("idempotency-key", idempotency_key)
}

#[test]
fn simultaneous_requests_with_one_key_create_one_agent() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("50").await;
        for round in 0..5 {
            let idempotency_key = format!("round-{round}");
            let requests =
                (0..4).map(|_| world.call_on_new_instance(create(&key, &idempotency_key, "a")));
            let responses: Vec<Response> = futures_util::future::join_all(requests).await;
            let mut created: Vec<Value> = Vec::new();
            for answer in &responses {
                match answer.status() {
                    201 => created.push(answer.json()["data"]["id"].clone()),
                    409 => assert!(answer.text().contains("still running"), "{answer:?}"),
                    status => panic!("{status}: {answer:?}"),
                }
            }
            created.dedup();
            assert_eq!(created.len(), 1, "{responses:?}");
        }
        assert_eq!(
            world.count("SELECT count(*) FROM milady_sandboxes").await,
            5
        );
    });
}

#[test]
fn a_repeated_request_gets_the_first_response_and_a_different_one_422() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let first = world.call(create(&key, "once", "a")).await;
        let repeated = world.call(create(&key, "once", "a")).await;
        assert_eq!(
            (first.status(), first.json()),
            (repeated.status(), repeated.json())
        );
        let different = world.call(create(&key, "once", "b")).await;
        assert_eq!(different.status(), 422);
        assert_eq!(
            different.json()["error"],
            "This Idempotency-Key was used for another request"
        );
        // Other users, organizations and routes have keys of their own.
        let (_, foreign_key) = world.tenant("50").await;
        assert_eq!(
            world.call(create(&foreign_key, "once", "a")).await.status(),
            201
        );
        let agents: Vec<uuid::Uuid> = vec![
            world.agent(organization, "pending").await,
            world.agent(organization, "pending").await,
        ];
        let start = |agent| {
            let request = Request::new("POST", &agent_path(agent, "/provision")).key(&key);
            request.header("idempotency-key", "once")
        };
        let queued = world.call(start(agents[0])).await;
        // The first response, not the 409 of an active job.
        let repeated = world.call(start(agents[0])).await;
        assert_eq!((queued.status(), queued.json()), (202, repeated.json()));
        assert_eq!(repeated.status(), 202);
        assert_eq!(world.call(start(agents[1])).await.status(), 422);
        assert_eq!(world.jobs_of(agents[1]).await.len(), 0);
    });
}

#[test]
fn a_refused_request_releases_its_key() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("1").await;
        assert_eq!(world.call(create(&key, "once", "a")).await.status(), 402);
        assert_eq!(
            world.count("SELECT count(*) FROM idempotency_keys").await,
            0
        );
        world.top_up(organization, "4").await;
        assert_eq!(world.call(create(&key, "once", "a")).await.status(), 201);
    });
}

#[test]
fn a_key_is_kept_for_a_day_and_the_key_of_a_dead_call_until_its_deadline() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("50").await;
        assert_eq!(world.call(create(&key, "once", "a")).await.status(), 201);
        world.set_clock(hours(24)).await;
        assert_eq!(world.call(create(&key, "once", "b")).await.status(), 422);
        world.set_clock(hours(25)).await;
        assert_eq!(world.call(create(&key, "once", "b")).await.status(), 201);
        // The function is killed while it waits for the organization's lock.
        let mut holder = world.pool.begin().await.expect("begin");
        sqlx::query("SELECT FROM organizations FOR UPDATE")
            .execute(&mut *holder)
            .await
            .expect("a lock");
        let instance = world.function("agent-create").start().await;
        let event = world.event(&create(&key, "doomed", "a"));
        let invocation = instance.invoke(event, Duration::from_secs(20));
        let kill = async {
            world.wait_until_a_session_is_blocked().await;
            instance.kill().await;
        };
        tokio::join!(invocation, kill);
        holder.rollback().await.expect("rollback");
        let busy = world.call(create(&key, "doomed", "a")).await;
        assert_eq!(
            (busy.status(), &busy.json()["error"]),
            (
                409,
                &json!("The first request with this Idempotency-Key is still running")
            )
        );
        // By this header the dashboard tells it from the other 409s.
        assert_eq!(busy.header("retry-after"), Some("2"));
        world
            .set_clock(hours(25) + chrono::TimeDelta::seconds(21))
            .await;
        assert_eq!(world.call(create(&key, "doomed", "a")).await.status(), 201);
        assert_eq!(
            world.count("SELECT count(*) FROM milady_sandboxes").await,
            3
        );
    });
}

#[test]
fn one_sweep_deletes_all_expired_keys() {
    run(async {
        let world = World::new().await;
        world
            .execute(
                "INSERT INTO idempotency_keys (organization_id, user_id, route, key, request_digest, created_at,
                    running_until)
                SELECT gen_random_uuid(), gen_random_uuid(), 'agent-create', 'k' || n, '',
                    billing_clock() + CASE n WHEN 1 THEN interval '2 h' ELSE interval '0' END, billing_clock()
                FROM generate_series(1, 3001) n",
            )
            .await;
        world.set_clock(hours(25)).await;
        let sweeper = world.instance("job-sweep").await;
        match sweeper.invoke(json!({}), Duration::from_mins(1)).await {
            Outcome::Success(counts) => assert_eq!(counts["forgotten"], json!(3_000)),
            other => panic!("job-sweep failed: {other:?}"),
        }
        let kept = "SELECT count(*) FROM idempotency_keys WHERE key = 'k1'";
        assert_eq!(world.count(kept).await, 1);
    });
}

#[test]
fn an_invalid_key_is_400() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("50").await;
        for idempotency_key in ["", "with space", &"x".repeat(256), "ü"] {
            let answer = world.call(create(&key, idempotency_key, "a")).await;
            assert_eq!(
                (answer.status(), &answer.json()["details"][0]["field"]),
                (400, &json!("Idempotency-Key")),
                "{idempotency_key}"
            );
        }
        assert_eq!(
            world
                .call(create(&key, &"x".repeat(255), "a"))
                .await
                .status(),
            201
        );
    });
}
