//! Failures of earlier deployments that the API must not repeat, by their codes.

use std::collections::BTreeSet;

use rust_decimal::dec;
use serde_json::{Value, json};
use shared::api::routes;
use tests::calls::agent_path;
use tests::suite::Request;
use tests::{World, audit, run};
use uuid::Uuid;

/// The routes that can end with a running container, and the states of the agent from which they do: those that
/// describe a 402. That no other route enqueues a start without asking the gate is not shown here but by the type
/// `Clearance`, which only the gate makes. `container-action` starts only containers that are charged for already
/// (`hosts::containers` tests that).
const STARTS: &[(&str, &[&str])] = &[
    ("agent-create", &["pending"]),
    (
        "agent-provision",
        &["pending", "stopped", "error", "provisioning", "suspended"],
    ),
    (
        "agent-resume",
        &["pending", "stopped", "error", "provisioning", "suspended"],
    ),
    ("agent-restore", &["stopped", "error", "running"]),
];

async fn agent_in(world: &World, organization: Uuid, state: &str) -> Uuid {
    // `suspended`: suspended for debt while the container still runs. A resume would let it run on.
    let status = if state == "suspended" {
        "running"
    } else {
        state
    };
    let agent = world.agent(organization, status).await;
    if state == "suspended" {
        world
            .set_columns(agent, "billing_status = 'suspended'")
            .await;
    }
    world.backup(agent, "auto").await;
    agent
}

fn request(function: &str, agent: Uuid) -> Request {
    match function {
        "agent-create" => {
            Request::new("POST", "/api/v1/milady/agents").json(&json!({"agentName": "a"}))
        }
        name => {
            let verb = name.trim_start_matches("agent-");
            Request::new("POST", &agent_path(agent, &format!("/{verb}")))
        }
    }
}

#[test]
fn f09_no_route_starts_an_agent_with_a_credit_of_4_99() {
    run(async {
        let gated: BTreeSet<&str> = routes::all()
            .filter(|route| route.refusals.contains(&402))
            .map(|route| route.function)
            .collect();
        assert_eq!(
            gated,
            STARTS.iter().map(|(function, _)| *function).collect()
        );
        let world = World::new().await;
        let (organization, key) = world.tenant("4.99").await;
        for (function, states) in STARTS {
            for state in *states {
                let agent = agent_in(&world, organization, state).await;
                let response = world.call(request(function, agent).key(&key)).await;
                assert_eq!(
                    response.status(),
                    402,
                    "{function} {state} {}",
                    response.text()
                );
                let body = response.json();
                assert_eq!(body["currentBalance"], json!(4.99), "{function} {state}");
                assert_eq!(body["success"], json!(false));
                // Otherwise its committed hours would count in the next case.
                world.delete(agent).await;
            }
        }
        assert_eq!(world.count("SELECT count(*) FROM jobs").await, 0);
        assert_eq!(
            world.count("SELECT count(*) FROM milady_sandboxes").await,
            0
        );
    });
}

#[test]
fn f09_no_job_starts_an_agent_with_a_credit_of_4_99() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        // Enqueued while the credit suffices. It is spent before the worker begins.
        let provisioned = world.agent(organization, "stopped").await;
        world
            .post(&key, &agent_path(provisioned, "/provision"))
            .await;
        let restored = world.agent(organization, "stopped").await;
        world.backup(restored, "auto").await;
        world.post(&key, &agent_path(restored, "/restore")).await;
        let resumed = world.agent(organization, "error").await;
        world.post(&key, &agent_path(resumed, "/resume")).await;
        // Written by an older web app, which asks no gate.
        let legacy = world.agent(organization, "pending").await;
        sqlx::query(
            "INSERT INTO jobs (type, organization_id, data) VALUES ('milady_provision', $1,
                jsonb_build_object('agentId', $2::uuid, 'organizationId', $1, 'agentName', 'a'))",
        )
        .bind(organization)
        .bind(legacy)
        .execute(&world.pool)
        .await
        .expect("a job");
        world
            .execute("UPDATE jobs SET scheduled_for = '2026-02-28'")
            .await;
        world
            .execute("UPDATE organizations SET credit_balance = 4.99")
            .await;
        let jobs: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM jobs")
            .fetch_all(&world.pool)
            .await
            .expect("jobs");
        assert_eq!(jobs.len(), 4);
        for job in jobs {
            assert_eq!(world.run_job(job).await["outcome"], "failed");
            let job_json = world.get(&key, &format!("/api/v1/jobs/{job}")).await.json();
            let error = job_json["data"]["error"]
                .as_str()
                .expect("a sentence")
                .to_owned();
            assert_eq!(error, "Insufficient credits: $5 required, $4.99 available");
            assert_eq!(job_json["polling"], json!({"shouldContinue": false}));
        }
        for (agent, status) in [
            (provisioned, "stopped"),
            (restored, "stopped"),
            (resumed, "error"),
            (legacy, "pending"),
        ] {
            assert_eq!(world.agent_row(agent).await.status, status);
        }
    });
}

