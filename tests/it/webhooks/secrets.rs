//! What a webhook is called with is stored encrypted, encrypted again after a rotation, and in no log.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::check_problem;
use tests::run;
use tests::suite::{Request, SECRETS_KEYS};
use uuid::Uuid;

use super::{
    NOTHING, SETTINGS, SUSPENDED, Tenant, invoke_on, minute, save, sent, sweep, webhook_world,
    write_event,
};

#[test]
fn what_a_webhook_is_called_with_is_stored_encrypted_and_survives_a_rotation() {
    run(async {
        let world = webhook_world().await;
        let tenant = Tenant::new(&world).await;
        let stored: String =
            sqlx::query_scalar("SELECT string_agg(w::text, '') FROM cloud.organization_webhooks w")
                .fetch_one(&world.pool)
                .await
                .expect("rows");
        assert_eq!(stored.matches("test:").count(), 2, "{stored}");
        assert!(!stored.contains(&tenant.secret), "{stored}");
        assert!(!stored.contains(&tenant.slack.url()), "{stored}");
        let new_key = format!("new:{}", STANDARD.encode([7; 32]));
        let rotated = format!("{new_key},{SECRETS_KEYS}");
        let migrate = || world.function("db-migrate").with("SECRETS_KEYS", &rotated);
        let answer = migrate().invoke_ok(json!({})).await;
        assert_eq!(answer["secrets"], json!({"encrypted": 2, "left": 0}));
        let answer = migrate().invoke_ok(json!({})).await;
        assert_eq!(answer["secrets"], Value::Null);
        write_event(&world, tenant.organization, SUSPENDED).await;
        let worker = world
            .function("webhook-deliver")
            .with("SECRETS_KEYS", &new_key);
        let worker = worker.start().await;
        assert_eq!(invoke_on(&worker, json!({})).await, sent(2, 0));
    });
}

#[test]
fn a_secret_that_was_copied_from_another_organization_signs_nothing() {
    run(async {
        let world = webhook_world().await;
        let tenant = Tenant::without_slack(&world).await;
        let other = Tenant::without_slack(&world).await;
        sqlx::query(
            "UPDATE cloud.organization_webhooks a SET secret = b.secret FROM cloud.organization_webhooks b
            WHERE a.organization_id = $1 AND b.organization_id = $2",
        )
        .bind(tenant.organization)
        .bind(other.organization)
        .execute(&world.pool)
        .await
        .expect("a secret");
        write_event(&world, tenant.organization, SUSPENDED).await;
        assert_eq!(sweep(&world).await, sent(0, 1));
        assert_eq!(tenant.own.calls().len(), 0);
        assert_eq!(
            tenant.shown(&world).await["reason"],
            "the stored secret cannot be decrypted"
        );
    });
}

#[test]
fn without_a_key_a_webhook_is_refused_and_nothing_changes() {
    run(async {
        let world = webhook_world().await;
        let (_, key) = world.tenant("5").await;
        let keyless = world.function("settings-update").without("SECRETS_KEYS");
        let body = json!({"lowCreditMark": 3, "webhookUrl": "http://127.0.0.1:9/"});
        let request = Request::new("PATCH", SETTINGS).key(&key).json(&body);
        let refused = world.call_function(&keyless, request).await;
        check_problem(&refused, 503, "This deployment has no key for secrets");
        let data = world.get(&key, SETTINGS).await.json()["data"].clone();
        assert_eq!(
            (&data["webhook"], &data["lowCreditMark"]),
            (&Value::Null, &Value::Null)
        );
        let request = Request::new("PATCH", SETTINGS)
            .key(&key)
            .json(&json!({"lowCreditMark": 3}));
        assert_eq!(world.call_function(&keyless, request).await.status(), 200);
    });
}

#[test]
fn logs_and_tests_hold_no_url_and_no_secret_of_a_webhook() {
    run(async {
        let mut world = webhook_world().await;
        let level = ("LOG_LEVEL".to_owned(), "trace".to_owned());
        world.settings.extend([level]);
        let tenant = Tenant::new(&world).await;
        let mut forbidden = vec![
            "canary".to_owned(),
            tenant.key.clone(),
            tenant.secret.clone(),
        ];
        tenant.own.set_answer(500, None);
        write_event(&world, tenant.organization, SUSPENDED).await;
        // An error, nobody who listens, a name that leads nowhere, and no TLS.
        let urls = [
            format!("{}&canary", tenant.own.url()),
            "http://127.0.0.1:9/canary".to_owned(),
            "http://canary.invalid/".to_owned(),
            "https://127.0.0.1:9/canary".to_owned(),
        ];
        for (at, url) in (1..).zip(urls) {
            world.set_clock(minute(at)).await;
            let body = json!({"webhookUrl": url, "slackUrl": url});
            let saved = save(&world, &tenant.key, &body).await;
            let secret = saved["webhookSecret"].as_str().expect("a secret");
            forbidden.push(secret.to_owned());
            assert_eq!(sweep(&world).await, sent(0, 2), "{url}");
            for kind in ["webhook", "slack"] {
                let request = Request::new("POST", "/api/v1/settings/webhook/test");
                let request = request.key(&tenant.key).json(&json!({"kind": kind}));
                let response = world.call(request).await;
                assert_eq!(response.json()["data"]["delivered"], json!(false), "{url}");
                assert!(!response.text().contains("canary"), "{response:?}");
            }
        }
        let mut lines = Vec::new();
        for function in ["settings-update", "webhook-deliver", "webhook-test"] {
            lines.extend(world.logs(function).await);
        }
        let failures = lines
            .iter()
            .filter(|line| line.contains("a webhook of organization"));
        assert_eq!(failures.count(), 8, "{lines:#?}");
        for line in &lines {
            for word in &forbidden {
                assert!(!line.contains(word), "{word} in {line}");
            }
        }
    });
}

#[test]
fn the_webhooks_of_an_organization_that_is_gone_are_deleted_and_not_called() {
    run(async {
        let world = webhook_world().await;
        let tenant = Tenant::new(&world).await;
        let other = Tenant::without_slack(&world).await;
        write_event(&world, tenant.organization, SUSPENDED).await;
        // Both have failed once, so something is pending.
        tenant.own.set_answer(500, None);
        tenant.slack.set_answer(500, None);
        assert_eq!(sweep(&world).await, sent(0, 2));
        sqlx::query("DELETE FROM organizations WHERE id = $1")
            .bind(tenant.organization)
            .execute(&world.pool)
            .await
            .expect("a deletion");
        world.set_clock(minute(60)).await;
        assert_eq!(sweep(&world).await, NOTHING);
        let left: Vec<Uuid> =
            sqlx::query_scalar("SELECT organization_id FROM cloud.organization_webhooks")
                .fetch_all(&world.pool)
                .await
                .expect("organizations");
        assert_eq!(left, [other.organization]);
    });
}
