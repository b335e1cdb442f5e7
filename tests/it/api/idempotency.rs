//! `Idempotency-Key`: one effect per key, whoever asks how often.

use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::{Request, Response};
use tests::world::hours;
use tests::{World, run};

const CREATE: &str = "/api/v1/milady/agents";

fn create(key: &str, once: &str, name: &str) -> Request {
    let request = Request::new("POST", CREATE)
        .key(key)
        .json(&json!({"agentName": name}));
    request.header("idempotency-key", once)
}

#[test]
fn two_clients_creating_at_the_same_moment_with_one_key_create_one_agent() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("50").await;
        for round in 0..5 {
            let once = format!("round-{round}");
            let asked = (0..4).map(|_| world.call_cold(create(&key, &once, "a")));
            let answers: Vec<Response> = futures_util::future::join_all(asked).await;
            let mut created: Vec<Value> = Vec::new();
            for answer in &answers {
                match answer.status() {
                    201 => created.push(answer.json()["data"]["id"].clone()),
                    409 => assert!(answer.text().contains("still running"), "{answer:?}"),
                    other => panic!("{other}: {answer:?}"),
                }
            }
            created.dedup();
            assert_eq!(created.len(), 1, "{answers:?}");
        }
        assert_eq!(
            world.count("SELECT count(*) FROM milady_sandboxes").await,
            5
        );
    });
}

#[test]
fn the_same_request_gets_the_first_answer_and_another_one_422() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let first = world.call(create(&key, "once", "a")).await;
        let again = world.call(create(&key, "once", "a")).await;
        assert_eq!(
            (first.status(), first.json()),
            (again.status(), again.json())
        );
        let other = world.call(create(&key, "once", "b")).await;
        assert_eq!(other.status(), 422);
        assert_eq!(
            other.json()["error"],
            "This Idempotency-Key was used for another request"
        );
        // Another user, another organization and another route have keys of their own.
        let (_, stranger) = world.tenant("50").await;
        assert_eq!(
            world.call(create(&stranger, "once", "a")).await.status(),
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
        // Not the 409 of an active job: the very answer that was lost.
        let repeated = world.call(start(agents[0])).await;
        assert_eq!((queued.status(), queued.json()), (202, repeated.json()));
        assert_eq!(repeated.status(), 202);
        assert_eq!(world.call(start(agents[1])).await.status(), 422);
        assert_eq!(world.jobs_of(agents[1]).await.len(), 0);
    });
}

#[test]
fn a_refusal_gives_the_key_back() {
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
fn a_key_is_kept_a_day_and_one_whose_call_died_until_its_deadline() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("50").await;
        assert_eq!(world.call(create(&key, "once", "a")).await.status(), 201);
        world.at(hours(24)).await;
        assert_eq!(world.call(create(&key, "once", "b")).await.status(), 422);
        world.at(hours(25)).await;
        assert_eq!(world.call(create(&key, "once", "b")).await.status(), 201);
        // The function dies while it waits for the organization's lock.
        let mut holder = world.pool.begin().await.expect("begin");
        sqlx::query("SELECT FROM organizations FOR UPDATE")
            .execute(&mut *holder)
            .await
            .expect("a lock");
        let doomed = world.function("agent-create").start().await;
        let event = world.event(&create(&key, "doomed", "a"));
        let dying = doomed.invoke(event, std::time::Duration::from_secs(20));
        let killing = async {
            world.until_somebody_waits().await;
            doomed.kill().await;
        };
        tokio::join!(dying, killing);
        holder.rollback().await.expect("rollback");
        let busy = world.call(create(&key, "doomed", "a")).await;
        assert_eq!(
            (busy.status(), &busy.json()["error"]),
            (
                409,
                &json!("The first request with this Idempotency-Key is still running")
            )
        );
        world.at(hours(25) + chrono::TimeDelta::seconds(21)).await;
        assert_eq!(world.call(create(&key, "doomed", "a")).await.status(), 201);
        assert_eq!(
            world.count("SELECT count(*) FROM milady_sandboxes").await,
            3
        );
    });
}

#[test]
fn a_key_that_is_none_is_400() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("50").await;
        for once in ["", "with space", &"x".repeat(256), "ü"] {
            let answer = world.call(create(&key, once, "a")).await;
            assert_eq!(
                (answer.status(), &answer.json()["details"][0]["field"]),
                (400, &json!("Idempotency-Key")),
                "{once}"
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