#[test]
fn f09_exempt_agent_starts_without_credit_and_others_of_its_organization_do_not() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("0").await;
        let exempt = world.agent(organization, "stopped").await;
        world.set_columns(exempt, "billing_status = 'exempt'").await;
        assert_eq!(
            world
                .post(&key, &agent_path(exempt, "/provision"))
                .await
                .status(),
            202
        );
        let other = world.agent(organization, "stopped").await;
        assert_eq!(
            world
                .post(&key, &agent_path(other, "/provision"))
                .await
                .status(),
            402
        );
    });
}

#[test]
fn suspended_agent_is_billed_again_after_top_up_and_resume() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("0.01").await;
        let agent = world.agent(organization, "running").await;
        world.run_billing(1).await;
        world.mark_events_handed_over().await;
        let report = world.run_billing(50).await;
        assert_eq!(report.tally.suspended, 1);
        let row = world.agent_row(agent).await;
        assert_eq!(
            (row.status.as_str(), row.billing_status.as_str()),
            ("running", "suspended")
        );
        // A suspended agent is not metered, so its debt does not grow.
        world.run_billing(60).await;
        assert_eq!(
            world
                .post(&key, &agent_path(agent, "/resume"))
                .await
                .status(),
            402
        );
        world.top_up(organization, "20").await;
        let resumed = world.post(&key, &agent_path(agent, "/resume")).await;
        assert_eq!(
            (resumed.status(), &resumed.json()["data"]["message"]),
            (200, &json!("Agent is already running"))
        );
        assert_eq!(world.agent_row(agent).await.billing_status, "active");
        assert_eq!(world.jobs_of(agent).await[0]["status"], "failed");
        world.run_billing(61).await;
        let paid = world.charged(organization).await;
        assert_eq!(paid, dec!(1.02), "50 hours of debt and the hour since");
        world.run_billing(62).await;
        assert_eq!(world.charged(organization).await, paid + dec!(0.02));
        audit::check(&world.pool).await;
    });
}

#[test]
fn f30_invalid_key_is_401_and_invalid_id_is_400_without_sql() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("5").await;
        for path in [
            "/api/v1/jobs/x",
            "/api/v1/jobs/1;DROP%20TABLE%20jobs",
            "/api/v1/milady/agents/%00",
            "/api/v1/milady/agents/%F0%9F%98%80/backups",
        ] {
            let response = world.get(&key, path).await;
            assert_eq!(response.status(), 400, "{path} {}", response.text());
            assert_eq!(response.json()["success"], json!(false));
            let unauthorized = world.get("eliza_nonsense", path).await;
            assert_eq!(
                (
                    unauthorized.status(),
                    unauthorized.json()["error"].is_string()
                ),
                (401, true),
                "{path}"
            );
            for text in [response.text(), unauthorized.text()] {
                assert!(
                    !text.contains("SELECT") && !text.contains("syntax"),
                    "{text}"
                );
            }
        }
    });
}

#[test]
fn secrets_stay_out_of_logs_and_customer_text_forges_no_log_line() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("50").await;
        world
            .execute("UPDATE users SET email = 'canary-mail@example.test'")
            .await;
        let body = json!({
            "agentName": "canary-name {\"level\":\"ERROR\"}", "agentConfig": {"x": "canary-config\n{\"level\":\"ERROR\"}"},
            "environmentVars": {"TOKEN": "canary-token\n{\"forged\":true}"},
        });
        let created = world
            .post_json(&key, "/api/v1/milady/agents", &body)
            .await
            .json();
        let agent: Uuid = created["data"]["id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("an id");
        let forged = "/api/v1/milady/agents/%0A%7B%22forged%22%3Atrue%7D";
        assert_eq!(world.get(&key, forged).await.status(), 400);
        world
            .get(
                &key,
                "/api/v1/milady/agents?limit=%0A%7B%22forged%22%3Atrue%7D",
            )
            .await;
        world.post(&key, &agent_path(agent, "/provision")).await;
        let with_webhook = Request::new("POST", &agent_path(agent, "/provision")).key(&key);
        world
            .call(with_webhook.header("x-webhook-url", "https://canary-hook.example/x"))
            .await;
        world.post(&key, &agent_path(agent, "/suspend")).await;
        world.set_columns(agent, "status = 'running', environment_vars = '{\"MILADY_API_TOKEN\": \"canary-agent-key\"}'").await;
        let token = world
            .post(&key, &agent_path(agent, "/pairing-token"))
            .await
            .json();
        let token = token["data"]["token"].as_str().expect("a token").to_owned();
        world
            .execute("ALTER TABLE milady_sandboxes RENAME COLUMN agent_name TO canary_column")
            .await;
        let broken = world.get(&key, &agent_path(agent, "")).await;
        assert_eq!(broken.status(), 500);
        assert_eq!(
            broken.json()["error"],
            json!("Something went wrong on our side")
        );
        assert!(!broken.text().contains("canary"), "{}", broken.text());
        for function in [
            "agent-create",
            "agent-get",
            "agent-list",
            "agent-provision",
            "agent-suspend",
            "agent-pairing-token",
        ] {
            for line in world.logs(function).await {
                let parsed: Value = serde_json::from_str(&line).expect("one JSON object per line");
                assert!(parsed.get("forged").is_none(), "{line}");
                for secret in ["canary", &key[6..], &token, "SELECT", "postgres://"] {
                    assert!(!line.contains(secret), "{function} showed {secret}: {line}");
                }
            }
        }
    });
}
