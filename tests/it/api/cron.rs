//! `GET|POST /api/cron/milady-billing`

use rust_decimal::dec;
use serde_json::json;
use tests::suite::{CRON_SECRET, Request};
use tests::world::hours;
use tests::{World, run};

const ROUTE: &str = "POST /api/cron/milady-billing";

fn request(method: &str, authorization: Option<&str>) -> Request {
    let request = Request::new(method, "/api/cron/milady-billing");
    authorization.into_iter().fold(request, |request, value| {
        request.header("authorization", value)
    })
}

#[test]
fn caller_with_the_secret_bills_up_to_the_current_hour() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        world.set_clock(hours(2)).await;
        let bearer = format!("Bearer {CRON_SECRET}");
        for (method, billed_agents) in [("GET", 1), ("POST", 0)] {
            let response = world
                .function("billing-trigger")
                .http(ROUTE, request(method, Some(&bearer)))
                .await;
            assert_eq!(response.status(), 200);
            let mut data = response.json()["data"].clone();
            assert_eq!(response.json()["success"], json!(true));
            data["duration"] = json!("ms");
            assert_eq!(
                data,
                json!({
                    "sandboxesProcessed": billed_agents, "sandboxesBilled": billed_agents, "warningsSent": 0,
                    "sandboxesShutdown": 0, "totalRevenue": if billed_agents == 1 { 0.04 } else { 0.0 },
                    "owed": 0.0, "writtenOff": 0.0, "uncollected": 0.0, "slices": billed_agents * 2, "repairedSpans": 0,
                    "errors": 0, "duration": "ms", "timestamp": "2026-03-01T02:00:00.000Z",
                    "periodEnd": "2026-03-01T02:00:00.000Z", "complete": true,
                })
            );
        }
        assert_eq!(world.charged(organization).await, dec!(0.04));
    });
}

#[test]
fn caller_without_the_secret_gets_401_and_bills_nothing() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        world.agent(organization, "running").await;
        world.set_clock(hours(1)).await;
        let key = format!("Bearer {}", world.key(organization).await);
        let basic = format!("Basic {CRON_SECRET}");
        let longer = format!("Bearer {CRON_SECRET}x");
        for authorization in [
            None,
            Some("Bearer wrong"),
            Some("Bearer "),
            Some(&key),
            Some(&basic),
            Some(&longer),
        ] {
            let response = world
                .function("billing-trigger")
                .http(ROUTE, request("POST", authorization))
                .await;
            assert_eq!(response.status(), 401, "{authorization:?}");
            assert_eq!(response.header("content-type"), Some("application/json"));
        }
        let without_secret = world.function("billing-trigger").without("CRON_SECRET");
        for authorization in [Some("Bearer "), Some("Bearer test-cron-secret")] {
            assert_eq!(
                without_secret
                    .http(ROUTE, request("POST", authorization))
                    .await
                    .status(),
                401
            );
        }
        assert_eq!(world.count("SELECT count(*) FROM billing_runs").await, 0);
    });
}
