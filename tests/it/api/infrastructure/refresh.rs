//! A snapshot that is old or missing, and a `DynamoDB` or an `EventBridge` that cannot be reached.

use std::time::{Duration, Instant};

use dev::dynamodb::DynamoDb;
use dev::template::Template;
use serde_json::json;
use tests::suite::{Function, Response, epoch};
use tests::{fleet, run};
use tokio::task::JoinSet;

use super::{Operations, seconds};

/// Sends requests at the same time, each to an instance of its own.
async fn simultaneous_requests(operations: &Operations, requests: usize) -> Vec<Response> {
    let mut requests_in_flight = JoinSet::new();
    for _ in 0..requests {
        let (world, request) = (operations.world.clone(), operations.request(""));
        requests_in_flight.spawn(async move { world.call_on_new_instance(request).await });
    }
    requests_in_flight.join_all().await
}

#[test]
fn f22_simultaneous_requests_for_a_stale_fleet_request_one_inspection() {
    run(async {
        let operations = Operations::inspected(2, 2).await;
        for (at, stale, requested) in [(89, false, 0), (90, true, 1), (99, true, 1), (100, true, 2)]
        {
            operations.world.set_clock(seconds(at)).await;
            for response in simultaneous_requests(&operations, 10).await {
                assert_eq!(response.status(), 200, "{at}");
                assert_eq!(response.json()["data"]["stale"], json!(stale), "{at}");
                let age: i64 = response
                    .header("age")
                    .and_then(|age| age.parse().ok())
                    .expect("Age");
                assert!((at..at + 5).contains(&age), "{age} at {at}");
                let observed = &response.json()["data"]["nodes"][0]["observedAt"];
                assert_eq!(observed, "2026-03-01T00:00:00.000Z");
            }
            assert_eq!(operations.requested_inspections(), requested, "{at}");
        }
        let event = operations.bus.received().remove(0);
        assert_eq!(event["source"], json!("milady.control-plane"));
        let requested_at = event["detail"]["requestedAt"].as_str().expect("a time");
        assert!(requested_at.starts_with("2026-03-01T00:01:3"), "{event}");
    });
}

#[test]
fn function_has_no_settings_for_connecting_to_hosts() {
    let template = Template::load().expect("template.yaml");
    let function = template
        .function("admin-infrastructure")
        .expect("the function");
    let settings = function.env.keys().chain(&function.secrets);
    let host_settings: Vec<&String> = settings
        .filter(|name| name.contains("SSH") || name.contains("NODE"))
        .collect();
    assert_eq!(host_settings, [""; 0]);
}

#[test]
fn requests_before_the_first_inspection_wait_for_it_and_request_it_once() {
    run(async {
        let operations = Operations::new().await;
        let (answers, ()) = tokio::join!(simultaneous_requests(&operations, 6), async {
            operations.wait_for_waiting_requests().await;
            operations
                .world
                .cache_snapshot(&fleet::snapshot(2, 1, epoch()), epoch())
                .await;
        });
        for response in answers {
            assert_eq!(response.status(), 200, "{response:?}");
            assert_eq!(response.json()["data"]["summary"]["totalNodes"], 2);
        }
        assert_eq!(operations.requested_inspections(), 1);
    });
}

#[test]
fn wait_without_any_inspection_ends_with_503_and_repeats_the_request_for_one() {
    run(async {
        let operations = Operations::new().await;
        let started = Instant::now();
        let response = operations.get("?view=summary").await;
        assert!(
            (20..24).contains(&started.elapsed().as_secs()),
            "{:?}",
            started.elapsed()
        );
        assert_eq!(response.status(), 503);
        assert_eq!(response.header("retry-after"), Some("10"));
        let error = "The fleet has not been inspected yet, please try again";
        assert_eq!(response.json()["error"], error);
        assert!(
            (2..=3).contains(&operations.requested_inspections()),
            "{}",
            operations.requested_inspections()
        );
    });
}

