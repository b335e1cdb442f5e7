//! The webhooks of an organization in `/api/v1/settings`, and `POST /api/v1/settings/webhook/test`. What they are sent is
//! tested in `crate::webhooks`.

use serde_json::{Value, json};
use tests::suite::{Request, Response};
use tests::world::minutes;
use tests::{World, check_field_errors, check_limit, check_problem, run};
use uuid::Uuid;

use crate::jobs::webhook::{WebhookReceiver, signature};
use crate::webhooks::{save, webhook_world};

const SETTINGS: &str = "/api/v1/settings";
const TEST: &str = "/api/v1/settings/webhook/test";

async fn send_test(world: &World, key: &str, kind: &str) -> Response {
    world.post_json(key, TEST, &json!({"kind": kind})).await
}

async fn settings(world: &World, key: &str) -> Value {
    world.get(key, SETTINGS).await.json()["data"].clone()
}

/// Gives the organization's user another role, beside an older owner.
async fn set_role(world: &World, organization: Uuid, role: &str) {
    sqlx::query(
        "WITH elder AS (
            INSERT INTO users (organization_id, role, created_at) VALUES ($1, 'owner', '2020-01-01'))
        UPDATE users SET role = $2 WHERE organization_id = $1 AND created_at > '2020-01-02'",
    )
    .bind(organization)
    .bind(role)
    .execute(&world.pool)
    .await
    .expect("a role");
}

#[test]
fn an_owner_registers_webhooks_and_gets_the_secret_once() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("5").await;
        let (_, others_key) = world.tenant("5").await;
        let slack_url = "https://hooks.slack.com/services/T0/B0/secret";
        let body = json!({"webhookUrl": "https://hooks.example.com/a?b=c", "slackUrl": slack_url});
        let saved = save(&world, &key, &body).await;
        let secret = saved["webhookSecret"].as_str().expect("a secret");
        assert_eq!(secret.len(), 64);
        let shown = settings(&world, &key).await;
        let state =
            |url| json!({"url": url, "failingSince": null, "reason": null, "switchedOffAt": null});
        assert_eq!(shown["webhook"], state("https://hooks.example.com/a?b=c"));
        assert_eq!(shown["slack"], state("https://hooks.slack.com/…"));
        assert!(!shown.to_string().contains("ecret"), "{shown}");
        // The same URL keeps its secret, another one gets a new one.
        let same = json!({"webhookUrl": "https://hooks.example.com:443/a?b=c"});
        assert_eq!(
            save(&world, &key, &same).await["webhookSecret"],
            Value::Null
        );
        let another = json!({"webhookUrl": "https://hooks.example.com/b"});
        let saved = save(&world, &key, &another).await;
        assert!(saved["webhookSecret"].is_string() && saved["webhookSecret"] != secret);
        // What is not named stays, and null removes.
        let saved = save(&world, &key, &json!({"webhookUrl": null})).await;
        assert_eq!(saved["webhook"], Value::Null);
        assert_eq!(saved["slack"], state("https://hooks.slack.com/…"));
        let saved = save(&world, &key, &json!({"slackUrl": null})).await;
        assert_eq!(saved["slack"], Value::Null);
        let others = settings(&world, &others_key).await;
        assert_eq!(
            (&others["webhook"], &others["slack"]),
            (&Value::Null, &Value::Null)
        );
    });
}

#[test]
fn urls_that_webhooks_may_not_have_are_refused_by_name() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("5").await;
        let slack = "must begin with https://hooks.slack.com/";
        for (field, url, message) in [
            ("webhookUrl", "nonsense", "must be a URL"),
            (
                "webhookUrl",
                "http://hooks.example.com/",
                "must begin with https://",
            ),
            (
                "webhookUrl",
                "https://hooks.example.com:8443/",
                "must use port 443",
            ),
            (
                "webhookUrl",
                "https://127.0.0.1/",
                "must lead to a public address",
            ),
            (
                "webhookUrl",
                "https://[::ffff:10.0.0.1]/",
                "must lead to a public address",
            ),
            (
                "webhookUrl",
                "https://u:p@hooks.example.com/",
                "must not hold a user name or password",
            ),
            ("slackUrl", "https://hooks.example.com/services/x", slack),
            ("slackUrl", "https://hooks.slack.com.evil.example/x", slack),
            ("slackUrl", "https://hooks.slack.com/", slack),
        ] {
            let request = Request::new("PATCH", SETTINGS).key(&key);
            let refused = world.call(request.json(&json!({field: url}))).await;
            check_field_errors(&refused, &format!("{field} {message}"), &[(field, message)]);
        }
        assert_eq!(settings(&world, &key).await["webhook"], Value::Null);
    });
}

#[test]
fn members_and_viewers_see_the_beginning_of_a_webhook_and_test_nothing() {
    run(async {
        let world = webhook_world().await;
        let (organization, key) = world.tenant("5").await;
        let receiver = WebhookReceiver::answering(200).await;
        save(&world, &key, &json!({"webhookUrl": receiver.url()})).await;
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
            let url = settings(&world, &key).await["webhook"]["url"].clone();
            let beginning = receiver.url().replace("hook?from=test", "…");
            assert_eq!(url, beginning);
            check_problem(&send_test(&world, &key, "webhook").await, 403, text);
        }
        let nobody = Request::new("POST", TEST).json(&json!({"kind": "webhook"}));
        assert_eq!(world.call(nobody).await.status(), 401);
        assert_eq!(receiver.calls().len(), 0);
    });
}

