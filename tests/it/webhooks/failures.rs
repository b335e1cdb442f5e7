//! Receivers that fail: how long they are left alone, and when they are switched off and on again.

use serde_json::{Value, json};
use tests::{World, run};
use tokio::net::TcpListener;

use super::{
    LOW, NOTHING, SUSPENDED, Tenant, events, minute, save, sent, sweep, types, webhook_world,
    write_event,
};
use crate::jobs::webhook::WebhookReceiver;

const DAY: i64 = 24 * 60;

#[test]
fn a_failing_receiver_is_left_alone_longer_each_time_and_redirects_are_not_followed() {
    run(async {
        let world = webhook_world().await;
        let tenant = Tenant::without_slack(&world).await;
        let elsewhere = WebhookReceiver::answering(200).await;
        write_event(&world, tenant.organization, SUSPENDED).await;
        let failures = [
            (0, 500, None),
            (1, 404, None),
            (6, 302, Some(elsewhere.url())),
            (21, 308, Some(elsewhere.url())),
            (81, 429, None),
        ];
        let mut previous = 0;
        for (calls, (at, status, location)) in (1..).zip(failures) {
            if at > previous {
                world.set_clock(minute(at - 1)).await;
                assert_eq!(sweep(&world).await, NOTHING, "{status}");
            }
            tenant.own.set_answer(status, location.as_deref());
            world.set_clock(minute(at)).await;
            assert_eq!(sweep(&world).await, sent(0, 1), "{status}");
            assert_eq!(tenant.own.calls().len(), calls);
            let shown = tenant.shown(&world).await;
            assert_eq!(
                shown,
                json!({"url": tenant.own.url(), "failingSince": "2026-03-01T00:00:00.000Z",
                    "reason": format!("the receiver answered with HTTP {status}"), "switchedOffAt": null})
            );
            previous = at;
        }
        assert_eq!(elsewhere.calls().len(), 0);
        tenant.own.set_answer(202, None);
        world.set_clock(minute(141)).await;
        assert_eq!(sweep(&world).await, sent(1, 0));
        assert_eq!(
            tenant.shown(&world).await,
            json!({"url": tenant.own.url(), "failingSince": null, "reason": null, "switchedOffAt": null})
        );
        let mut ids = events(&tenant.own);
        ids.dedup();
        assert_eq!(ids.len(), 1, "each attempt has the same identifier");
    });
}

/// Has the webhook fail for three days. Returns the minute at which it is switched off.
async fn fail_for_three_days(world: &World, tenant: &Tenant) -> i64 {
    write_event(world, tenant.organization, SUSPENDED).await;
    for at in [0, DAY, 2 * DAY, 3 * DAY - 61] {
        world.set_clock(minute(at)).await;
        assert_eq!(sweep(world).await, sent(0, 1), "{at}");
        assert_eq!(tenant.shown(world).await["switchedOffAt"], Value::Null);
    }
    world.set_clock(minute(3 * DAY)).await;
    assert_eq!(sweep(world).await, sent(0, 1));
    3 * DAY
}

#[test]
fn after_three_days_of_failures_a_webhook_is_switched_off_and_its_owner_is_told() {
    run(async {
        let world = webhook_world().await;
        let tenant = Tenant::without_slack(&world).await;
        tenant.own.set_answer(500, None);
        let off = fail_for_three_days(&world, &tenant).await;
        assert_eq!(
            tenant.shown(&world).await,
            json!({"url": tenant.own.url(), "failingSince": "2026-03-01T00:00:00.000Z",
                "reason": "the receiver answered with HTTP 500", "switchedOffAt": "2026-03-04T00:00:00.000Z"})
        );
        assert_eq!(
            world.events(tenant.organization).await,
            [SUSPENDED, "webhook.switched_off"]
        );
        let payload: Value = sqlx::query_scalar(
            "SELECT payload FROM outbox_events WHERE type = 'webhook.switched_off'",
        )
        .fetch_one(&world.pool)
        .await
        .expect("an event");
        assert_eq!(
            payload,
            json!({"webhook": "webhook", "failingSince": "2026-03-01T00:00:00.000Z",
                "reason": "the receiver answered with HTTP 500"})
        );
        // From now on nothing is sent, and nothing waits.
        tenant.own.set_answer(200, None);
        write_event(&world, tenant.organization, LOW).await;
        world.set_clock(minute(off + DAY)).await;
        assert_eq!(sweep(&world).await, NOTHING);
        let pending = "SELECT count(*) FROM cloud.webhook_deliveries WHERE state = 'pending'";
        assert_eq!(world.count(pending).await, 0);
        // Saving it again switches it on. The events of the meantime are not sent, and the secret stays.
        let saved = save(
            &world,
            &tenant.key,
            &json!({"webhookUrl": tenant.own.url()}),
        )
        .await;
        assert_eq!(saved["webhookSecret"], Value::Null);
        assert_eq!(saved["webhook"]["switchedOffAt"], Value::Null);
        assert_eq!(sweep(&world).await, NOTHING);
        let calls = tenant.own.calls().len();
        write_event(&world, tenant.organization, LOW).await;
        assert_eq!(sweep(&world).await, sent(1, 0));
        assert_eq!(types(&tenant.own)[calls..], [LOW]);
    });
}

#[test]
fn a_success_in_between_begins_the_three_days_anew() {
    run(async {
        let world = webhook_world().await;
        let tenant = Tenant::without_slack(&world).await;
        for (at, status, expected) in [
            (0, 500, sent(0, 1)),
            (2 * DAY, 200, sent(1, 0)),
            (2 * DAY, 500, sent(0, 1)),
            (4 * DAY, 500, sent(0, 1)),
        ] {
            if expected == sent(0, 1) && at < 4 * DAY {
                write_event(&world, tenant.organization, LOW).await;
            }
            tenant.own.set_answer(status, None);
            world.set_clock(minute(at)).await;
            assert_eq!(sweep(&world).await, expected, "{at} {status}");
        }
        assert_eq!(tenant.shown(&world).await["switchedOffAt"], Value::Null);
    });
}

