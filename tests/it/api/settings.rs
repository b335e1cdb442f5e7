//! `/api/v1/settings`.

use serde_json::{Value, json};
use tests::suite::{Request, Response};
use tests::{World, check_field_errors, check_problem, run};
use uuid::Uuid;

const SETTINGS: &str = "/api/v1/settings";

async fn change(world: &World, key: &str, body: &Value) -> Response {
    let request = Request::new("PATCH", SETTINGS).key(key);
    world.call(request.json(body)).await
}

async fn set_role(world: &World, organization: Uuid, role: &str) {
    // Somebody older, so that the role alone counts.
    sqlx::query(
        "INSERT INTO users (organization_id, role, created_at) VALUES ($1, 'owner', '2020-01-01')",
    )
    .bind(organization)
    .execute(&world.pool)
    .await
    .expect("a user");
    sqlx::query(
        "UPDATE users SET role = $2 WHERE organization_id = $1 AND created_at > '2020-01-02'",
    )
    .bind(organization)
    .bind(role)
    .execute(&world.pool)
    .await
    .expect("a role");
}

fn defaults() -> Value {
    json!({"lowCreditMark": null, "billingEmail": null, "timeZone": "UTC", "automaticResume": true,
        "undeliverableSince": null, "webhook": null, "slack": null})
}

#[test]
fn an_owner_changes_settings_and_what_is_not_named_stays() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("5").await;
        let (_, others_key) = world.tenant("5").await;
        let untouched = world.get(&key, SETTINGS).await;
        assert_eq!(
            untouched.json(),
            json!({"success": true, "data": defaults()})
        );
        let body = json!({"lowCreditMark": 20.5, "billingEmail": "bills@a.example", "timeZone": "Europe/Berlin",
            "automaticResume": false});
        let changed = change(&world, &key, &body).await;
        assert_eq!(changed.status(), 200, "{changed:?}");
        let read = world.get(&key, SETTINGS).await;
        assert_eq!(changed.json(), read.json());
        let expected = json!({"lowCreditMark": 20.5, "billingEmail": "bills@a.example",
            "timeZone": "Europe/Berlin", "automaticResume": false, "undeliverableSince": null,
            "webhook": null, "slack": null});
        assert_eq!(read.json()["data"], expected);
        let tag = read.header("etag").expect("a tag");
        let again = Request::new("GET", SETTINGS).key(&key);
        let again = world.call(again.header("if-none-match", tag)).await;
        assert_eq!(again.status(), 304);
        let body = json!({"lowCreditMark": null, "billingEmail": null});
        let changed = change(&world, &key, &body).await;
        let data = changed.json()["data"].clone();
        assert_eq!(
            (
                &data["lowCreditMark"],
                &data["billingEmail"],
                &data["timeZone"]
            ),
            (&Value::Null, &Value::Null, &json!("Europe/Berlin"))
        );
        let others = world.get(&others_key, SETTINGS).await;
        assert_eq!(others.json()["data"], defaults());
    });
}

#[test]
fn values_that_are_not_valid_are_refused_by_name() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("5").await;
        let body = json!({"lowCreditMark": -1, "billingEmail": "a@b.co\r\nBcc: x@y.zz", "automaticResume": 1});
        check_field_errors(
            &change(&world, &key, &body).await,
            "lowCreditMark must be 0 to 1000000, with at most six decimals, and 2 more",
            &[
                (
                    "lowCreditMark",
                    "must be 0 to 1000000, with at most six decimals",
                ),
                ("billingEmail", "must be a mail address"),
                ("automaticResume", "must be true or false"),
            ],
        );
        let zone = "must be the name of a time zone, such as Europe/Berlin";
        for name in ["Europe/Atlantis", "CET-1", "posix/Europe/Berlin", ""] {
            let refused = change(&world, &key, &json!({"timeZone": name})).await;
            let text = format!("timeZone {zone}");
            check_field_errors(&refused, &text, &[("timeZone", zone)]);
        }
        let rule = "must name at least one setting";
        let refused = change(&world, &key, &json!({"unknown": 1})).await;
        check_field_errors(&refused, &format!("body {rule}"), &[("body", rule)]);
        assert_eq!(world.get(&key, SETTINGS).await.json()["data"], defaults());
    });
}

#[test]
fn members_and_viewers_read_a_shortened_address_and_change_nothing() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let body = json!({"billingEmail": "bills@a.example"});
        assert_eq!(change(&world, &key, &body).await.status(), 200);
        for (role, text) in [
            (
                "member",
                "Only owners of the organization may change its settings",
            ),
            (
                "viewer",
                "Viewers may only read; ask an owner of the organization",
            ),
        ] {
            set_role(&world, organization, role).await;
            let read = world.get(&key, SETTINGS).await;
            assert_eq!(read.json()["data"]["billingEmail"], "b***@a***.example");
            check_problem(&change(&world, &key, &body).await, 403, text);
        }
        let nobody = world.call(Request::new("GET", SETTINGS)).await;
        assert_eq!(nobody.status(), 401);
        let nobody = Request::new("PATCH", SETTINGS).json(&body);
        assert_eq!(world.call(nobody).await.status(), 401);
    });
}

#[test]
fn a_key_changes_settings_only_if_it_names_billing() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let body = json!({"automaticResume": false});
        for (permissions, status) in [(json!(["agents"]), 403), (json!(["billing"]), 200)] {
            sqlx::query("UPDATE api_keys SET permissions = $2 WHERE organization_id = $1")
                .bind(organization)
                .bind(permissions)
                .execute(&world.pool)
                .await
                .expect("permissions");
            assert_eq!(change(&world, &key, &body).await.status(), status);
        }
    });
}

#[test]
fn the_settings_say_that_nobody_can_be_mailed() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        sqlx::query(
            "INSERT INTO outbox_events (key, type, organization_id, payload, occurred_at, undeliverable_at)
            VALUES ('k', 'credit.low', $1, '{}', billing_clock(), billing_clock())",
        )
        .bind(organization)
        .execute(&world.pool)
        .await
        .expect("an event");
        let since = world.get(&key, SETTINGS).await.json()["data"]["undeliverableSince"].clone();
        assert_eq!(since, "2026-03-01T00:00:00.000Z");
    });
}
