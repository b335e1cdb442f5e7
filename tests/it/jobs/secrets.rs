//! What must never be read in a log or in a job: webhooks and their secrets, SQL, addresses.

use dev::runtime::Outcome;
use serde_json::json;
use tests::calls::agent_path;
use tests::suite::Request;
use tests::{Function, World, run, suite};
use uuid::Uuid;

use super::webhook::{Hook, open, work};
use super::{bus, due, fresh, job_id, seconds};

/// Runs one event and answers what the function logged until its end.
async fn logged(function: &Function, event: serde_json::Value) -> (Outcome, Vec<String>) {
    let instance = function.start().await;
    let outcome = instance
        .invoke(event, std::time::Duration::from_mins(1))
        .await;
    instance.kill().await;
    (outcome, instance.logs())
}

/// A start with a webhook, and what the request logged.
async fn start(world: &World, key: &str, id: Uuid, url: &str) -> (Uuid, String, Vec<String>) {
    let function = open(world, "agent-provision").with("LOG_LEVEL", "trace");
    let instance = function.start().await;
    let request = Request::new("POST", &agent_path(id, "/provision"))
        .key(key)
        .header("x-webhook-url", url);
    let parameters = [("agentId".to_owned(), id.to_string())].into();
    let route = "POST /api/v1/milady/agents/{agentId}/provision";
    let answer = Function::http_on(&instance, route, &parameters, &request).await;
    let secret = answer.json()["data"]["webhookSecret"].clone();
    let secret = secret.as_str().expect("a secret").to_owned();
    instance.kill().await;
    (job_id(&answer), secret, instance.logs())
}

#[test]
fn neither_logs_nor_jobs_hold_a_webhook_a_secret_sql_or_an_address() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        let hook = Hook::answering(500).await;
        let worker = open(&world, "job-run").with("LOG_LEVEL", "trace");
        let sweeper = super::function(&world, "job-sweep", &bus).with("LOG_LEVEL", "trace");
        let mut lines = Vec::new();
        let mut forbidden = vec!["webhook-canary".to_owned(), bus.address()];

        let mut asked = Vec::new();
        // Webhooks that answer badly, are not there, cannot be resolved, and are not understood.
        for url in [
            format!("{}&webhook-canary", hook.url()),
            "http://127.0.0.1:9/webhook-canary".to_owned(),
            "http://webhook-canary.invalid/".to_owned(),
            "https://127.0.0.1:9/webhook-canary".to_owned(),
        ] {
            let (_, key, id) = fresh(&world).await;
            let (start, secret, logs) = start(&world, &key, id, &url).await;
            lines.extend(logs);
            let request = Request::new("POST", &agent_path(id, "/provision"));
            asked.push(request.key(&key).header("x-webhook-url", &url));
            forbidden.extend([secret, key]);
            let instance = worker.start().await;
            for at in [0, 30, 150] {
                world.at(seconds(at)).await;
                work(&instance, start).await;
            }
            instance.kill().await;
            lines.extend(instance.logs());
            world.at(seconds(0)).await;
        }
        let refused = lines.iter().filter(|line| line.contains("not delivered"));
        assert_eq!(refused.count(), 4, "{lines:#?}");

        // EventBridge refuses, and is away.
        world.tick(1).await;
        bus.set_down(true);
        for sweeper in [&sweeper, &world.function("job-sweep")] {
            world.at(seconds(60)).await;
            let (_, logs) = logged(sweeper, json!({})).await;
            lines.extend(logs);
        }
        // The database refuses the statement, and is not there at all.
        world
            .execute("ALTER TABLE jobs RENAME attempts TO gone_away")
            .await;
        let away = "postgres://somebody:password-canary@127.0.0.1:9/database-canary";
        forbidden.extend(["password-canary", "database-canary", "127.0.0.1:9"].map(str::to_owned));
        let event = world.event(&asked[0]);
        let request = open(&world, "agent-provision");
        let failing = [
            (worker, due(Uuid::nil())),
            (sweeper, json!({})),
            (request.clone(), event.clone()),
            (Function::new("job-run", away), due(Uuid::nil())),
            (Function::new("job-sweep", away), json!({})),
            (request.with("DATABASE_URL", away), event),
        ];
        let failing =
            failing.map(|(function, event)| async move { logged(&function, event).await });
        for (outcome, logs) in futures_util::future::join_all(failing).await {
            let said = match outcome {
                Outcome::FunctionError { message, .. } => message,
                Outcome::Success(answer) if answer["statusCode"].as_u64() >= Some(500) => {
                    answer["body"].as_str().expect("a problem").to_owned()
                }
                other => panic!("{other:?}"),
            };
            assert!(!logs.is_empty(), "{said}");
            lines.push(said);
            lines.extend(logs);
        }

        let errors: Vec<String> = sqlx::query_scalar("SELECT error FROM jobs WHERE error <> ''")
            .fetch_all(&world.pool)
            .await
            .expect("errors");
        assert_eq!(errors.len(), 4);
        lines.extend(errors);
        let server = suite::server().await;
        let port = server.port();
        forbidden.extend([format!("127.0.0.1:{port}"), format!("port={port}")]);
        let database = world.url.rsplit('/').next().expect("a name");
        forbidden.push(database.to_owned());
        let words = [
            "SELECT",
            "UPDATE ",
            "INSERT",
            "WHERE",
            "webhook_",
            "gone_away",
            "postgres",
        ];
        forbidden.extend(words.map(str::to_owned));
        for line in &lines {
            for word in &forbidden {
                assert!(!line.contains(word), "{word} in {line}");
            }
        }
    });
}
