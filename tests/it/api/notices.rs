//! `/api/v1/notices`.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tests::suite::Request;
use tests::world::{hours, minutes};
use tests::{World, run};
use uuid::Uuid;

const NOTICES: &str = "/api/v1/notices";

/// Inserts an event of the organization. Returns its id.
async fn event(world: &World, organization: Uuid, kind: &str, at: DateTime<Utc>) -> i64 {
    sqlx::query_scalar(
        "INSERT INTO outbox_events (key, type, organization_id, payload, occurred_at)
        VALUES (gen_random_uuid()::text, $2, $1, '{}', $3) RETURNING id",
    )
    .bind(organization)
    .bind(kind)
    .bind(at)
    .fetch_one(&world.pool)
    .await
    .expect("an event")
}

/// Inserts a delivery of an event in this state.
async fn delivery(world: &World, event: i64, recipient: Option<&str>, state: &str) {
    sqlx::query(
        "INSERT INTO cloud.mail_deliveries (event_id, organization_id, template, recipient, state, due_at, created_at,
            updated_at)
        SELECT id, organization_id, type, $2, $3, CASE WHEN $3 IN ('pending', 'sending') THEN occurred_at END,
            clock_timestamp(), occurred_at
        FROM outbox_events WHERE id = $1",
    )
    .bind(event)
    .bind(recipient)
    .bind(state)
    .execute(&world.pool)
    .await
    .expect("a delivery");
}

async fn data(world: &World, key: &str) -> Value {
    let response = world.get(key, NOTICES).await;
    assert_eq!(response.status(), 200, "{response:?}");
    response.json()["data"].clone()
}

#[test]
fn an_organization_sees_what_it_was_told_page_by_page_and_no_other_one_does() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let (_, others_key) = world.tenant("5").await;
        let mut ids = Vec::new();
        for (minute, kind) in
            (0..).zip(["credit.low", "agent.shutdown_scheduled", "agent.suspended"])
        {
            ids.push(event(&world, organization, kind, minutes(minute)).await);
        }
        delivery(&world, ids[1], Some("anna@mail.example"), "bounced").await;
        delivery(&world, ids[1], Some("otto@mail.example"), "delivered").await;
        let first = world.get(&key, &format!("{NOTICES}?limit=2")).await;
        assert_eq!(first.status(), 200, "{first:?}");
        let first = first.json();
        let recipient = |address: &str, state: &str| json!({"address": address, "state": state, "updatedAt": "2026-03-01T00:01:00.000Z"});
        assert_eq!(
            first["data"][1],
            json!({
                "id": ids[1].to_string(), "kind": "agent.shutdown_scheduled", "at": "2026-03-01T00:01:00.000Z",
                "state": "delivered",
                "recipients": [recipient("a***@m***.example", "bounced"), recipient("o***@m***.example", "delivered")],
            })
        );
        assert_eq!(first["data"][0]["kind"], "agent.suspended");
        let cursor = first["nextCursor"].as_str().expect("a cursor");
        let second = world
            .get(&key, &format!("{NOTICES}?limit=2&cursor={cursor}"))
            .await
            .json();
        assert_eq!(second["data"][0]["id"], json!(ids[0].to_string()));
        assert_eq!(second["data"].as_array().map(Vec::len), Some(1));
        assert_eq!(second["nextCursor"], Value::Null);
        assert_eq!(data(&world, &others_key).await, json!([]));
        let tag = world.get(&key, NOTICES).await;
        let tag = tag.header("etag").expect("a tag");
        let again = Request::new("GET", NOTICES).key(&key);
        let again = world.call(again.header("if-none-match", tag)).await;
        assert_eq!(again.status(), 304);
        for query in ["limit=0", "cursor=x", "cursor=LTE"] {
            let refused = world.get(&key, &format!("{NOTICES}?{query}")).await;
            assert_eq!(refused.status(), 400, "{query}");
        }
    });
}

#[test]
fn a_notice_says_whether_it_reached_anybody() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let waits = event(&world, organization, "agent.suspended", hours(0)).await;
        let refused = event(&world, organization, "credit.low", hours(0)).await;
        delivery(&world, refused, Some("a@mail.example"), "failed").await;
        let undeliverable = event(&world, organization, "credit.low", hours(0)).await;
        delivery(&world, undeliverable, None, "undeliverable").await;
        let taken = event(&world, organization, "credit.low", hours(0)).await;
        sqlx::query(
            "UPDATE outbox_events SET handed_over_at = CASE id WHEN $1 THEN occurred_at END,
                undeliverable_at = CASE id WHEN $2 THEN occurred_at END",
        )
        .bind(taken)
        .bind(undeliverable)
        .execute(&world.pool)
        .await
        .expect("outcomes");
        // Nobody is told of another kind of event.
        event(&world, organization, "agent.painted", hours(0)).await;
        let notices = data(&world, &key).await;
        let notices: Vec<(Value, Value)> = notices
            .as_array()
            .expect("a list")
            .iter()
            .map(|notice| (notice["id"].clone(), notice["state"].clone()))
            .collect();
        let state = |id: i64, state: &str| (json!(id.to_string()), json!(state));
        assert_eq!(
            notices,
            [
                state(taken, "handed_over"),
                state(undeliverable, "undeliverable"),
                state(refused, "failed"),
                state(waits, "pending"),
            ]
        );
        let listed = data(&world, &key).await;
        assert_eq!(listed[1]["recipients"], json!([]));
        // A week later nobody sends it any more.
        world.set_clock(hours(7 * 24)).await;
        assert_eq!(data(&world, &key).await[3]["state"], "failed");
    });
}

#[test]
fn viewers_read_notices_and_nobody_else_does() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        for change in [
            "UPDATE users SET role = 'viewer' WHERE organization_id = $1",
            "INSERT INTO users (organization_id, role) VALUES ($1, 'owner')",
        ] {
            sqlx::query(change)
                .bind(organization)
                .execute(&world.pool)
                .await
                .expect("users");
        }
        assert_eq!(data(&world, &key).await, json!([]));
        let nobody = world.call(Request::new("GET", NOTICES)).await;
        assert_eq!(nobody.status(), 401);
    });
}
