//! A snapshot that is old or missing, and a `DynamoDB` or an `EventBridge` that is away.

use std::time::{Duration, Instant};

use dev::dynamodb::DynamoDb;
use dev::template::Template;
use serde_json::json;
use tests::suite::{Function, Response, epoch};
use tests::{fleet, run};
use tokio::task::JoinSet;

use super::{Operations, seconds};

/// So many requests at the same moment, each to an instance of its own.
async fn at_once(operations: &Operations, requests: usize) -> Vec<Response> {
    let mut racing = JoinSet::new();
    for _ in 0..requests {
        let (world, request) = (operations.world.clone(), operations.request(""));
        racing.spawn(async move { world.call_cold(request).await });
    }
    racing.join_all().await
}

#[test]
fn f22_of_ten_who_look_at_a_stale_fleet_one_asks_for_an_inspection_and_all_are_answered() {
    run(async {
        let operations = Operations::inspected(2, 2).await;
        for (at, stale, asked) in [(89, false, 0), (90, true, 1), (99, true, 1), (100, true, 2)] {
            operations.world.at(seconds(at)).await;
            for answer in at_once(&operations, 10).await {
                assert_eq!(answer.status(), 200, "{at}");
                assert_eq!(answer.json()["data"]["stale"], json!(stale), "{at}");
                let age: i64 = answer
                    .header("age")
                    .and_then(|age| age.parse().ok())
                    .expect("Age");
                assert!((at..at + 5).contains(&age), "{age} at {at}");
                let observed = &answer.json()["data"]["nodes"][0]["observedAt"];
                assert_eq!(observed, "2026-03-01T00:00:00.000Z");
            }
            assert_eq!(operations.asked(), asked, "{at}");
        }
        let event = operations.bus.received().remove(0);
        assert_eq!(event["source"], json!("milady.control-plane"));
        let requested_at = event["detail"]["requestedAt"].as_str().expect("a time");
        assert!(requested_at.starts_with("2026-03-01T00:01:3"), "{event}");
    });
}

#[test]
fn the_function_has_no_way_to_a_host() {
    let template = Template::load().expect("template.yaml");
    let function = template
        .function("admin-infrastructure")
        .expect("the function");
    let settings = function.env.keys().chain(&function.secrets);
    let leading: Vec<&String> = settings
        .filter(|name| name.contains("SSH") || name.contains("NODE"))
        .collect();
    assert_eq!(leading, [""; 0]);
}

#[test]
fn who_comes_before_the_first_inspection_waits_for_it_and_one_asks() {
    run(async {
        let operations = Operations::new().await;
        let (answers, ()) = tokio::join!(at_once(&operations, 6), async {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            operations
                .world
                .inspected(&fleet::snapshot(2, 1, epoch()), epoch())
                .await;
        });
        for answer in answers {
            assert_eq!(answer.status(), 200, "{answer:?}");
            assert_eq!(answer.json()["data"]["summary"]["totalNodes"], 2);
        }
        assert_eq!(operations.asked(), 1);
    });
}

#[test]
fn without_any_inspection_the_wait_ends_with_a_503_and_it_was_asked_for_again() {
    run(async {
        let operations = Operations::new().await;
        let began = Instant::now();
        let answer = operations.get("?view=summary").await;
        assert!(
            (20..24).contains(&began.elapsed().as_secs()),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.header("retry-after"), Some("10"));
        let error = "The fleet has not been inspected yet, please try again";
        assert_eq!(answer.json()["error"], error);
        assert!(
            (2..=3).contains(&operations.asked()),
            "{}",
            operations.asked()
        );
    });
}

