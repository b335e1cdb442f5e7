//! What webhooks are sent, how it is signed, and that it is sent once.

use serde_json::json;
use tests::run;
use uuid::Uuid;

use super::{
    LOW, NOTHING, SUSPENDED, Tenant, announce, announced, body, events, invoke_on, minute, save,
    sent, sweep, types, webhook_world, write_event,
};
use crate::jobs::webhook::signature;

#[test]
fn an_event_is_signed_for_the_webhook_and_plain_text_for_slack() {
    run(async {
        let world = webhook_world().await;
        let tenant = Tenant::new(&world).await;
        write_event(&world, tenant.organization, SUSPENDED).await;
        world.set_clock(minute(1)).await;
        assert_eq!(announce(&world, tenant.organization).await, sent(2, 0));
        let [call] = tenant.own.calls().try_into().expect("one call");
        assert_eq!(call.path, "/hook?from=test");
        assert_eq!(call.headers["content-type"], "application/json");
        let expected = signature(&tenant.secret, minute(1).timestamp(), &call.body);
        assert_eq!(call.headers["x-milady-signature"], expected.as_str());
        let mut event = body(&call);
        let id: Uuid = serde_json::from_value(event["id"].take()).expect("an identifier");
        assert!(!id.is_nil());
        assert_eq!(
            event,
            json!({
                "id": null, "event": "agent.suspended", "organizationId": tenant.organization,
                "occurredAt": "2026-03-01T00:00:00.000Z",
                "data": {"agents": [{"id": Uuid::nil(), "name": "<!channel> *R&D* evil.example"}], "agentCount": 1,
                    "owed": 0.5},
            })
        );
        let [call] = tenant.slack.calls().try_into().expect("one call");
        assert!(!call.headers.contains_key("x-milady-signature"));
        assert_eq!(
            body(&call),
            json!({
                "mrkdwn": false,
                "text": "Shut down: 1 agent\n1 agent of your organization were shut down because they were not paid \
                    for.\nYou owe $0.50. Add credit to start them again.\n- &lt;!channel&gt; *R&amp;D* evil. example\n\
                    Look at the credit: https://app.example/credits\nOrganization: Test",
            })
        );
        assert_eq!(announce(&world, tenant.organization).await, NOTHING);
        assert_eq!(sweep(&world).await, NOTHING);
    });
}

#[test]
fn the_sweep_sends_what_nobody_announced_and_nothing_from_before_the_webhook() {
    run(async {
        let world = webhook_world().await;
        let (organization, key) = world.tenant("5").await;
        write_event(&world, organization, LOW).await;
        write_event(&world, organization, "job.of.another.kind").await;
        world.set_clock(minute(1)).await;
        let own = crate::jobs::webhook::WebhookReceiver::answering(204).await;
        save(&world, &key, &json!({"webhookUrl": own.url()})).await;
        assert_eq!(sweep(&world).await, NOTHING);
        write_event(&world, organization, SUSPENDED).await;
        write_event(&world, organization, LOW).await;
        assert_eq!(sweep(&world).await, sent(2, 0));
        assert_eq!(types(&own), [SUSPENDED, LOW]);
        // A change of other settings, and the same URL once more, send nothing again.
        save(&world, &key, &json!({"lowCreditMark": 3})).await;
        save(&world, &key, &json!({"webhookUrl": own.url()})).await;
        assert_eq!(sweep(&world).await, NOTHING);
    });
}

#[test]
fn two_workers_with_the_same_event_send_it_once() {
    run(async {
        let world = webhook_world().await;
        let tenant = Tenant::new(&world).await;
        let worker = world.function("webhook-deliver");
        let (one, two) = (worker.start().await, worker.start().await);
        for round in 1..=10 {
            write_event(&world, tenant.organization, LOW).await;
            let event = || announced(tenant.organization);
            let (first, second) = tokio::join!(invoke_on(&one, event()), invoke_on(&two, event()));
            assert_eq!(first.delivered + second.delivered, 2, "round {round}");
            assert_eq!(first.failed + second.failed, 0, "round {round}");
            assert_eq!(tenant.own.calls().len(), round);
            assert_eq!(tenant.slack.calls().len(), round);
        }
        let mut ids = events(&tenant.own);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 10);
    });
}

#[test]
fn another_organizations_webhooks_get_nothing() {
    run(async {
        let world = webhook_world().await;
        let tenant = Tenant::new(&world).await;
        let other = Tenant::new(&world).await;
        write_event(&world, tenant.organization, SUSPENDED).await;
        assert_eq!(announce(&world, other.organization).await, NOTHING);
        assert_eq!(sweep(&world).await, sent(2, 0));
        assert_eq!(tenant.own.calls().len(), 1);
        assert_eq!((other.own.calls().len(), other.slack.calls().len()), (0, 0));
        assert_ne!(tenant.secret, other.secret);
    });
}

#[test]
fn an_event_that_its_receiver_refuses_keeps_no_others_back() {
    run(async {
        let world = webhook_world().await;
        let tenant = Tenant::without_slack(&world).await;
        tenant.own.set_answer(500, None);
        write_event(&world, tenant.organization, SUSPENDED).await;
        assert_eq!(sweep(&world).await, sent(0, 1));
        tenant.own.set_answer(200, None);
        write_event(&world, tenant.organization, LOW).await;
        world.set_clock(minute(1)).await;
        assert_eq!(sweep(&world).await, sent(2, 0));
        assert_eq!(types(&tenant.own), [SUSPENDED, LOW, SUSPENDED]);
        let ids = events(&tenant.own);
        assert_eq!(ids[0], ids[2]);
    });
}
