//! What logs and jobs must never hold: webhooks and their secrets, SQL, addresses.

use dev::runtime::Outcome;
use serde_json::json;
use tests::calls::agent_path;
use tests::suite::Request;
use tests::{Function, World, run, suite};
use uuid::Uuid;

use super::webhook::{WebhookReceiver, allowing_private_webhooks, run_and_call};
use super::{due_event, job_id, seconds, start_bus, tenant_with_agent};

/// Invokes a function. Returns everything that it logged.
async fn invoke_and_log(function: &Function, event: serde_json::Value) -> (Outcome, Vec<String>) {
    let instance = function.start().await;
    let outcome = instance
        .invoke(event, std::time::Duration::from_mins(1))
        .await;
    instance.kill().await;
    (outcome, instance.logs())
}

struct RequestedStart {
    job: Uuid,
    webhook_secret: String,
    logs: Vec<String>,
}

async fn provision_with_webhook(world: &World, key: &str, id: Uuid, url: &str) -> RequestedStart {
    let function = allowing_private_webhooks(world, "agent-provision").with("LOG_LEVEL", "trace");
    let instance = function.start().await;
    let request = Request::new("POST", &agent_path(id, "/provision"))
        .key(key)
        .header("x-webhook-url", url);
    let parameters = [("agentId".to_owned(), id.to_string())].into();
    let route = "POST /api/v1/milady/agents/{agentId}/provision";
    let response = Function::http_on(&instance, route, &parameters, &request).await;
    let secret = response.json()["data"]["webhookSecret"].clone();
    instance.kill().await;
    RequestedStart {
        job: job_id(&response),
        webhook_secret: secret.as_str().expect("a secret").to_owned(),
        logs: instance.logs(),
    }
}

/// Everything that a reader of logs and jobs sees, and what must not be in it.
#[derive(Default)]
struct Evidence {
    lines: Vec<String>,
    forbidden: Vec<String>,
}

impl Evidence {
    fn forbid<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        self.forbidden.extend(words.into_iter().map(str::to_owned));
    }

    fn check(&self) {
        for line in &self.lines {
            for word in &self.forbidden {
                assert!(!line.contains(word), "{word} in {line}");
            }
        }
    }
}

/// Runs a start that fails, and calls its webhook once. Returns the request.
async fn fail_start_with_webhook(
    world: &World,
    worker: &Function,
    url: &str,
    evidence: &mut Evidence,
) -> Request {
    let (_, key, id) = tenant_with_agent(world).await;
    let start = provision_with_webhook(world, &key, id, url).await;
    evidence.lines.extend(start.logs);
    evidence.forbid([start.webhook_secret.as_str(), key.as_str()]);
    let instance = worker.start().await;
    for at in [0, 30, 150] {
        world.set_clock(seconds(at)).await;
        run_and_call(&instance, start.job).await;
    }
    instance.kill().await;
    evidence.lines.extend(instance.logs());
    world.set_clock(seconds(0)).await;
    let request = Request::new("POST", &agent_path(id, "/provision"));
    request.key(&key).header("x-webhook-url", url)
}

/// Lets a request, a worker and a sweep fail, once because the database refuses a statement, and once because it
/// cannot be reached.
async fn fail_at_the_database(
    world: &World,
    worker: Function,
    sweeper: Function,
    request: &Request,
    evidence: &mut Evidence,
) {
    world
        .execute("ALTER TABLE jobs RENAME attempts TO gone_away")
        .await;
    let unreachable = "postgres://somebody:password-canary@127.0.0.1:9/database-canary";
    evidence.forbid([
        "gone_away",
        "password-canary",
        "database-canary",
        "127.0.0.1:9",
    ]);
    let event = world.event(request);
    let provision = allowing_private_webhooks(world, "agent-provision");
    let due = due_event(Uuid::nil());
    let failing = [
        (worker, due.clone()),
        (sweeper, json!({})),
        (provision.clone(), event.clone()),
        (Function::new("job-run", unreachable), due),
        (Function::new("job-sweep", unreachable), json!({})),
        (provision.with("RUNTIME_DATABASE_URL", unreachable), event),
    ];
    let failing =
        failing.map(|(function, event)| async move { invoke_and_log(&function, event).await });
    for (outcome, logs) in futures_util::future::join_all(failing).await {
        let error = match outcome {
            Outcome::FunctionError { message, .. } => message,
            Outcome::Success(response) if response["statusCode"].as_u64() >= Some(500) => {
                response["body"].as_str().expect("a problem").to_owned()
            }
            other => panic!("{other:?}"),
        };
        assert!(!logs.is_empty(), "{error}");
        evidence.lines.push(error);
        evidence.lines.extend(logs);
    }
}

#[test]
fn logs_and_jobs_hold_no_webhook_secret_sql_or_address() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let receiver = WebhookReceiver::answering(500).await;
        let worker = allowing_private_webhooks(&world, "job-run").with("LOG_LEVEL", "trace");
        let sweeper =
            super::publishing_function(&world, "job-sweep", &bus).with("LOG_LEVEL", "trace");
        let mut evidence = Evidence::default();
        evidence.forbid(["webhook-canary", bus.address().as_str()]);
        evidence.forbid([
            "SELECT", "UPDATE ", "INSERT", "WHERE", "webhook_", "postgres",
        ]);

        let mut requests = Vec::new();
        // Webhooks that answer with an error, do not listen, cannot be resolved, and do not speak TLS.
        for url in [
            format!("{}&webhook-canary", receiver.url()),
            "http://127.0.0.1:9/webhook-canary".to_owned(),
            "http://webhook-canary.invalid/".to_owned(),
            "https://127.0.0.1:9/webhook-canary".to_owned(),
        ] {
            let request = fail_start_with_webhook(&world, &worker, &url, &mut evidence).await;
            requests.push(request);
        }
        let lines = &evidence.lines;
        let undelivered = lines.iter().filter(|line| line.contains("not delivered"));
        assert_eq!(undelivered.count(), 4, "{lines:#?}");

        // EventBridge refuses, and cannot be reached.
        world.run_billing(1).await;
        bus.set_down(true);
        for sweeper in [&sweeper, &world.function("job-sweep")] {
            world.set_clock(seconds(60)).await;
            let (_, logs) = invoke_and_log(sweeper, json!({})).await;
            evidence.lines.extend(logs);
        }
        fail_at_the_database(&world, worker, sweeper, &requests[0], &mut evidence).await;

        let errors: Vec<String> = sqlx::query_scalar("SELECT error FROM jobs WHERE error <> ''")
            .fetch_all(&world.pool)
            .await
            .expect("errors");
        assert_eq!(errors.len(), 4);
        evidence.lines.extend(errors);
        let port = suite::server().await.port();
        let database = world.url.rsplit('/').next().expect("a name");
        evidence.forbid([
            database,
            format!("127.0.0.1:{port}").as_str(),
            format!("port={port}").as_str(),
        ]);
        evidence.check();
    });
}