/// 503 with a time to come back, and soon; no word of any fleet.
fn assert_away(answer: &Response, asked: Instant) {
    assert_eq!(answer.status(), 503, "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("5"));
    let error = "The service is temporarily unavailable, please try again";
    assert_eq!(answer.json()["error"], error);
    assert!(answer.json().get("data").is_none());
    assert!(
        asked.elapsed() < Duration::from_secs(4),
        "{:?}",
        asked.elapsed()
    );
}

#[test]
fn with_dynamodb_down_it_is_said_that_nothing_is_known_and_never_an_empty_fleet() {
    run(async {
        let mut operations = Operations::new().await;
        let mut emulator = DynamoDb::start().await.expect("DynamoDB");
        operations.world.cache_in(&emulator, "fleet");
        operations
            .world
            .inspected(&fleet::snapshot(2, 1, epoch()), epoch())
            .await;
        assert_eq!(operations.get("").await.status(), 200);
        emulator.stop().await;
        // Also by an instance that has a copy: it cannot know whether that still holds.
        for _ in 0..2 {
            let asked = Instant::now();
            assert_away(&operations.get("").await, asked);
        }
        // A table that is not there is no empty fleet either.
        let asked = Instant::now();
        let function = operations.world.function("admin-infrastructure");
        let answer = operations
            .world
            .call_on(
                &function.with("FLEET_TABLE", "not-there"),
                operations.request(""),
            )
            .await;
        assert_away(&answer, asked);
        assert_eq!(operations.asked(), 0);
        let logs = operations
            .world
            .logs("admin-infrastructure")
            .await
            .join("\n");
        assert!(logs.contains("DynamoDB did not answer"), "{logs}");
        assert!(!logs.contains(&emulator.address()), "{logs}");
    });
}

#[test]
fn dynamodb_going_down_ends_the_wait() {
    run(async {
        let mut operations = Operations::new().await;
        let mut emulator = DynamoDb::start().await.expect("DynamoDB");
        operations.world.cache_in(&emulator, "fleet");
        let instance = operations.world.instance("admin-infrastructure").await;
        let (answer, stopped) = tokio::join!(operations.get(""), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let stopped = Instant::now();
            emulator.stop().await;
            stopped
        });
        assert_away(&answer, stopped);
        assert!(instance.is_alive());
    });
}

#[test]
fn what_is_cached_and_cannot_be_read_is_asked_for_anew() {
    run(async {
        let mut operations = Operations::new().await;
        let emulator = DynamoDb::start().await.expect("DynamoDB");
        operations.world.cache_in(&emulator, "fleet");
        let garbage =
            json!({"pk": {"S": "snapshot"}, "sk": {"S": "head"}, "token": {"S": "canary"}});
        emulator.put("fleet", &garbage).expect("put");
        for _ in 0..3 {
            let asked = Instant::now();
            assert_away(&operations.get("").await, asked);
        }
        assert_eq!(operations.asked(), 1);
        operations
            .world
            .inspected(&fleet::snapshot(2, 1, epoch()), epoch())
            .await;
        assert_eq!(operations.get("").await.status(), 200);
        let logs = operations
            .world
            .logs("admin-infrastructure")
            .await
            .join("\n");
        assert!(logs.contains("what is cached cannot be read"), "{logs}");
        assert!(!logs.contains("canary"), "{logs}");
    });
}

#[test]
fn with_eventbridge_down_the_stale_fleet_is_told() {
    run(async {
        let operations = Operations::inspected(2, 1).await;
        operations.world.at(seconds(500)).await;
        operations.bus.set_down(true);
        let asked = Instant::now();
        let answer = operations.get("").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.json()["data"]["stale"], json!(true));
        assert!(
            asked.elapsed() < Duration::from_secs(4),
            "{:?}",
            asked.elapsed()
        );
        let logs = operations
            .world
            .logs("admin-infrastructure")
            .await
            .join("\n");
        assert!(logs.contains("EventBridge did not take events"), "{logs}");
        // Whoever comes 10 seconds later asks again.
        operations.bus.set_down(false);
        operations.world.at(seconds(510)).await;
        assert_eq!(operations.get("").await.status(), 200);
        assert_eq!(operations.asked(), 1);
    });
}

#[test]
fn a_snapshot_of_yesterday_is_none() {
    run(async {
        let operations = Operations::inspected(2, 1).await;
        operations.world.at(seconds(86_400)).await;
        let later = seconds(86_401);
        let (answer, ()) = tokio::join!(operations.get(""), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            operations
                .world
                .inspected(&fleet::snapshot(3, 1, later), later)
                .await;
        });
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.json()["data"]["summary"]["totalNodes"], 3);
        assert_eq!(operations.asked(), 1);
    });
}

#[test]
fn a_setting_that_is_missing_is_named() {
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
