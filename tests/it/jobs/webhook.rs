//! The call that tells of a job's end: what it says, who made it, and that it is made once.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use dev::runtime::{Instance, Outcome};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tests::calls::agent_path;
use tests::suite::Request;
use tests::{Function, World, run};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::{NO_HOST, due, fresh, job, job_id, seconds, set_balance};

/// A server that notes who calls it and answers as it is told.
#[derive(Clone, Debug)]
pub(super) struct Hook {
    address: SocketAddr,
    state: Arc<Mutex<Answers>>,
}

#[derive(Debug)]
struct Answers {
    status: u16,
    location: Option<String>,
    calls: Vec<Call>,
}

/// A call as it came in.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Hook {
    pub(super) async fn answering(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(Mutex::new(Answers {
            status,
            location: None,
            calls: Vec::new(),
        }));
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, state }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook?from=test", self.address)
    }

    /// From now on it answers so, and may name another place.
    pub(super) fn answer(&self, status: u16, location: Option<&str>) {
        let mut state = self.state.lock().expect("nobody panicked here");
        state.status = status;
        state.location = location.map(str::to_owned);
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        let state = self.state.lock().expect("nobody panicked here");
        state.calls.clone()
    }
}

async fn answer(
    State(state): State<Arc<Mutex<Answers>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut state = state.lock().expect("nobody panicked here");
    state.calls.push(Call {
        path: uri.to_string(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    });
    let mut response = Response::builder().status(state.status);
    if let Some(location) = &state.location {
        response = response.header("location", location);
    }
    response.body(Body::empty()).expect("a response")
}

/// A function that may call this machine.
pub(super) fn open(world: &World, name: &str) -> Function {
    world.function(name).with("ALLOW_PRIVATE_WEBHOOKS", "true")
}

/// Asks for a start whose end `url` is to be told of: its job, and the secret of its signature.
pub(super) async fn start(world: &World, key: &str, id: Uuid, url: &str) -> (Uuid, String) {
    let request = Request::new("POST", &agent_path(id, "/provision"))
        .key(key)
        .header("x-webhook-url", url);
    let answer = world
        .call_on(&open(world, "agent-provision"), request)
        .await;
    let secret = answer.json()["data"]["webhookSecret"].clone();
    (
        job_id(&answer),
        secret.as_str().expect("a secret").to_owned(),
    )
}

/// What a worker did with the job, and whether it called the webhook.
pub(super) async fn work(instance: &Instance, job: Uuid) -> (String, bool) {
    let answer = match instance.invoke(due(job), Duration::from_mins(1)).await {
        Outcome::Success(answer) => answer,
        other => panic!("job-run failed: {other:?}"),
    };
    let called = answer["webhookCalled"].as_bool().expect("true or false");
    let done = answer["outcome"].as_str().expect("a word");
    (done.to_owned(), called)
}

/// A start that has failed, its webhook to be called next.
pub(super) async fn failed_start(world: &World, url: &str) -> Uuid {
    let organization = world.organization("0").await;
    sqlx::query_scalar(
        "INSERT INTO jobs (type, status, attempts, error, data, organization_id, completed_at,
            webhook_url, webhook_secret, webhook_status, webhook_due_at)
        VALUES ('milady_provision', 'failed', 3, 'x', '{}', $1, $4::timestamptz AT TIME ZONE 'UTC',
            $2, $3, 'pending', $4)
        RETURNING id",
    )
    .bind(organization)
    .bind(url)
    .bind(SECRET)
    .bind(seconds(0))
    .fetch_one(&world.pool)
    .await
    .expect("a failed job")
}

/// The secret of jobs that no request made.
pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What is kept of a webhook: status, tries, whether its secret is there, and when it is due.
pub(super) type Kept = (Option<String>, Option<i32>, bool, Option<i64>);

pub(super) async fn kept(world: &World, job: Uuid) -> Kept {
    sqlx::query_as(
        "SELECT webhook_status, webhook_attempts, webhook_secret IS NOT NULL,
            extract(epoch FROM webhook_due_at - $2)::bigint
        FROM jobs WHERE id = $1",
    )
    .bind(job)
    .bind(seconds(0))
    .fetch_one(&world.pool)
    .await
    .expect("a webhook")
}

pub(super) fn is(status: &str, tries: i32, due: Option<i64>) -> Kept {
    // The secret is kept as long as it may be needed.
    (Some(status.to_owned()), Some(tries), due.is_some(), due)
}

/// The signature as the contract describes it.
pub(super) fn signature(secret: &str, unix: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(format!("{unix}.{body}").as_bytes());
    let digest = hex::encode(mac.finalize().into_bytes());
    format!("t={unix},v1={digest}")
}

fn check(call: &Call, secret: &str, unix: i64, expected: &Value) {
    let header = |name| call.headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!(call.path, "/hook?from=test");
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(
        header("x-milady-signature"),
        Some(signature(secret, unix, &call.body).as_str())
    );
    let body: Value = serde_json::from_str(&call.body).expect("JSON");
    assert_eq!(body, *expected);
    assert!(!call.body.contains(secret));
}

