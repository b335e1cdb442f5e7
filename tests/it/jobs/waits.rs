//! Requests that wait for the first try of their job: what they answer when it ends in time, when it
//! does not come about, and when they are repeated.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::{Request, Response};
use tests::{World, run};
use uuid::Uuid;

use super::publish::workers;
use super::{Bus, bus, function, job_id, place, register_host};

/// The requests that wait: method, what follows the agent, body, function.
const WAITING: [(&str, &str, Option<&str>, &str); 4] = [
    ("POST", "/suspend", None, "agent-suspend"),
    ("PATCH", "", Some("shutdown"), "agent-update"),
    ("DELETE", "", None, "agent-delete"),
    ("POST", "/restore", None, "agent-restore"),
];

async fn ask(
    (world, bus): (&World, &Bus),
    key: &str,
    id: Uuid,
    (method, rest, action, name): (&str, &str, Option<&str>, &str),
) -> Response {
    let mut request = Request::new(method, &agent_path(id, rest)).key(key);
    if let Some(action) = action {
        request = request.json(&json!({"action": action}));
    }
    let request = request.header("idempotency-key", &format!("{id}{rest}"));
    world.call_on(&function(world, name, bus), request).await
}

/// Ends the agent's job, which did these steps, as soon as there is one.
async fn end_job(world: &World, id: Uuid, steps: &Value) {
    loop {
        let ended = sqlx::query(
            "UPDATE jobs SET status = 'completed', attempts = 1, steps = $2
            WHERE agent_id = $1 AND status = 'pending'",
        )
        .bind(id)
        .bind(steps)
        .execute(&world.pool)
        .await
        .expect("a job");
        if ended.rows_affected() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn what_is_done_in_time_is_answered_as_done_and_so_is_its_repetition() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        let (organization, key) = world.tenant("10").await;
        let snapshot = |status: &str| json!([{"name": "snapshot", "status": status}]);
        for (asked, steps, said) in [
            (
                WAITING[0],
                snapshot("done"),
                Some("Agent suspended with snapshot"),
            ),
            (
                WAITING[0],
                snapshot("failed"),
                Some("Agent suspended; its state could not be read and is kept on its host"),
            ),
            (WAITING[0], json!([]), Some("Agent suspended")),
            (
                WAITING[1],
                snapshot("done"),
                Some("Agent suspended with snapshot"),
            ),
            (WAITING[2], json!([]), None),
            (WAITING[3], json!([]), None),
        ] {
            let id = world.agent(organization, "running").await;
            let backup = world.backup(id, "auto").await;
            let (answer, ()) = tokio::join!(
                ask((&world, &bus), &key, id, asked),
                end_job(&world, id, &steps)
            );
            assert_eq!(answer.status(), 200, "{asked:?} {}", answer.text());
            let body = answer.json();
            assert_eq!(body["data"]["message"].as_str(), said, "{asked:?}");
            if asked.3 == "agent-restore" {
                assert_eq!(body["data"]["restoredFromBackupId"], json!(backup));
            }
            // Only POST takes a key; this world's agents are still there for a second request.
            if asked.0 == "POST" {
                let again = ask((&world, &bus), &key, id, asked).await;
                assert_eq!((again.status(), again.json()), (200, body), "{asked:?}");
                assert_eq!(world.jobs_of(id).await.len(), 1);
            }
        }
    });
}

#[test]
fn what_is_nowhere_is_stopped_or_gone_when_the_request_is_answered() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        bus.deliver_to(workers(&world).await);
        let (organization, key) = world.tenant("10").await;
        for asked in &WAITING[..3] {
            let id = world.agent(organization, "running").await;
            let answer = ask((&world, &bus), &key, id, *asked).await;
            assert_eq!(answer.status(), 200, "{asked:?} {}", answer.text());
            if asked.0 == "DELETE" {
                assert_eq!(answer.json(), json!({"success": true}));
                assert!(!world.exists(id).await);
            } else {
                assert_eq!(world.agent_row(id).await.status, "stopped");
            }
        }
    });
}

#[test]
fn a_try_that_failed_is_not_waited_for_any_longer() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        register_host(&world).await;
        bus.deliver_to(workers(&world).await);
        let (organization, key) = world.tenant("10").await;
        for (port, asked) in (20_000_i32..).zip(WAITING) {
            let id = world.agent(organization, "running").await;
            place(&world, id).await;
            sqlx::query("UPDATE milady_sandboxes SET bridge_port = $2 WHERE id = $1")
                .bind(id)
                .bind(port)
                .execute(&world.pool)
                .await
                .expect("a port");
            world.backup(id, "auto").await;
            let began = Instant::now();
            let job = job_id(&ask((&world, &bus), &key, id, asked).await);
            assert!(began.elapsed() < Duration::from_secs(15), "{asked:?}");
            let row = super::job(&world, job).await;
            assert_eq!(
                row.state(),
                ("pending", 1, Some(super::UNREACHABLE)),
                "{asked:?}"
            );
        }
    });
}