/// The response must be a prompt 503 with `Retry-After`, without any data.
fn assert_unavailable(response: &Response, started: Instant) {
    assert_eq!(response.status(), 503, "{response:?}");
    assert_eq!(response.header("retry-after"), Some("5"));
    let error = "The service is temporarily unavailable, please try again";
    assert_eq!(response.json()["error"], error);
    assert!(response.json().get("data").is_none());
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn unreachable_dynamodb_is_503_and_never_an_empty_fleet() {
    run(async {
        let mut operations = Operations::new().await;
        let mut emulator = DynamoDb::start().await.expect("DynamoDB");
        operations.world.use_cache_table(&emulator, "fleet");
        operations
            .world
            .cache_snapshot(&fleet::snapshot(2, 1, epoch()), epoch())
            .await;
        assert_eq!(operations.get("").await.status(), 200);
        emulator.stop().await;
        // Also from an instance with a copy of the snapshot: the copy may be outdated.
        for _ in 0..2 {
            let started = Instant::now();
            assert_unavailable(&operations.get("").await, started);
        }
        // A missing table is 503 too.
        let started = Instant::now();
        let function = operations.world.function("admin-infrastructure");
        let response = operations
            .world
            .call_function(
                &function.with("FLEET_TABLE", "not-there"),
                operations.request(""),
            )
            .await;
        assert_unavailable(&response, started);
        assert_eq!(operations.requested_inspections(), 0);
        let logs = operations
            .world
            .logs("admin-infrastructure")
            .await
            .join("\n");
        assert!(logs.contains("DynamoDB call failed"), "{logs}");
        assert!(!logs.contains(&emulator.address()), "{logs}");
    });
}

#[test]
fn wait_ends_if_dynamodb_goes_down() {
    run(async {
        let mut operations = Operations::new().await;
        let mut emulator = DynamoDb::start().await.expect("DynamoDB");
        operations.world.use_cache_table(&emulator, "fleet");
        let instance = operations.world.instance("admin-infrastructure").await;
        let (response, stopped) = tokio::join!(operations.get(""), async {
            operations.wait_for_waiting_requests().await;
            let stopped = Instant::now();
            emulator.stop().await;
            stopped
        });
        assert_unavailable(&response, stopped);
        assert!(instance.is_alive());
    });
}

#[test]
fn unreadable_snapshot_is_503_and_requests_an_inspection() {
    run(async {
        let mut operations = Operations::new().await;
        let emulator = DynamoDb::start().await.expect("DynamoDB");
        operations.world.use_cache_table(&emulator, "fleet");
        let garbage = json!({"pk": {"S": "snapshot"}, "sk": {"S": "head-of-shards"}, "version": {"S": "canary"}});
        emulator.put("fleet", &garbage).expect("put");
        for _ in 0..3 {
            let started = Instant::now();
            assert_unavailable(&operations.get("").await, started);
        }
        assert_eq!(operations.requested_inspections(), 1);
        operations
            .world
            .cache_snapshot(&fleet::snapshot(2, 1, epoch()), epoch())
            .await;
        assert_eq!(operations.get("").await.status(), 200);
        let logs = operations
            .world
            .logs("admin-infrastructure")
            .await
            .join("\n");
        assert!(logs.contains("cached item cannot be read"), "{logs}");
        assert!(!logs.contains("canary"), "{logs}");
    });
}

#[test]
fn unreachable_eventbridge_does_not_fail_the_request() {
    run(async {
        let operations = Operations::inspected(2, 1).await;
        operations.world.set_clock(seconds(500)).await;
        operations.bus.set_down(true);
        let started = Instant::now();
        let response = operations.get("").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.json()["data"]["stale"], json!(true));
        assert!(
            started.elapsed() < Duration::from_secs(4),
            "{:?}",
            started.elapsed()
        );
        let logs = operations
            .world
            .logs("admin-infrastructure")
            .await
            .join("\n");
        assert!(logs.contains("the call of EventBridge failed"), "{logs}");
        // A request 10 seconds later publishes the event.
        operations.bus.set_down(false);
        operations.world.set_clock(seconds(510)).await;
        assert_eq!(operations.get("").await.status(), 200);
        assert_eq!(operations.requested_inspections(), 1);
    });
}

#[test]
fn snapshot_expires_after_a_day() {
    run(async {
        let operations = Operations::inspected(2, 1).await;
        operations.world.set_clock(seconds(86_400)).await;
        let later = seconds(86_401);
        let (response, ()) = tokio::join!(operations.get(""), async {
            operations.wait_for_waiting_requests().await;
            operations
                .world
                .cache_snapshot(&fleet::snapshot(3, 1, later), later)
                .await;
        });
        assert_eq!(response.status(), 200);
        assert_eq!(response.json()["data"]["summary"]["totalNodes"], 3);
        assert_eq!(operations.requested_inspections(), 1);
    });
}

#[test]
fn missing_setting_is_named() {
    run(async {
        let operations = Operations::new().await;
        for name in ["FLEET_TABLE", "EVENT_BUS"] {
            let function: Function = operations
                .world
                .function("admin-infrastructure")
                .without(name);
            let instance = function.start().await;
            let outcome = instance.invoke(json!({}), Duration::from_secs(10)).await;
            assert!(
                matches!(outcome, dev::runtime::Outcome::Crashed { .. }),
                "{outcome:?}"
            );
            let logs = instance.logs().join("\n");
            assert!(logs.contains(&format!("{name} is not set")), "{logs}");
        }
    });
}