#[test]
fn a_receiver_that_says_it_is_gone_is_switched_off_at_once() {
    run(async {
        let world = webhook_world().await;
        let tenant = Tenant::new(&world).await;
        tenant.slack.set_answer(410, None);
        write_event(&world, tenant.organization, SUSPENDED).await;
        // The webhook also gets the event that Slack is switched off.
        assert_eq!(sweep(&world).await, sent(1, 1));
        assert_eq!(sweep(&world).await, sent(1, 0));
        assert_eq!(types(&tenant.own), [SUSPENDED, "webhook.switched_off"]);
        let slack = world.get(&tenant.key, super::SETTINGS).await.json()["data"]["slack"].clone();
        assert_eq!(slack["reason"], "the receiver answered with HTTP 410");
        assert_eq!(slack["switchedOffAt"], "2026-03-01T00:00:00.000Z");
        assert_eq!(tenant.slack.calls().len(), 1);
    });
}

#[test]
fn a_receiver_that_hangs_fails_and_does_not_delay_other_organizations() {
    run(async {
        let world = webhook_world().await;
        let hostile = Tenant::without_slack(&world).await;
        let tenant = Tenant::without_slack(&world).await;
        hostile.own.set_hanging(true);
        write_event(&world, hostile.organization, LOW).await;
        write_event(&world, tenant.organization, LOW).await;
        assert_eq!(sweep(&world).await, sent(1, 1));
        assert_eq!(tenant.own.calls().len(), 1);
        let reason = hostile.shown(&world).await["reason"].clone();
        assert_eq!(reason, "the receiver did not answer in time");
    });
}

#[test]
fn a_webhook_that_the_database_refuses_to_change_keeps_no_others_events_back() {
    run(async {
        let world = webhook_world().await;
        let refused = Tenant::without_slack(&world).await;
        let tenant = Tenant::without_slack(&world).await;
        write_event(&world, refused.organization, LOW).await;
        write_event(&world, tenant.organization, LOW).await;
        sqlx::query(
            "UPDATE cloud.organization_webhooks SET reason = 'refused' WHERE organization_id = $1",
        )
        .bind(refused.organization)
        .execute(&world.pool)
        .await
        .expect("a reason");
        world
            .execute(
                "ALTER TABLE cloud.organization_webhooks
                ADD CONSTRAINT refusal CHECK (attempts = 0 OR reason IS DISTINCT FROM 'refused')",
            )
            .await;
        let deliver = world.function("webhook-deliver");
        let error = deliver.invoke_error(json!({})).await;
        assert!(error.contains("the database request failed"), "{error}");
        let delivered = "SELECT count(*) FROM cloud.webhook_deliveries WHERE state = 'delivered'";
        assert_eq!(world.count(delivered).await, 1);
        assert_eq!(
            (tenant.own.calls().len(), refused.own.calls().len()),
            (1, 0)
        );
        world
            .execute("ALTER TABLE cloud.organization_webhooks DROP CONSTRAINT refusal")
            .await;
        assert_eq!(sweep(&world).await, sent(1, 0));
        assert_eq!(refused.own.calls().len(), 1);
    });
}

#[test]
fn with_both_receivers_down_events_wait_until_they_are_back() {
    run(async {
        let world = webhook_world().await;
        let tenant = Tenant::new(&world).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let nobody = format!("http://{}/", listener.local_addr().expect("its address"));
        drop(listener);
        let down = json!({"webhookUrl": nobody, "slackUrl": nobody});
        save(&world, &tenant.key, &down).await;
        write_event(&world, tenant.organization, SUSPENDED).await;
        write_event(&world, tenant.organization, LOW).await;
        assert_eq!(sweep(&world).await, sent(0, 2));
        assert_eq!(
            tenant.shown(&world).await["reason"],
            "the receiver could not be reached"
        );
        assert_eq!(sweep(&world).await, NOTHING);
        // Another address is called at once.
        let up = json!({"webhookUrl": tenant.own.url(), "slackUrl": tenant.slack.url()});
        save(&world, &tenant.key, &up).await;
        assert_eq!(sweep(&world).await, sent(4, 0));
        assert_eq!(tenant.own.calls().len(), 2);
        assert_eq!(tenant.slack.calls().len(), 2);
    });
}

#[test]
fn an_organizations_webhook_is_not_called_at_a_private_address() {
    run(async {
        let world = webhook_world().await;
        let tenant = Tenant::without_slack(&world).await;
        let deployed = world
            .function("webhook-deliver")
            .with("ALLOW_PRIVATE_WEBHOOKS", "false")
            .start()
            .await;
        for (url, reason) in [
            (tenant.own.url(), "the URL must begin with https://"),
            (
                "https://localhost/".to_owned(),
                "the URL must lead to a public address",
            ),
            (
                "https://169.254.169.254/latest".to_owned(),
                "the URL must lead to a public address",
            ),
        ] {
            save(&world, &tenant.key, &json!({"webhookUrl": url})).await;
            write_event(&world, tenant.organization, LOW).await;
            assert_eq!(super::invoke_on(&deployed, json!({})).await, sent(0, 1));
            assert_eq!(tenant.shown(&world).await["reason"], reason, "{url}");
        }
        assert_eq!(tenant.own.calls().len(), 0);
    });
}
