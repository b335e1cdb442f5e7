//! The binaries that ship, with the sample events that ship.

use chrono::{TimeDelta, Timelike, Utc};
use dev::runtime::Outcome;
use rust_decimal::dec;
use serde_json::{Value, json};
use tests::world::hours;
use tests::{Function, World, run, suite};

fn sample(name: &str) -> Value {
    let path = dev::build::workspace()
        .join("events")
        .join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("a sample event")).expect("JSON")
}

#[test]
fn the_hourly_run_takes_its_sample_event_and_both_event_shapes() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        world.at(hours(3)).await;
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
        let third = function.invoke_ok(json!({"what": "ever"})).await;
        assert_eq!(third["periodEnd"], json!("2026-03-01T03:00:00.000Z"));
        assert_eq!(world.charged(organization).await, dec!(0.06));
        world
            .at(Utc::now().with_nanosecond(0).expect("a time") + TimeDelta::days(3650))
            .await;
        let sample = function.invoke_ok(sample("billing-hourly")).await;
        assert_eq!(sample["complete"], json!(true));
    });
}

#[test]
fn an_event_without_a_time_is_said_in_the_log_and_a_complete_run_is_counted() {
    run(async {
        let world = World::new().await;
        let instance = world.function("billing-hourly").start().await;
        let outcome = instance
            .invoke(json!({}), std::time::Duration::from_secs(30))
            .await;
        assert!(matches!(outcome, Outcome::Success(_)));
        instance.kill().await;
        let logs = instance.logs().join("\n");
        assert!(logs.contains("names no usable time"), "{logs}");
        assert!(logs.contains("CompleteTicks"), "{logs}");
        let line: Value = logs
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|line| line["message"] == json!("billing-hourly done"))
            .expect("one line per invocation");
        assert!(line["db_queries"].as_u64() > Some(4), "{line}");
        assert_eq!(
            (&line["ok"], &line["cold_start"]),
            (&json!(true), &json!(true))
        );
    });
}

#[test]
fn an_hour_ahead_is_refused() {
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
fn every_function_has_a_sample_event_it_understands() {
    run(async {
        let world = World::new().await;
        for name in dev::build::names().expect("functions") {
            let outcome = world
                .function(&name)
                .with("CRON_SECRET", "dev-cron-secret")
                .invoke(sample(&name))
                .await;
            match outcome {
                Outcome::Success(answer) => {
                    // The sample key and ids exist in the local stack only: here nobody is known.
                    let status = answer["statusCode"].as_u64().unwrap_or(200);
                    let expected = match name.as_str() {
                        "not-found" => 404,
                        "session" => 403,
                        "openapi" | "db-migrate" | "job-run" | "job-sweep" | "fleet-refresh"
                        | "billing-hourly" | "billing-trigger" => 200,
                        _ => 401,
                    };
                    assert_eq!(status, expected, "{name}: {answer}");
                }
                // The sample hour may lie ahead of this database's clock.
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
fn a_missing_or_malformed_setting_is_named_and_its_value_is_not() {
    run(async {
        let url = suite::server().await.url("nowhere");
        for (function, said) in [
            (
                Function::new("billing-hourly", &url).without("DATABASE_URL"),
                "DATABASE_URL is not set",
            ),
            (
                Function::new("credit-history", "mysql://hunter2@x/y"),
                "DATABASE_URL is not a postgres:// address",
            ),
            (
                Function::new("credit-get", &url).with("MILADY_IDLE_HOURLY", "hunter2"),
                "MILADY_IDLE_HOURLY is not an amount",
            ),
            (
                Function::new("billing-trigger", &url).with("MILADY_GRACE_HOURS", "0"),
                "MILADY_GRACE_HOURS must be",
            ),
        ] {
            let instance = function.start().await;
            let outcome = instance
                .invoke(json!({}), std::time::Duration::from_secs(10))
                .await;
            assert!(matches!(outcome, Outcome::Crashed { .. }), "{outcome:?}");
            let logs = instance.logs().join("\n");
            assert!(logs.contains(said) && !logs.contains("hunter2"), "{logs}");
        }
    });
}

#[test]
fn prices_come_from_the_settings() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "stopped").await;
        world.at(hours(1)).await;
        let function = world
            .function("billing-hourly")
            .with("MILADY_IDLE_HOURLY", "0.5");
        function.invoke_ok(json!({"scheduledTime": hours(1)})).await;
        assert_eq!(world.charged(organization).await, dec!(0.5));
    });
}