#[test]
fn a_failed_start_is_told_of_with_a_signature_of_the_secret_the_owner_has() {
    run(async {
        let (world, hook) = (World::new().await, Hook::answering(200).await);
        let (_, key, id) = fresh(&world).await;
        let (start, secret) = start(&world, &key, id, &hook.url()).await;
        assert_eq!(secret.len(), 64);
        let worker = open(&world, "job-run").start().await;
        // As long as it is tried again there is nothing to tell.
        for at in [0, 30] {
            world.at(seconds(at)).await;
            let done = work(&worker, start).await;
            assert_eq!(done, ("again".to_owned(), false));
        }
        world.at(seconds(150)).await;
        assert_eq!(work(&worker, start).await, ("failed".to_owned(), true));
        assert_eq!(
            job(&world, start).await.state(),
            ("failed", 3, Some(NO_HOST))
        );
        let [call] = hook.calls().try_into().expect("one call");
        let expected = json!({
            "event": "job.completed", "jobId": start, "type": "milady_provision",
            "status": "failed", "result": null, "completedAt": "2026-03-01T00:02:30.000Z",
        });
        check(&call, &secret, seconds(150).timestamp(), &expected);
        assert_eq!(kept(&world, start).await, is("delivered", 1, None));
        // It was heard: nobody calls again, whatever is told of the job.
        for at in [150, 180, 7_200] {
            world.at(seconds(at)).await;
            assert_eq!(work(&worker, start).await, ("nothing".to_owned(), false));
        }
        assert_eq!(hook.calls().len(), 1);
    });
}

#[test]
fn a_completed_start_is_told_of_with_its_result() {
    run(async {
        let (world, hook) = (World::new().await, Hook::answering(204).await);
        let (_, key, id) = fresh(&world).await;
        let (start, secret) = start(&world, &key, id, &hook.url()).await;
        world.set_status(id, "running").await;
        world
            .at(seconds(2) + chrono::TimeDelta::microseconds(1_999))
            .await;
        let worker = open(&world, "job-run").start().await;
        assert_eq!(work(&worker, start).await, ("completed".to_owned(), true));
        let [call] = hook.calls().try_into().expect("one call");
        let address = format!("https://{id}.agents.example");
        let result = json!({
            "cloudAgentId": id, "status": "running", "bridgeUrl": address, "healthUrl": address,
        });
        let expected = json!({
            "event": "job.completed", "jobId": start, "type": "milady_provision",
            "status": "completed", "result": result, "completedAt": "2026-03-01T00:00:02.001Z",
        });
        check(&call, &secret, seconds(2).timestamp(), &expected);
    });
}

#[test]
fn two_workers_at_once_call_once() {
    run(async {
        let (world, hook) = (World::new().await, Hook::answering(200).await);
        let worker = open(&world, "job-run");
        let (one, two) = (worker.start().await, worker.start().await);
        for round in 1..=10 {
            let job = failed_start(&world, &hook.url()).await;
            let (first, second) = tokio::join!(work(&one, job), work(&two, job));
            assert_ne!(first.1, second.1, "round {round}");
            assert_eq!(hook.calls().len(), round);
            assert_eq!(kept(&world, job).await, is("delivered", 1, None));
        }
    });
}

#[test]
fn two_jobs_have_two_secrets_and_a_job_without_a_webhook_calls_nobody() {
    run(async {
        let (world, hook) = (World::new().await, Hook::answering(200).await);
        let (organization, key, id) = fresh(&world).await;
        let (_, secret) = start(&world, &key, id, &hook.url()).await;
        let other = world.agent(organization, "pending").await;
        assert_ne!(start(&world, &key, other, &hook.url()).await.1, secret);
        let other = world.agent(organization, "pending").await;
        let silent = super::provision(&world, &key, other).await;
        set_balance(&world, organization, "0").await;
        let worker = open(&world, "job-run").start().await;
        assert_eq!(work(&worker, silent).await, ("failed".to_owned(), false));
        assert_eq!(kept(&world, silent).await, (None, None, false, None));
        assert_eq!(hook.calls().len(), 0);
    });
}

#[test]
fn a_start_that_was_superseded_tells_its_webhook_too() {
    run(async {
        let (world, hook) = (World::new().await, Hook::answering(200).await);
        let bus = super::bus().await;
        let (_, key, id) = fresh(&world).await;
        let (start, _) = start(&world, &key, id, &hook.url()).await;
        let mut conn = world.pool.acquire().await.expect("a connection");
        shared::db::jobs::queue::starts_supersede(&mut conn, &[id], seconds(0))
            .await
            .expect("an update");
        // Nobody is told of it at once; the sweep finds it.
        assert_eq!(super::sweep(&world, &bus).await["told"], json!(1));
        assert_eq!(super::told(&bus), [start]);
        let worker = open(&world, "job-run").start().await;
        assert_eq!(work(&worker, start).await, ("nothing".to_owned(), true));
        let [call] = hook.calls().try_into().expect("one call");
        let body: Value = serde_json::from_str(&call.body).expect("JSON");
        assert_eq!(body["status"], json!("failed"));
        assert_eq!(super::sweep(&world, &bus).await["told"], json!(0));
    });
}
