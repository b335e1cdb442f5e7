//! The call of a job's webhook: what it holds, how it is signed, and that it is made once.

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
use shared::domain::ids::AgentId;
use tests::calls::agent_path;
use tests::suite::Request;
use tests::{Function, World, run};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::{
    ANNOUNCED, NO_HOST, NOTHING_TO_DO, RETRIED, due_event, job, job_id, seconds, set_balance,
    tenant_with_agent,
};

/// A server that records its calls and answers with a chosen status, or not at all.
#[derive(Clone, Debug)]
pub(crate) struct WebhookReceiver {
    address: SocketAddr,
    state: Arc<Mutex<Answers>>,
}

#[derive(Debug)]
struct Answers {
    status: u16,
    location: Option<String>,
    hangs: bool,
    calls: Vec<Call>,
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl WebhookReceiver {
    pub(crate) async fn answering(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(Mutex::new(Answers {
            status,
            location: None,
            hangs: false,
            calls: Vec::new(),
        }));
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?from=test", self.address)
    }

    /// Sets the status, and the `location` header, of the answers from now on.
    pub(crate) fn set_answer(&self, status: u16, location: Option<&str>) {
        let mut state = self.state.lock().expect("nobody panicked here");
        state.status = status;
        state.location = location.map(str::to_owned);
    }

    /// Whether it takes calls from now on without answering them.
    pub(crate) fn set_hanging(&self, hangs: bool) {
        self.state.lock().expect("nobody panicked here").hangs = hangs;
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
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
    let (hangs, response) = {
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
        (state.hangs, response)
    };
    if hangs {
        std::future::pending::<()>().await;
    }
    response.body(Body::empty()).expect("a response")
}

/// A function that may call webhooks on this machine.
pub(super) fn allowing_private_webhooks(world: &World, name: &str) -> Function {
    world.function(name).with("ALLOW_PRIVATE_WEBHOOKS", "true")
}

struct RequestedStart {
    job: Uuid,
    webhook_secret: String,
}

async fn provision_with_webhook(
    world: &World,
    key: &str,
    id: Uuid,
    receiver: &WebhookReceiver,
) -> RequestedStart {
    let request = Request::new("POST", &agent_path(id, "/provision"))
        .key(key)
        .header("x-webhook-url", &receiver.url());
    let function = allowing_private_webhooks(world, "agent-provision");
    let response = world.call_function(&function, request).await;
    let secret = response.json()["data"]["webhookSecret"].clone();
    RequestedStart {
        job: job_id(&response),
        webhook_secret: secret.as_str().expect("a secret").to_owned(),
    }
}

/// What a worker did with a job.
#[derive(Debug, PartialEq)]
pub(super) struct JobRun {
    /// In one word.
    outcome: String,
    pub(super) webhook_called: bool,
}

impl JobRun {
    fn new(outcome: &str, webhook_called: bool) -> Self {
        Self {
            outcome: outcome.to_owned(),
            webhook_called,
        }
    }
}

pub(super) async fn run_and_call(instance: &Instance, job: Uuid) -> JobRun {
    let answer = match instance
        .invoke(due_event(job), Duration::from_mins(1))
        .await
    {
        Outcome::Success(answer) => answer,
        other => panic!("job-run failed: {other:?}"),
    };
    let webhook_called = answer["webhookCalled"].as_bool().expect("true or false");
    JobRun::new(answer["outcome"].as_str().expect("a word"), webhook_called)
}

/// Inserts a start that has failed and whose webhook is due.
pub(super) async fn insert_failed_start(world: &World, url: &str) -> Uuid {
    let organization = world.organization("0").await;
    insert_failed_starts(world, organization, url, 1).await[0]
}

/// Inserts starts of an organization that have failed and whose webhooks are due.
pub(super) async fn insert_failed_starts(
    world: &World,
    organization: Uuid,
    url: &str,
    count: i32,
) -> Vec<Uuid> {
    sqlx::query_scalar(
        "INSERT INTO jobs (type, status, attempts, error, data, organization_id, completed_at,
            webhook_url, webhook_secret, webhook_status, webhook_due_at)
        SELECT 'milady_provision', 'failed', 3, 'x', '{}', $1, $4::timestamptz AT TIME ZONE 'UTC',
            $2, $3, 'pending', $4 FROM generate_series(1, $5)
        RETURNING id",
    )
    .bind(organization)
    .bind(url)
    .bind(SECRET)
    .bind(seconds(0))
    .bind(count)
    .fetch_all(&world.pool)
    .await
    .expect("failed jobs")
}

/// The webhook secret of jobs that no request created.
pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What a job's row holds of its webhook.
#[derive(Debug, PartialEq, sqlx::FromRow)]
pub(super) struct WebhookRow {
    status: Option<String>,
    pub(super) attempts: Option<i32>,
    has_secret: bool,
    /// In seconds after the start of the test's time.
    due_at: Option<i64>,
}

impl WebhookRow {
    /// A webhook keeps its secret as long as it can be due again.
    pub(super) fn new(status: &str, attempts: i32, due_at: Option<i64>) -> Self {
        Self {
            status: Some(status.to_owned()),
            attempts: Some(attempts),
            has_secret: due_at.is_some(),
            due_at,
        }
    }

