//! The events that requests publish, and what becomes of them while `EventBridge` is down.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use dev::runtime::{Outcome, Pool, RuntimeApi};
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::Request;
use tests::{World, run};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::{
    NO_HOST, agent_status, announced_jobs, job, job_id, publishing_function, record_container,
    register_unreachable_host, start_bus, sweep, tenant_with_agent, try_sweep,
};

pub(super) fn provision_request(key: &str, id: Uuid) -> Request {
    Request::new("POST", &agent_path(id, "/provision")).key(key)
}

/// Workers that the bus can invoke.
pub(super) async fn worker_pool(world: &World) -> Pool {
    let api = RuntimeApi::start().await.expect("the runtime API");
    Pool::new(api, vec![world.function("job-run").to_runtime_function()])
}

#[test]
fn a_requested_start_runs_without_a_sweep() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        bus.deliver_to(worker_pool(&world).await);
        let (_, key, id) = tenant_with_agent(&world).await;
        let requests = publishing_function(&world, "agent-provision", &bus);
        let start = job_id(
            &world
                .call_function(&requests, provision_request(&key, id))
                .await,
        );
        bus.wait_until_idle().await;
        assert_eq!(
            job(&world, start).await.state(),
            ("pending", 1, Some(NO_HOST))
        );
        assert_eq!(agent_status(&world, id).await.0, "provisioning");
    });
}

#[test]
fn the_published_event_has_the_form_of_the_sample_event() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (_, key, id) = tenant_with_agent(&world).await;
        let requests = publishing_function(&world, "agent-provision", &bus);
        let start = job_id(
            &world
                .call_function(&requests, provision_request(&key, id))
                .await,
        );
        let [event] = bus.received().try_into().expect("one event");
        assert_eq!(event["source"], json!("milady.control-plane"));
        assert_eq!(event["detail-type"], json!("job.due"));
        assert_eq!(event["detail"], json!({"jobId": start, "lane": "start"}));
        // The fields are those of the sample event, which is in a message of a queue.
        let sample = include_str!("../../../events/job-run.json");
        let sample: Value = serde_json::from_str(sample).expect("JSON");
        let body = sample["Records"][0]["body"].as_str().expect("a body");
        let sample: Value = serde_json::from_str(body).expect("JSON");
        let names = |value: &Value| -> Vec<String> {
            let fields = value.as_object().expect("an object");
            fields.keys().cloned().collect()
        };
        assert_eq!(names(&event), names(&sample));
    });
}

#[test]
fn a_request_publishes_an_event_exactly_if_it_creates_a_job() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (organization, key) = world.tenant("100").await;
        // The first attempt of each job fails soon, and requests do not wait for a second one.
        register_unreachable_host(&world).await;
        bus.deliver_to(worker_pool(&world).await);
        let mut jobs = Vec::new();
        for (status, method, rest, body, name) in [
            ("pending", "POST", "/provision", None, "agent-provision"),
            ("stopped", "POST", "/resume", None, "agent-resume"),
            ("stopped", "POST", "/restore", None, "agent-restore"),
            ("running", "POST", "/suspend", None, "agent-suspend"),
            ("running", "PATCH", "", Some("shutdown"), "agent-update"),
            ("running", "DELETE", "", None, "agent-delete"),
        ] {
            let id = world.agent(organization, status).await;
            world.backup(id, "auto").await;
            if status == "running" {
                record_container(&world, id).await;
            }
            let mut request = Request::new(method, &agent_path(id, rest)).key(&key);
            if let Some(action) = body {
                request = request.json(&json!({"action": action}));
            }
            let publishing = publishing_function(&world, name, &bus);
            jobs.push(job_id(
                &world.call_function(&publishing, request.clone()).await,
            ));
            assert_eq!(announced_jobs(&bus).last(), jobs.last(), "{name}");
            // A repeated request creates no other job.
            world.call_function(&publishing, request).await;
            let mut all = announced_jobs(&bus);
            all.dedup();
            assert_eq!(all, jobs, "{name}");
        }
        // A refused request creates no job.
        let before = announced_jobs(&bus);
        let (poor, poor_key) = world.tenant("4.99").await;
        let requests = publishing_function(&world, "agent-provision", &bus);
        for (id, status) in [
            (world.agent(poor, "pending").await, 402),
            (world.agent(organization, "pending").await, 404),
        ] {
            let response = world
                .call_function(&requests, provision_request(&poor_key, id))
                .await;
            assert_eq!(response.status(), status);
        }
        assert_eq!(announced_jobs(&bus), before);
    });
}

