//! What a request tells the rest of the system, and what becomes of it when nobody listens.

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
    NO_HOST, agent, bus, fresh, function, job, job_id, place, register_host, sweep, told, try_sweep,
};

pub(super) fn start(key: &str, id: Uuid) -> Request {
    Request::new("POST", &agent_path(id, "/provision")).key(key)
}

/// Workers that the bus may invoke.
pub(super) async fn workers(world: &World) -> Pool {
    let api = RuntimeApi::start().await.expect("the runtime API");
    Pool::new(api, vec![world.function("job-run").local()])
}

#[test]
fn a_start_is_told_of_at_once_and_runs_without_any_sweep() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        bus.deliver_to(workers(&world).await);
        let (_, key, id) = fresh(&world).await;
        let requests = function(&world, "agent-provision", &bus);
        let start = job_id(&world.call_on(&requests, start(&key, id)).await);
        bus.settled().await;
        assert_eq!(
            job(&world, start).await.state(),
            ("pending", 1, Some(NO_HOST))
        );
        assert_eq!(agent(&world, id).await.0, "provisioning");
    });
}

#[test]
fn the_event_is_the_one_the_rule_of_the_worker_waits_for() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        let (_, key, id) = fresh(&world).await;
        let requests = function(&world, "agent-provision", &bus);
        let start = job_id(&world.call_on(&requests, start(&key, id)).await);
        let [event] = bus.received().try_into().expect("one event");
        assert_eq!(event["source"], json!("milady.control-plane"));
        assert_eq!(event["detail-type"], json!("job.due"));
        assert_eq!(event["detail"]["jobId"], json!(start));
        // It is the envelope that is kept as a sample, field for field.
        let sample = include_str!("../../../events/job-run.json");
        let sample: Value = serde_json::from_str(sample).expect("JSON");
        let names = |value: &Value| -> Vec<String> {
            let fields = value.as_object().expect("an object");
            fields.keys().cloned().collect()
        };
        assert_eq!(names(&event), names(&sample));
    });
}

#[test]
fn every_request_that_makes_a_job_tells_of_it_and_no_other_does() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        let (organization, key) = world.tenant("100").await;
        // Each job's first try ends soon, and without success: requests do not wait for a second one.
        register_host(&world).await;
        bus.deliver_to(workers(&world).await);
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
                place(&world, id).await;
            }
            let mut request = Request::new(method, &agent_path(id, rest)).key(&key);
            if let Some(action) = body {
                request = request.json(&json!({"action": action}));
            }
            let publishing = function(&world, name, &bus);
            jobs.push(job_id(&world.call_on(&publishing, request.clone()).await));
            assert_eq!(told(&bus).last(), jobs.last(), "{name}");
            // Asked again, it answers with that job, or that it is under way: there is no other one.
            world.call_on(&publishing, request).await;
            let mut all = told(&bus);
            all.dedup();
            assert_eq!(all, jobs, "{name}");
        }
        // What is refused makes nothing to tell of.
        let before = told(&bus);
        let (poor, poor_key) = world.tenant("4.99").await;
        let requests = function(&world, "agent-provision", &bus);
        for (id, status) in [
            (world.agent(poor, "pending").await, 402),
            (world.agent(organization, "pending").await, 404),
        ] {
            let answer = world.call_on(&requests, start(&poor_key, id)).await;
            assert_eq!(answer.status(), status);
        }
        assert_eq!(told(&bus), before);
    });
}

#[test]
fn with_eventbridge_down_a_start_is_accepted_and_the_sweep_tells_of_it() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        let (organization, key) = world.tenant("100").await;
        let mut jobs = Vec::new();
        for round in 0..3 {
            bus.set_down(round == 0);
            bus.refuse(Some("job.due").filter(|_| round == 1));
            let id = world.agent(organization, "pending").await;
            let requests = match round {
                // Nobody listens there.
                2 => world.function("agent-provision"),
                _ => function(&world, "agent-provision", &bus),
            };
            let asked = Instant::now();
            let start = job_id(&world.call_on(&requests, start(&key, id)).await);
            assert!(asked.elapsed() < Duration::from_secs(5), "round {round}");
            assert_eq!(job(&world, start).await.state(), ("pending", 0, None));
            jobs.push(start);
        }
        assert_eq!(bus.received(), [Value::Null; 0]);
        sweep(&world, &bus).await;
        jobs.sort();
        let mut told = told(&bus);
        told.sort();
        assert_eq!(told, jobs);
    });
}

/// So many events in the outbox.
async fn outbox(world: &World, kind: &str, count: i32) {
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
    let waiting = "SELECT count(*) FROM outbox_events WHERE published_at IS NULL";
    world.count(waiting).await
}

/// An `EventBridge` that takes the first batch and none after it.
async fn breaking_off(State(asked): State<Arc<AtomicUsize>>) -> (StatusCode, String) {
    let taken = json!({"FailedEntryCount": 0, "Entries": vec![json!({"EventId": "1"}); 10]});
    match asked.fetch_add(1, Ordering::SeqCst) {
        0 => (StatusCode::OK, taken.to_string()),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    }
}

#[test]
fn what_was_taken_before_eventbridge_broke_off_is_not_sent_again_and_the_rest_is_not_tried_in_vain()
{
    run(async {
        let world = World::new().await;
        outbox(&world, "credit.low", 35).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("its address"));
        let router = Router::new()
            .fallback(breaking_off)
            .with_state(Arc::clone(&asked));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let sweep = world
            .function("job-sweep")
            .with("AWS_ENDPOINT_URL_EVENTBRIDGE", &address);
        let outcome = sweep.invoke(json!({})).await;
        let Outcome::FunctionError { message, .. } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(message, "25 events were not taken and are kept");
        assert_eq!(unpublished(&world).await, 25);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn events_that_are_refused_do_not_stand_in_the_way_of_others() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        outbox(&world, "credit.low", 12).await;
        outbox(&world, "agent.suspended", 3).await;
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
