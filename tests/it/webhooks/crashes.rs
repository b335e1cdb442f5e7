//! Workers that are killed: after they have claimed a webhook, and after its receiver has the event. And one that is
//! overtaken.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use shared::db::webhooks::deliveries::{deliveries_open_of_any_organization, delivery_next};
use shared::db::webhooks::registered::{attempt_begin, webhook_lock_due};
use shared::domain::ids::OrganizationId;
use shared::domain::webhook::{WebhookKind, WebhookRef};
use tests::suite::epoch;
use tests::{run, wait_until};

use super::{
    NOTHING, SUSPENDED, Tenant, announced, events, invoke_on, minute, save, sent, sweep,
    webhook_world, write_event,
};
use crate::jobs::webhook::WebhookReceiver;

#[test]
fn a_worker_killed_between_claim_and_call_leaves_the_event_to_the_sweep() {
    run(async {
        let world = webhook_world().await;
        let tenant = Tenant::without_slack(&world).await;
        write_event(&world, tenant.organization, SUSPENDED).await;
        // What a worker does before the call.
        let webhook = WebhookRef {
            organization_id: OrganizationId::new(tenant.organization),
            kind: WebhookKind::Webhook,
        };
        let mut tx = world.database.begin().await.expect("begin");
        let types = [SUSPENDED.to_owned()];
        let since = epoch() - TimeDelta::days(1);
        deliveries_open_of_any_organization(&mut tx, None, &types, since)
            .await
            .expect("a delivery");
        webhook_lock_due(&mut tx, webhook, epoch())
            .await
            .expect("a lock")
            .expect("a webhook that is due");
        let delivery = delivery_next(&mut tx, webhook).await.expect("a delivery");
        let id = delivery.expect("a delivery").id;
        attempt_begin(&mut tx, webhook, id, minute(1))
            .await
            .expect("an attempt");
        tx.commit().await.expect("commit");
        assert_eq!(sweep(&world).await, NOTHING);
        world.set_clock(minute(1)).await;
        assert_eq!(sweep(&world).await, sent(1, 0));
        assert_eq!(
            events(&tenant.own),
            [(id.to_string(), SUSPENDED.to_owned())]
        );
        assert_eq!(sweep(&world).await, NOTHING);
    });
}

#[test]
fn a_worker_killed_after_the_call_leads_to_a_second_one_with_the_same_identifier() {
    run(async {
        let world = webhook_world().await;
        let tenant = Tenant::without_slack(&world).await;
        tenant.own.set_hanging(true);
        write_event(&world, tenant.organization, SUSPENDED).await;
        let instance = world.function("webhook-deliver").start().await;
        let invoked = instance.invoke(announced(tenant.organization), Duration::from_mins(1));
        tokio::select! {
            outcome = invoked => panic!("it was not killed: {outcome:?}"),
            () = wait_until("the receiver has the event", async || {
                !tenant.own.calls().is_empty()
            }) => {}
        }
        instance.kill().await;
        tenant.own.set_hanging(false);
        assert_eq!(sweep(&world).await, NOTHING);
        world.set_clock(minute(1)).await;
        assert_eq!(sweep(&world).await, sent(1, 0));
        let calls = tenant.own.calls();
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[0].body, calls[1].body);
        assert_eq!(sweep(&world).await, NOTHING);
    });
}

#[test]
fn a_worker_that_was_overtaken_records_nothing() {
    run(async {
        let world = webhook_world().await;
        let tenant = Tenant::without_slack(&world).await;
        tenant.own.set_hanging(true);
        write_event(&world, tenant.organization, SUSPENDED).await;
        let slow = world.function("webhook-deliver").start().await;
        let other = WebhookReceiver::answering(200).await;
        let (slow, ()) = tokio::join!(invoke_on(&slow, announced(tenant.organization)), async {
            wait_until("the receiver has the event", async || {
                !tenant.own.calls().is_empty()
            })
            .await;
            save(&world, &tenant.key, &json!({"webhookUrl": other.url()})).await;
            assert_eq!(sweep(&world).await, sent(1, 0));
        });
        assert_eq!(slow, NOTHING);
        assert_eq!(events(&other), events(&tenant.own));
        let shown = tenant.shown(&world).await;
        assert_eq!(
            shown,
            json!({"url": other.url(), "failingSince": null, "reason": null, "switchedOffAt": null})
        );
    });
}