#[test]
fn an_operators_suspension_is_announced_at_once() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let operator = world.super_admin().await;
        let (_, _, id) = tenant_with_agent(&world).await;
        world.set_status(id, "running").await;
        let publishing = publishing_function(&world, "agent-operator-suspend", &bus);
        let path = format!("/api/v1/admin/agents/{id}/suspend");
        let request = Request::new("POST", &path).json(&json!({"reason": "r"}));
        let response = world.call_function(&publishing, request.key(&operator));
        let stop = job_id(&response.await);
        assert_eq!(announced_jobs(&bus), [stop]);
    });
}

#[test]
fn with_eventbridge_down_a_start_is_accepted_and_announced_by_the_sweep() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (organization, key) = world.tenant("100").await;
        let mut jobs = Vec::new();
        for round in 0..3 {
            bus.set_down(round == 0);
            bus.refuse(Some("job.due").filter(|_| round == 1));
            let id = world.agent(organization, "pending").await;
            let requests = match round {
                // Nothing listens where it publishes to.
                2 => world.function("agent-provision"),
                _ => publishing_function(&world, "agent-provision", &bus),
            };
            let started = Instant::now();
            let start = job_id(
                &world
                    .call_function(&requests, provision_request(&key, id))
                    .await,
            );
            assert!(started.elapsed() < Duration::from_secs(5), "round {round}");
            assert_eq!(job(&world, start).await.state(), ("pending", 0, None));
            jobs.push(start);
        }
        assert_eq!(bus.received(), [Value::Null; 0]);
        sweep(&world, &bus).await;
        jobs.sort();
        let mut announced = announced_jobs(&bus);
        announced.sort();
        assert_eq!(announced, jobs);
    });
}

/// Inserts this many events into the outbox.
async fn insert_events(world: &World, kind: &str, count: i32) {
    sqlx::query(
        "INSERT INTO outbox_events (key, type, organization_id, payload, occurred_at)
        SELECT $1 || n, $1, gen_random_uuid(), '{}', billing_clock()
        FROM generate_series(1, $2) AS n",
    )
    .bind(kind)
    .bind(count)
    .execute(&world.pool)
    .await
    .expect("events");
}

async fn unpublished(world: &World) -> i64 {
    let unpublished = "SELECT count(*) FROM outbox_events WHERE published_at IS NULL";
    world.count(unpublished).await
}

/// An `EventBridge` that accepts only the first batch.
async fn accept_first_batch(State(calls): State<Arc<AtomicUsize>>) -> (StatusCode, String) {
    let accepted = json!({"FailedEntryCount": 0, "Entries": vec![json!({"EventId": "1"}); 10]});
    match calls.fetch_add(1, Ordering::SeqCst) {
        0 => (StatusCode::OK, accepted.to_string()),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    }
}

#[test]
fn a_failed_batch_ends_publishing_and_accepted_events_stay_published() {
    run(async {
        let world = World::new().await;
        insert_events(&world, "credit.low", 35).await;
        let calls = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("its address"));
        let router = Router::new()
            .fallback(accept_first_batch)
            .with_state(Arc::clone(&calls));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let sweep = world
            .function("job-sweep")
            .with("AWS_ENDPOINT_URL_EVENTBRIDGE", &address);
        let outcome = sweep.invoke(json!({})).await;
        let Outcome::FunctionError { message, .. } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            message,
            "events not accepted by EventBridge: 25; the next sweep publishes them again"
        );
        assert_eq!(unpublished(&world).await, 25);
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn refused_events_do_not_block_others() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        insert_events(&world, "credit.low", 12).await;
        insert_events(&world, "agent.suspended", 3).await;
        bus.refuse(Some("credit.low"));
        let outcome = try_sweep(&world, &bus).await;
        assert!(
            matches!(outcome, Outcome::FunctionError { .. }),
            "{outcome:?}"
        );
        assert_eq!(bus.received().len(), 3);
        assert_eq!(unpublished(&world).await, 12);
    });
}
