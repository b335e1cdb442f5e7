//! `GET /api/v1/credits/...`

mod busy;
mod charges;
mod csv;
mod history;
mod series;
mod usage;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::suite::{Request, Response};
use tests::world::{hours, minutes};
use tests::{World, run};

const BALANCE: &str = "/api/v1/credits/balance";
const HISTORY: &str = "/api/v1/credits/transactions";
const USAGE: &str = "/api/v1/credits/usage";
const SERIES: &str = "/api/v1/credits/series";

async fn get(world: &World, target: &str, key: Option<&str>) -> Response {
    let request = Request::new("GET", target);
    let request = key
        .into_iter()
        .fold(request, |request, key| request.header("x-api-key", key));
    send(world, target, request).await
}

async fn send(world: &World, target: &str, request: Request) -> Response {
    let path = target.split('?').next().unwrap_or_default();
    let function = if path == BALANCE {
        "credit-get"
    } else {
        "credit-history"
    };
    world
        .function(function)
        .http(&format!("GET {path}"), request)
        .await
}

#[test]
fn balance_forecasts_when_the_credit_is_used_up() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("12.06").await;
        world.agent(organization, "running").await;
        world.agent(organization, "running").await;
        world.agent(organization, "stopped").await;
        let key = world.key(organization).await;
        world.run_billing(1).await;
        world.set_clock(minutes(90)).await;
        let response = get(&world, BALANCE, Some(&key)).await;
        assert_eq!(response.status(), 200);
        assert!(response.header("x-request-id").is_some());
        // 12.06 - 0.0425 is charged. Half an hour more has passed: 11.99625 / 0.0425 = 282.26 h are left,
        // and 72 less until the mark.
        assert_eq!(
            response.json(),
            json!({"success": true, "balance": 12.0175, "data": {
                "balance": 12.0175, "owed": 0.0, "burnPerHour": 0.0425, "hoursLeft": 282.26,
                "lowAt": "2026-03-09T19:45:52.000Z", "emptyAt": "2026-03-12T19:45:52.000Z",
                "requiredForNextAgent": 5.0, "scheduledShutdowns": [], "unpaidBackups": [],
            }})
        );
    });
}

#[test]
fn balance_shows_debt_and_scheduled_shutdowns() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0.01").await;
        let agent = world.agent(organization, "running").await;
        let key = world.key(organization).await;
        world.run_billing(2).await;
        let data = get(&world, BALANCE, Some(&key)).await.json()["data"].clone();
        assert_eq!(
            data,
            json!({
                "balance": 0.01, "owed": 0.04, "burnPerHour": 0.02, "hoursLeft": 0.0,
                "lowAt": null, "emptyAt": "2026-03-01T02:00:00.000Z", "requiredForNextAgent": 5.04,
                "scheduledShutdowns": [{"agentId": agent, "agentName": "agent",
                    "scheduledShutdownAt": "2026-03-03T02:00:00.000Z"}],
                "unpaidBackups": [],
            })
        );
    });
}

#[test]
fn balance_shows_when_unpaid_backups_may_be_deleted() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("0.0025").await;
        let agent = world.agent(organization, "stopped").await;
        let key = world.key(organization).await;
        let shown = async || {
            let response = get(&world, BALANCE, Some(&key)).await;
            response.json()["data"]["unpaidBackups"].clone()
        };
        // In debt from the second hour on, but not suspended yet.
        world.run_billing(2).await;
        world.mark_events_handed_over().await;
        assert_eq!(shown().await, json!([]));
        world.run_billing(51).await;
        let dates = json!([{"agentId": agent, "agentName": "agent",
            "unpaidSince": "2026-03-01T01:00:00.000Z", "noticeAt": "2026-03-31T01:00:00.000Z",
            "deletionAt": "2026-04-07T01:00:00.000Z"}]);
        assert_eq!(shown().await, dates);
        // A payment for the oldest hour moves the dates by an hour, and a payment for all of it ends them.
        world.top_up(organization, "0.0025").await;
        world.run_billing(52).await;
        let moved = shown().await;
        assert_eq!(moved[0]["unpaidSince"], "2026-03-01T02:00:00.000Z");
        assert_eq!(moved[0]["deletionAt"], "2026-04-07T02:00:00.000Z");
        world.top_up(organization, "1").await;
        world.run_billing(53).await;
        assert_eq!(shown().await, json!([]));
        // Without backups there is nothing to delete.
        world
            .execute("UPDATE organizations SET credit_balance = 0")
            .await;
        world.run_billing(55).await;
        assert_eq!(shown().await[0]["agentId"], json!(agent));
        world
            .execute("UPDATE milady_sandboxes SET last_backup_at = NULL")
            .await;
        assert_eq!(shown().await, json!([]));
    });
}

