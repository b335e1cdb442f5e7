//! Calls of AWS that every function has to make, so that `.ci/check_privileges.py` finds no right that is not used: each
//! function reads its secrets, and each one that makes jobs announces them. The other calls are made by the tests of what
//! makes them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dev::events::EventBus;
use dev::runtime::Outcome;
use dev::template::Template;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::secrets_manager::{SecretsManager, StoredSecret};
use tests::suite::{self, Request};
use tests::{World, run};

/// These are read when they are first needed, not when the function starts.
const READ_LATER: [&str; 3] = ["HEADSCALE_API_KEY", "MILADY_SSH_KEY", "REGISTRY_ACCOUNTS"];

fn arn(setting: &str) -> String {
    // One secret tells who creates agents' databases, in one of two ways.
    let name = match setting {
        "AGENT_DATABASE_ADMIN_URL" | "NEON_API_KEY" => "agent-databases",
        other => other,
    };
    format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}")
}

/// A secret for each setting that may be stored.
fn stored_secrets(world: &World, agents: &str) -> BTreeMap<String, StoredSecret> {
    let runtime_url = suite::runtime_url(&world.url);
    let origin = "an-origin-secret-of-at-least-32-bytes";
    [
        ("RUNTIME_DATABASE_URL", runtime_url.as_str()),
        ("OWNER_DATABASE_URL", &world.url),
        ("SESSION_SECRET", suite::SESSION_SECRET),
        ("CRON_SECRET", suite::CRON_SECRET),
        ("SECRETS_KEYS", suite::SECRETS_KEYS),
        ("ORIGIN_SECRET", origin),
        ("ORIGIN_SECRET_OTHER", origin),
        ("AGENT_DATABASE_ADMIN_URL", agents),
        ("SMTP_URL", "smtp://127.0.0.1:9"),
    ]
    .into_iter()
    .map(|(setting, value)| {
        let secret = json!({ setting: value }).to_string();
        (arn(setting), StoredSecret::Text(secret))
    })
    .collect()
}

#[test]
fn f96_every_function_reads_exactly_the_secrets_of_its_settings_when_it_starts() {
    run(async {
        let world = World::new().await;
        let agents = suite::server().await.url("postgres");
        let manager = SecretsManager::start(stored_secrets(&world, &agents)).await;
        let template = Template::load().expect("template.yaml");
        for described in &template.functions {
            let names = described.env.keys().chain(&described.secrets);
            let stored = names.filter_map(|name| name.strip_suffix("_ARN"));
            let stored: Vec<&str> = stored.filter(|name| !READ_LATER.contains(name)).collect();
            let mut function = world
                .function(&described.name)
                .with("AWS_ENDPOINT_URL_SECRETS_MANAGER", &manager.url());
            for setting in &stored {
                let variable = format!("{setting}_ARN");
                function = function.without(setting).with(&variable, &arn(setting));
            }
            let read_before = manager.calls().await;
            let instance = function.start().await;
            let started = instance.wait_until_ready().await;
            assert!(started.is_ok(), "{}: {started:?}", described.name);
            let requests = manager.requests().await;
            let read: BTreeSet<String> = requests[read_before..]
                .iter()
                .map(|request| {
                    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
                    body["SecretId"].as_str().expect("an ARN").to_owned()
                })
                .collect();
            let expected: BTreeSet<String> = stored.iter().map(|setting| arn(setting)).collect();
            assert_eq!(read, expected, "{}", described.name);
        }
    });
}

#[test]
fn every_function_that_makes_jobs_announces_them_at_once() {
    run(async {
        let mut world = World::new().await;
        let template = Template::load().expect("template.yaml");
        let bus = EventBus::start(&template).await.expect("an event bus");
        let endpoint = ("AWS_ENDPOINT_URL_EVENTBRIDGE".to_owned(), bus.address());
        world.settings.extend([endpoint]);
        world
            .execute(
                "INSERT INTO docker_nodes (node_id, hostname, ssh_port)
                SELECT 'n' || n, '127.0.0.1', 9 FROM generate_series(1, 5) AS n",
            )
            .await;
        let operator = world.super_admin().await;
        let mut requests = Vec::new();
        // An agent of its own organization on its own host for each, so that no job waits for another one.
        for (method, path, status, place) in [
            ("POST", "/provision", "pending", None),
            ("POST", "/resume", "stopped", None),
            ("POST", "/restore", "stopped", None),
            (
                "POST",
                "/suspend",
                "running",
                Some("node_id = 'n1', container_name = 'c'"),
            ),
            (
                "PATCH",
                "",
                "running",
                Some("node_id = 'n2', container_name = 'c'"),
            ),
            (
                "DELETE",
                "",
                "running",
                Some("node_id = 'n3', container_name = 'c'"),
            ),
            (
                "POST",
                "/move",
                "running",
                Some("node_id = 'n4', container_name = 'c'"),
            ),
        ] {
            let (organization, key) = world.tenant("50").await;
            let agent = world.agent(organization, status).await;
            world.backup(agent, "auto").await;
            if let Some(columns) = place {
                world.set_columns(agent, columns).await;
            }
            let (path, key) = match path {
                "/move" => (format!("/api/v1/admin/agents/{agent}/move"), &operator),
                path => (agent_path(agent, path), &key),
            };
            let request = Request::new(method, &path).key(key);
            requests.push(match method {
                "PATCH" => request.json(&json!({"action": "suspend"})),
                _ => request,
            });
        }
        // Nobody runs the jobs, and some functions wait for theirs as long as they have time.
        let answers = requests.iter().map(async |request| {
            let instance = world.function_for(request).start().await;
            let limit = Duration::from_secs(3);
            instance.invoke(world.event(request), limit).await
        });
        for (request, answer) in requests.iter().zip(join_all(answers).await) {
            assert!(
                matches!(answer, Outcome::Success(_)),
                "{request:?}: {answer:?}"
            );
        }
        let received = bus.received().into_iter();
        let due = received.filter(|event| event["detail-type"] == "job.due");
        assert_eq!(due.count(), requests.len());
    });
}
