//! The functions' binaries, invoked with the sample events of `events/`.

use chrono::{TimeDelta, Timelike, Utc};
use dev::runtime::Outcome;
use rust_decimal::dec;
use serde_json::{Value, json};
use tests::world::hours;
use tests::{Function, World, run, sample_event, suite};

#[test]
fn hourly_run_accepts_its_sample_event_and_both_forms_of_event() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        world.set_clock(hours(3)).await;
        let function = world.function("billing-hourly");
        let first = function
            .invoke_ok(json!({"scheduledTime": "2026-03-01T01:00:00Z"}))
            .await;
        assert_eq!(first["periodEnd"], json!("2026-03-01T01:00:00.000Z"));
        let classic = json!({"source": "aws.events", "detail-type": "Scheduled Event",
            "time": "2026-03-01T02:00:07Z", "detail": {}});
        let second = function.invoke_ok(classic).await;
        assert_eq!(second["periodEnd"], json!("2026-03-01T02:00:00.000Z"));
        assert_eq!(world.charged(organization).await, dec!(0.04));
        let third = function.invoke_ok(json!({"without": "a time"})).await;
        assert_eq!(third["periodEnd"], json!("2026-03-01T03:00:00.000Z"));
        assert_eq!(world.charged(organization).await, dec!(0.06));
        world
            .set_clock(Utc::now().with_nanosecond(0).expect("a time") + TimeDelta::days(3650))
            .await;
        let result = function.invoke_ok(sample_event("billing-hourly")).await;
        assert_eq!(result["complete"], json!(true));
    });
}

#[test]
fn hourly_run_logs_an_event_without_time_and_counts_a_complete_run() {
    run(async {
        let world = World::new().await;
        let instance = world.function("billing-hourly").start().await;
        let outcome = instance
            .invoke(json!({}), std::time::Duration::from_secs(30))
            .await;
        assert!(matches!(outcome, Outcome::Success(_)));
        instance.kill().await;
        let logs = instance.logs().join("\n");
        assert!(logs.contains("event holds no valid time"), "{logs}");
        assert!(logs.contains("CompleteRuns"), "{logs}");
        let line: Value = logs
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|line| line["message"] == json!("billing-hourly succeeded"))
            .expect("one line per invocation");
        assert!(line["db_queries"].as_u64() > Some(4), "{line}");
        assert_eq!(
            (&line["ok"], &line["cold_start"]),
            (&json!(true), &json!(true))
        );
    });
}

#[test]
fn hourly_run_refuses_an_hour_that_has_not_begun() {
    run(async {
        let world = World::new().await;
        let outcome = world
            .function("billing-hourly")
            .invoke(json!({"scheduledTime": hours(2)}))
            .await;
        let Outcome::FunctionError { message, .. } = outcome else {
            panic!("{outcome:?}")
        };
        assert!(message.contains("60 s ahead"), "{message}");
        assert_eq!(world.count("SELECT count(*) FROM billing_runs").await, 0);
    });
}

#[test]
fn every_function_understands_its_sample_event() {
    run(async {
        let world = World::new().await;
        for name in dev::build::function_names().expect("functions") {
            let outcome = world
                .function(&name)
                .with("CRON_SECRET", "dev-cron-secret")
                .invoke(sample_event(&name))
                .await;
            match outcome {
                Outcome::Success(response) => {
                    // The key in the sample events is known only to the local stack.
                    let status = response["statusCode"].as_u64().unwrap_or(200);
                    let expected = match name.as_str() {
                        "not-found" => 404,
                        // 503 if Node.js was not there to build it.
                        "dashboard" if status == 503 => 503,
                        "session" => 403,
                        "dashboard"
                        | "openapi"
                        | "db-migrate"
                        | "agent-database-check"
                        | "backup-daily"
                        | "job-run"
                        | "job-sweep"
                        | "fleet-refresh"
                        | "host-upkeep"
                        | "billing-audit"
                        | "billing-hourly"
                        | "billing-trigger"
                        | "notify"
                        | "webhook-deliver" => 200,
                        _ => 401,
                    };
                    assert_eq!(status, expected, "{name}: {response}");
                }
                // The hour of the sample event may be ahead of this database's clock.
                Outcome::FunctionError { message, .. } => {
                    assert!(
                        name == "billing-hourly" && message.contains("ahead"),
                        "{name}: {message}"
                    );
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    });
}

#[test]
fn startup_error_names_the_setting_and_hides_its_value() {
    run(async {
        let url = suite::server().await.url("nowhere");
        for (function, error) in [
            (
                Function::new("billing-hourly", &url).without("RUNTIME_DATABASE_URL"),
                "RUNTIME_DATABASE_URL is not set",
            ),
            (
                Function::new("credit-history", "mysql://hunter2@x/y"),
                "RUNTIME_DATABASE_URL is not a postgres:// address",
            ),
            (
                Function::new("credit-get", &url).with("MILADY_IDLE_HOURLY", "hunter2"),
                "MILADY_IDLE_HOURLY is not an amount",
            ),
            (
                Function::new("agent-pair", &url).with("SECRETS_KEYS", "a:hunter2"),
                "SECRETS_KEYS has a key that is not base64",
            ),
            (
                Function::new("job-run", &url).with("SECRETS_KEYS", "a:aHVudGVyMg=="),
                "SECRETS_KEYS has a key that is not 32 bytes long",
            ),
            (
                Function::new("billing-trigger", &url).with("MILADY_GRACE_HOURS", "0"),
                "MILADY_GRACE_HOURS must be",
            ),
            (
                Function::new("notify", &url).with("SMTP_URL", "https://a:hunter2@x"),
                "SMTP_URL is not an smtps:// or smtp:// address",
            ),
            (
                Function::new("notify", &url).with("APP_URL", "http://hunter2.example"),
                "APP_URL is not an https address",
            ),
        ] {
            let instance = function.start().await;
            let outcome = instance
                .invoke(json!({}), std::time::Duration::from_secs(10))
                .await;
            assert!(matches!(outcome, Outcome::Crashed { .. }), "{outcome:?}");
            let logs = instance.logs().join("\n");
            assert!(logs.contains(error) && !logs.contains("hunter2"), "{logs}");
        }
    });
}

#[test]
fn billing_uses_the_prices_of_the_settings() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "stopped").await;
        let migrate = world.function("db-migrate");
        migrate
            .with("MILADY_IDLE_HOURLY", "0.5")
            .invoke_ok(json!({}))
            .await;
        // From the next full hour on.
        world.run_billing(2).await;
        assert_eq!(world.charged(organization).await, dec!(0.5025));
    });
}