#[test]
fn invalid_credentials_are_refused() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let key = world.key(organization).await;
        let unknown = format!("eliza_{}", "0".repeat(64));
        for target in [BALANCE, HISTORY] {
            for invalid_key in [
                None,
                Some(""),
                Some("eliza_"),
                Some("eliza_xyz"),
                Some(unknown.as_str()),
                Some("' OR 1=1"),
            ] {
                let response = get(&world, target, invalid_key).await;
                assert_eq!(response.status(), 401, "{target} {invalid_key:?}");
                let mut body = response.json();
                assert_eq!(body["instance"].as_str(), response.header("x-request-id"));
                body["instance"] = Value::Null;
                assert_eq!(
                    body,
                    json!({
                        "type": "about:blank", "title": "Unauthorized", "status": 401,
                        "detail": "A valid credential is required", "instance": null,
                        "success": false, "error": "A valid credential is required",
                    })
                );
            }
            let bearer =
                Request::new("GET", target).header("authorization", &format!("Bearer {key}"));
            assert_eq!(send(&world, target, bearer).await.status(), 200);
        }
        for (sql, status) in [
            ("UPDATE api_keys SET expires_at = '2026-02-28'", 401),
            ("UPDATE api_keys SET expires_at = '2026-03-02'", 200),
            ("UPDATE api_keys SET is_active = false", 401),
            (
                "UPDATE api_keys SET is_active = true; UPDATE users SET is_active = false",
                403,
            ),
            (
                "UPDATE users SET is_active = true; UPDATE organizations SET is_active = false",
                403,
            ),
            (
                "UPDATE organizations SET is_active = true; UPDATE users SET organization_id = NULL",
                403,
            ),
        ] {
            world.execute(sql).await;
            assert_eq!(
                get(&world, HISTORY, Some(&key)).await.status(),
                status,
                "{sql}"
            );
        }
    });
}

#[test]
fn use_of_a_key_is_recorded_at_most_once_a_minute() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let key = world.key(organization).await;
        for (minute, uses) in [(0, 1), (0, 1), (1, 1), (2, 2)] {
            world.set_clock(minutes(minute)).await;
            get(&world, HISTORY, Some(&key)).await;
            let counted = world
                .count("SELECT usage_count::bigint FROM api_keys")
                .await;
            assert_eq!(counted, uses, "minute {minute}");
        }
        // A request does not wait for a locked key row.
        world.set_clock(minutes(9)).await;
        let mut locker = world.pool.begin().await.expect("begin");
        sqlx::query("SELECT FROM api_keys FOR UPDATE")
            .execute(&mut *locker)
            .await
            .expect("lock");
        assert_eq!(get(&world, HISTORY, Some(&key)).await.status(), 200);
    });
}

#[test]
fn tenant_sees_only_rows_of_its_own_organization() {
    run(async {
        let world = World::new().await;
        let (organization, other_organization) = (
            world.organization("10").await,
            world.organization("7").await,
        );
        let agent = world.agent(other_organization, "running").await;
        let key = world.key(organization).await;
        world.run_billing(1).await;
        for target in [HISTORY.to_owned(), format!("{HISTORY}?agentId={agent}")] {
            assert_eq!(
                get(&world, &target, Some(&key)).await.json()["data"],
                json!([])
            );
        }
        assert_eq!(
            get(&world, BALANCE, Some(&key)).await.json()["balance"],
            json!(10.0)
        );
        assert_eq!(hours(1), minutes(60));
    });
}

