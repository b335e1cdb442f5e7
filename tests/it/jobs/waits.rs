//! Requests that wait for the first attempt of their job: their answers when it completes in time, when it fails, and
//! when they are repeated.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::{Request, Response};
use tests::{World, run, wait_until};
use uuid::Uuid;

use super::publish::worker_pool;
use super::{
    Bus, job_id, publishing_function, record_container, register_unreachable_host, start_bus,
};

/// A request that waits for its job.
#[derive(Clone, Copy, Debug)]
struct WaitingRoute {
    method: &'static str,
    /// What follows the agent in the path.
    path: &'static str,
    /// In the body.
    action: Option<&'static str>,
    function: &'static str,
}

const SUSPEND: WaitingRoute = WaitingRoute {
    method: "POST",
    path: "/suspend",
    action: None,
    function: "agent-suspend",
};
const SHUTDOWN: WaitingRoute = WaitingRoute {
    method: "PATCH",
    path: "",
    action: Some("shutdown"),
    function: "agent-update",
};
const DELETE: WaitingRoute = WaitingRoute {
    method: "DELETE",
    path: "",
    action: None,
    function: "agent-delete",
};
const RESTORE: WaitingRoute = WaitingRoute {
    method: "POST",
    path: "/restore",
    action: None,
    function: "agent-restore",
};

impl WaitingRoute {
    async fn call(self, world: &World, bus: &Bus, key: &str, id: Uuid) -> Response {
        let path = agent_path(id, self.path);
        let mut request = Request::new(self.method, &path).key(key);
        if let Some(action) = self.action {
            request = request.json(&json!({"action": action}));
        }
        let request = request.header("idempotency-key", &format!("{id}{}", self.path));
        let function = publishing_function(world, self.function, bus);
        world.call_function(&function, request).await
    }
}

/// Completes the agent's job with these steps as soon as there is one.
async fn complete_job(world: &World, id: Uuid, steps: &Value) {
    wait_until("a job can be completed", async || {
        let completed = sqlx::query(
            "UPDATE jobs SET status = 'completed', attempts = 1, steps = $2
            WHERE agent_id = $1 AND status = 'pending'",
        )
        .bind(id)
        .bind(steps)
        .execute(&world.pool)
        .await
        .expect("a job");
        completed.rows_affected() == 1
    })
    .await;
}

#[test]
fn a_job_that_completes_in_time_is_answered_as_done_and_so_is_its_replay() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (organization, key) = world.tenant("10").await;
        let snapshot = |status: &str| json!([{"name": "snapshot", "status": status}]);
        for (route, steps, message) in [
            (
                SUSPEND,
                snapshot("done"),
                Some("Agent suspended with snapshot"),
            ),
            (
                SUSPEND,
                snapshot("failed"),
                Some("Agent suspended; its state could not be saved and is kept on its host"),
            ),
            (SUSPEND, json!([]), Some("Agent suspended")),
            (
                SHUTDOWN,
                snapshot("done"),
                Some("Agent suspended with snapshot"),
            ),
            (DELETE, json!([]), None),
            (RESTORE, json!([]), None),
        ] {
            let id = world.agent(organization, "running").await;
            let backup = world.backup(id, "auto").await;
            let (response, ()) = tokio::join!(
                route.call(&world, &bus, &key, id),
                complete_job(&world, id, &steps)
            );
            assert_eq!(response.status(), 200, "{route:?} {}", response.text());
            let body = response.json();
            assert_eq!(body["data"]["message"].as_str(), message, "{route:?}");
            if route.function == "agent-restore" {
                assert_eq!(body["data"]["restoredFromBackupId"], json!(backup));
            }
            // Only POST takes an idempotency key.
            if route.method == "POST" {
                let replay = route.call(&world, &bus, &key, id).await;
                assert_eq!((replay.status(), replay.json()), (200, body), "{route:?}");
                assert_eq!(world.jobs_of(id).await.len(), 1);
            }
        }
    });
}

#[test]
fn an_agent_without_a_host_is_stopped_or_deleted_within_the_request() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        bus.deliver_to(worker_pool(&world).await);
        let (organization, key) = world.tenant("10").await;
        for route in [SUSPEND, SHUTDOWN, DELETE] {
            let id = world.agent(organization, "running").await;
            let response = route.call(&world, &bus, &key, id).await;
            assert_eq!(response.status(), 200, "{route:?} {}", response.text());
            if route.method == "DELETE" {
                assert_eq!(response.json(), json!({"success": true}));
                assert!(!world.agent_exists(id).await);
            } else {
                assert_eq!(world.agent_row(id).await.status, "stopped");
            }
        }
    });
}

#[test]
fn a_request_stops_waiting_after_a_failed_attempt() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        register_unreachable_host(&world).await;
        bus.deliver_to(worker_pool(&world).await);
        let (organization, key) = world.tenant("10").await;
        for (port, route) in (20_000_i32..).zip([SUSPEND, SHUTDOWN, DELETE, RESTORE]) {
            let id = world.agent(organization, "running").await;
            record_container(&world, id).await;
            sqlx::query("UPDATE milady_sandboxes SET bridge_port = $2 WHERE id = $1")
                .bind(id)
                .bind(port)
                .execute(&world.pool)
                .await
                .expect("a port");
            world.backup(id, "auto").await;
            let started = Instant::now();
            let job = job_id(&route.call(&world, &bus, &key, id).await);
            assert!(started.elapsed() < Duration::from_secs(15), "{route:?}");
            let row = super::job(&world, job).await;
            assert_eq!(
                row.state(),
                ("pending", 1, Some(super::UNREACHABLE)),
                "{route:?}"
            );
        }
    });
}

#[test]
fn f49_a_request_that_waits_is_an_open_stream_and_does_not_wait_if_there_are_too_many() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (organization, key) = world.tenant("10").await;
        let rows = "SELECT count(*) FROM cloud.open_streams";
        let id = world.agent(organization, "running").await;
        let (response, ()) = tokio::join!(SUSPEND.call(&world, &bus, &key, id), async {
            wait_until("the request is counted", async || {
                world.count(rows).await == 1
            })
            .await;
            complete_job(&world, id, &json!([])).await;
        });
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(world.count(rows).await, 0);
        world.set_limit(organization, "open_streams", 0).await;
        let started = Instant::now();
        for route in [SUSPEND, SHUTDOWN, DELETE, RESTORE] {
            let id = world.agent(organization, "running").await;
            world.backup(id, "auto").await;
            job_id(&route.call(&world, &bus, &key, id).await);
        }
        let id = world.agent(organization, "pending").await;
        let request = Request::new("POST", &agent_path(id, "/provision?sync=true")).key(&key);
        let function = publishing_function(&world, "agent-provision", &bus);
        job_id(&world.call_function(&function, request).await);
        assert!(started.elapsed() < Duration::from_secs(15));
    });
}