#[test]
fn a_test_is_sent_at_once_and_tells_the_status_alone() {
    run(async {
        let world = webhook_world().await;
        let (organization, key) = world.tenant("5").await;
        let (own, slack) = (
            WebhookReceiver::answering(204).await,
            WebhookReceiver::answering(404).await,
        );
        let body = json!({"webhookUrl": own.url(), "slackUrl": slack.url()});
        let secret = save(&world, &key, &body).await["webhookSecret"].clone();
        let secret = secret.as_str().expect("a secret");
        let tested = send_test(&world, &key, "webhook").await;
        assert_eq!(tested.status(), 200, "{tested:?}");
        assert_eq!(
            tested.json()["data"],
            json!({"delivered": true, "status": 204, "reason": null})
        );
        let [call] = own.calls().try_into().expect("one call");
        let mut sent: Value = serde_json::from_str(&call.body).expect("JSON");
        assert!(sent["id"].take().is_string());
        assert_eq!(
            sent,
            json!({"id": null, "event": "webhook.test", "organizationId": organization,
                "occurredAt": "2026-03-01T00:00:00.000Z", "data": {}})
        );
        let expected = signature(secret, minutes(0).timestamp(), &call.body);
        assert_eq!(call.headers["x-milady-signature"], expected.as_str());
        let tested = send_test(&world, &key, "slack").await.json();
        let reason = "the receiver answered with HTTP 404";
        assert_eq!(
            tested["data"],
            json!({"delivered": false, "status": 404, "reason": reason})
        );
        let text = slack.calls()[0].body.clone();
        assert!(text.contains("This is a test."), "{text}");
        // A test that fails changes nothing.
        assert_eq!(
            settings(&world, &key).await["slack"]["failingSince"],
            Value::Null
        );
    });
}

#[test]
fn a_second_test_within_ten_seconds_is_refused() {
    run(async {
        let world = webhook_world().await;
        let (_, key) = world.tenant("5").await;
        let receiver = WebhookReceiver::answering(200).await;
        let body = json!({"webhookUrl": receiver.url(), "slackUrl": receiver.url()});
        save(&world, &key, &body).await;
        assert_eq!(send_test(&world, &key, "webhook").await.status(), 200);
        let refused = send_test(&world, &key, "webhook").await;
        let limit = "testsPerWebhookAndTenSeconds";
        let text = format!("The limit {limit} of 1 is reached; please try again later");
        check_limit(&refused, 429, &text, (limit, 1, 1));
        assert_eq!(refused.header("retry-after"), Some("10"));
        // Each webhook has its own, and saving it again does not lift it.
        assert_eq!(send_test(&world, &key, "slack").await.status(), 200);
        save(&world, &key, &body).await;
        assert_eq!(send_test(&world, &key, "webhook").await.status(), 429);
        world
            .set_clock(minutes(0) + chrono::TimeDelta::seconds(10))
            .await;
        assert_eq!(send_test(&world, &key, "webhook").await.status(), 200);
        assert_eq!(receiver.calls().len(), 3);
    });
}

#[test]
fn a_test_of_what_does_not_exist_is_refused() {
    run(async {
        let world = webhook_world().await;
        let (_, key) = world.tenant("5").await;
        let (_, others_key) = world.tenant("5").await;
        let receiver = WebhookReceiver::answering(200).await;
        save(&world, &key, &json!({"webhookUrl": receiver.url()})).await;
        let none = "The organization has no such webhook; save one first";
        check_problem(&send_test(&world, &key, "slack").await, 404, none);
        check_problem(&send_test(&world, &others_key, "webhook").await, 404, none);
        let rule = "must be webhook or slack";
        let refused = send_test(&world, &key, "teams").await;
        check_field_errors(&refused, &format!("kind {rule}"), &[("kind", rule)]);
        let refused = world.post_json(&key, TEST, &json!({})).await;
        check_field_errors(&refused, "kind is required", &[("kind", "is required")]);
        assert_eq!(receiver.calls().len(), 0);
    });
}

#[test]
fn a_test_that_succeeds_switches_a_webhook_on() {
    run(async {
        let world = webhook_world().await;
        let (_, key) = world.tenant("5").await;
        let receiver = WebhookReceiver::answering(500).await;
        save(&world, &key, &json!({"webhookUrl": receiver.url()})).await;
        world
            .execute(
                "UPDATE cloud.organization_webhooks SET failures = 80, failing_since = billing_clock() - interval '3 days',
                    reason = 'x', switched_off_at = billing_clock(), due_at = billing_clock() + interval '1 hour'",
            )
            .await;
        assert_eq!(
            send_test(&world, &key, "webhook").await.json()["data"]["delivered"],
            false
        );
        let off = settings(&world, &key).await["webhook"].clone();
        assert_eq!(off["switchedOffAt"], "2026-03-01T00:00:00.000Z");
        receiver.set_answer(200, None);
        world.set_clock(minutes(1)).await;
        assert_eq!(
            send_test(&world, &key, "webhook").await.json()["data"]["delivered"],
            true
        );
        let on = settings(&world, &key).await["webhook"].clone();
        assert_eq!(
            on,
            json!({"url": receiver.url(), "failingSince": null, "reason": null, "switchedOffAt": null})
        );
        let due =
            "SELECT count(*) FROM cloud.organization_webhooks WHERE due_at <= billing_clock()";
        assert_eq!(world.count(due).await, 1);
    });
}