#[test]
fn unchanged_list_is_304_without_a_body() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        let key = world.key(organization).await;
        world.run_billing(1).await;
        let first = get(&world, HISTORY, Some(&key)).await;
        let tag = first.header("etag").expect("an ETag").to_owned();
        let conditional = |tag: &str| {
            Request::new("GET", HISTORY)
                .header("x-api-key", &key)
                .header("if-none-match", tag)
        };
        let unchanged = send(&world, HISTORY, conditional(&tag)).await;
        assert_eq!((unchanged.status(), unchanged.text()), (304, ""));
        assert!(unchanged.0.to_string().len() < 600, "{}", unchanged.0);
        world.run_billing(2).await;
        assert_eq!(send(&world, HISTORY, conditional(&tag)).await.status(), 200);
    });
}

#[test]
fn invalid_parameters_are_named() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let key = world.key(organization).await;
        for (query, field) in [
            ("agentId=x", "agentId"),
            ("agentId=%27%3B%20DROP%20TABLE%20jobs", "agentId"),
            ("limit=0", "limit"),
            ("limit=201", "limit"),
            ("limit=many", "limit"),
            ("cursor=zzz", "cursor"),
        ] {
            let response = get(&world, &format!("{HISTORY}?{query}"), Some(&key)).await;
            assert_eq!(response.status(), 400, "{query}");
            assert_eq!(
                response.json()["details"][0]["field"],
                json!(field),
                "{query}"
            );
        }
    });
}

#[test]
fn secrets_and_driver_errors_stay_out_of_responses_and_logs() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let key = world.key(organization).await;
        world
            .execute("UPDATE users SET email = 'canary@example.test'")
            .await;
        let instance = world
            .function("credit-history")
            .with("LOG_LEVEL", "trace")
            .start()
            .await;
        let request = || Request::new("GET", HISTORY).header("x-api-key", &key);
        let (route, no_parameters) = (format!("GET {HISTORY}"), BTreeMap::new());
        let mut output = tests::Function::http_on(&instance, &route, &no_parameters, &request())
            .await
            .0
            .to_string();
        world
            .execute("ALTER TABLE credit_transactions RENAME COLUMN amount TO canary_column")
            .await;
        let broken = tests::Function::http_on(&instance, &route, &no_parameters, &request()).await;
        assert_eq!(broken.status(), 500);
        assert_eq!(
            broken.json()["error"],
            json!("Something went wrong on our side")
        );
        output.push_str(&broken.0.to_string());
        instance.kill().await;
        output.push_str(&instance.logs().join("\n"));
        assert!(output.contains("database error"), "{output}");
        for secret in [
            &key[6..],
            "canary",
            "SELECT",
            "credit_transactions",
            "postgres://",
            "127.0.0.1:",
        ] {
            assert!(!output.contains(secret), "{secret} was shown: {output}");
        }
    });
}

#[test]
fn balance_is_304_until_money_or_the_forecast_changes() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("12").await;
        let agent = world.agent(organization, "running").await;
        world.run_billing(1).await;
        world.set_clock(minutes(61)).await;
        let first = get(&world, BALANCE, Some(&key)).await;
        let tag = first.header("etag").expect("a tag").to_owned();
        let conditional = async || {
            let request = Request::new("GET", BALANCE).key(&key);
            let request = request.header("if-none-match", &tag);
            send(&world, BALANCE, request).await.status()
        };
        // The credit is used up at the same time, however much of it is left.
        for minute in [62, 80, 119] {
            world.set_clock(minutes(minute)).await;
            assert_eq!(conditional().await, 304, "{minute}");
        }
        world.set_status(agent, "stopped").await;
        assert_eq!(conditional().await, 200);
        world.set_status(agent, "running").await;
        world.top_up(organization, "1").await;
        assert_eq!(conditional().await, 200);
    });
}