    /// A webhook that was never called.
    pub(super) fn given_up() -> Self {
        Self {
            attempts: None,
            ..Self::new("failed", 0, None)
        }
    }
}

pub(super) async fn webhook_row(world: &World, job: Uuid) -> WebhookRow {
    sqlx::query_as(
        "SELECT webhook_status AS status, webhook_attempts AS attempts,
            webhook_secret IS NOT NULL AS has_secret,
            extract(epoch FROM webhook_due_at - $2)::bigint AS due_at
        FROM jobs WHERE id = $1",
    )
    .bind(job)
    .bind(seconds(0))
    .fetch_one(&world.pool)
    .await
    .expect("a webhook")
}

/// The signature by the contract's description.
pub(crate) fn signature(secret: &str, unix: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(format!("{unix}.{body}").as_bytes());
    let digest = hex::encode(mac.finalize().into_bytes());
    format!("t={unix},v1={digest}")
}

fn assert_call(call: &Call, secret: &str, unix: i64, expected: &Value) {
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
fn a_failed_start_calls_its_webhook_signed_with_the_owners_secret() {
    run(async {
        let (world, receiver) = (World::new().await, WebhookReceiver::answering(200).await);
        let (_, key, id) = tenant_with_agent(&world).await;
        let start = provision_with_webhook(&world, &key, id, &receiver).await;
        assert_eq!(start.webhook_secret.len(), 64);
        let worker = allowing_private_webhooks(&world, "job-run").start().await;
        // As long as the job is retried, its webhook is not called.
        for at in [0, 30] {
            world.set_clock(seconds(at)).await;
            let run = run_and_call(&worker, start.job).await;
            assert_eq!(run, JobRun::new(RETRIED, false));
        }
        world.set_clock(seconds(150)).await;
        assert_eq!(
            run_and_call(&worker, start.job).await,
            JobRun::new("failed", true)
        );
        assert_eq!(
            job(&world, start.job).await.state(),
            ("failed", 3, Some(NO_HOST))
        );
        let [call] = receiver.calls().try_into().expect("one call");
        let expected = json!({
            "event": "job.completed", "jobId": start.job, "type": "milady_provision",
            "status": "failed", "result": null, "completedAt": "2026-03-01T00:02:30.000Z",
        });
        assert_call(
            &call,
            &start.webhook_secret,
            seconds(150).timestamp(),
            &expected,
        );
        assert_eq!(
            webhook_row(&world, start.job).await,
            WebhookRow::new("delivered", 1, None)
        );
        // A delivered webhook is not called again, even if the job is announced again.
        for at in [150, 180, 7_200] {
            world.set_clock(seconds(at)).await;
            assert_eq!(
                run_and_call(&worker, start.job).await,
                JobRun::new(NOTHING_TO_DO, false)
            );
        }
        assert_eq!(receiver.calls().len(), 1);
    });
}

#[test]
fn a_completed_start_calls_its_webhook_with_its_result() {
    run(async {
        let (world, receiver) = (World::new().await, WebhookReceiver::answering(204).await);
        let (_, key, id) = tenant_with_agent(&world).await;
        let start = provision_with_webhook(&world, &key, id, &receiver).await;
        world.set_status(id, "running").await;
        world
            .set_clock(seconds(2) + chrono::TimeDelta::microseconds(1_999))
            .await;
        let worker = allowing_private_webhooks(&world, "job-run").start().await;
        assert_eq!(
            run_and_call(&worker, start.job).await,
            JobRun::new("completed", true)
        );
        let [call] = receiver.calls().try_into().expect("one call");
        let address = format!("https://{id}.agents.example");
        let result = json!({
            "cloudAgentId": id, "status": "running", "bridgeUrl": address, "healthUrl": address,
        });
        let expected = json!({
            "event": "job.completed", "jobId": start.job, "type": "milady_provision",
            "status": "completed", "result": result, "completedAt": "2026-03-01T00:00:02.001Z",
        });
        assert_call(
            &call,
            &start.webhook_secret,
            seconds(2).timestamp(),
            &expected,
        );
    });
}

#[test]
fn concurrent_workers_call_a_webhook_once() {
    run(async {
        let (world, receiver) = (World::new().await, WebhookReceiver::answering(200).await);
        let worker = allowing_private_webhooks(&world, "job-run");
        let (one, two) = (worker.start().await, worker.start().await);
        for round in 1..=10 {
            let job = insert_failed_start(&world, &receiver.url()).await;
            let (first, second) = tokio::join!(run_and_call(&one, job), run_and_call(&two, job));
            assert_ne!(first.webhook_called, second.webhook_called, "round {round}");
            assert_eq!(receiver.calls().len(), round);
            assert_eq!(
                webhook_row(&world, job).await,
                WebhookRow::new("delivered", 1, None)
            );
        }
    });
}

#[test]
fn webhook_secrets_differ_and_a_job_without_a_webhook_calls_nobody() {
    run(async {
        let (world, receiver) = (World::new().await, WebhookReceiver::answering(200).await);
        let (organization, key, id) = tenant_with_agent(&world).await;
        let first = provision_with_webhook(&world, &key, id, &receiver).await;
        let other = world.agent(organization, "pending").await;
        let second = provision_with_webhook(&world, &key, other, &receiver).await;
        assert_ne!(first.webhook_secret, second.webhook_secret);
        let other = world.agent(organization, "pending").await;
        let without_webhook = super::provision(&world, &key, other).await;
        set_balance(&world, organization, "0").await;
        let worker = allowing_private_webhooks(&world, "job-run").start().await;
        assert_eq!(
            run_and_call(&worker, without_webhook).await,
            JobRun::new("failed", false)
        );
        let row = webhook_row(&world, without_webhook).await;
        let expected = WebhookRow {
            status: None,
            attempts: None,
            has_secret: false,
            due_at: None,
        };
        assert_eq!(row, expected);
        assert_eq!(receiver.calls().len(), 0);
    });
}

#[test]
fn a_superseded_start_calls_its_webhook() {
    run(async {
        let (world, receiver) = (World::new().await, WebhookReceiver::answering(200).await);
        let bus = super::start_bus().await;
        let (_, key, id) = tenant_with_agent(&world).await;
        let start = provision_with_webhook(&world, &key, id, &receiver).await;
        let mut conn = world.database.statements();
        shared::db::jobs::queue::starts_supersede_of_any_organization(
            &mut conn,
            &[AgentId::new(id)],
            seconds(0),
        )
        .await
        .expect("an update");
        // The sweep finds the due webhook.
        assert_eq!(super::sweep(&world, &bus).await[ANNOUNCED], json!(1));
        assert_eq!(super::announced_jobs(&bus), [start.job]);
        let worker = allowing_private_webhooks(&world, "job-run").start().await;
        assert_eq!(
            run_and_call(&worker, start.job).await,
            JobRun::new(NOTHING_TO_DO, true)
        );
        let [call] = receiver.calls().try_into().expect("one call");
        let body: Value = serde_json::from_str(&call.body).expect("JSON");
        assert_eq!(body["status"], json!("failed"));
        assert_eq!(super::sweep(&world, &bus).await[ANNOUNCED], json!(0));
    });
}
