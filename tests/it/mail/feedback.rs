//! What SES reports about mails that it took, and what dunning makes of it.

use serde_json::{Value, json};
use tests::mail_provider::Fault;
use tests::suite::Request;
use tests::world::hours;
use tests::{World, run};
use uuid::Uuid;

use super::{
    SHUTDOWN, add_user, at_minute, delivery_id, handed_over_at, invoke, is_undeliverable, notify,
    organization, ses_world, state, states, sweep, write_event,
};

/// What takes over the suppressions from before they belonged to an organization.
const MIGRATION: &str = include_str!("../../../migrations/20261127001480_suppressed_addresses.sql");

/// A report as SES sends it.
fn report(kind: &str, delivery: Uuid, extra: &Value) -> Value {
    let mut detail = extra.clone();
    detail["mail"] = json!({
        "messageId": "ses-1", "destination": ["owner@a.example"],
        "tags": {"ses:configuration-set": ["local-mails"], "milady-delivery": [delivery]},
    });
    json!({"version": "0", "id": Uuid::nil(), "source": "aws.ses", "detail-type": kind, "detail": detail})
}

/// Delivers a report. Returns whether it said something new.
async fn tell(world: &World, kind: &str, delivery: Uuid, extra: &Value) -> bool {
    let answer = invoke(world, report(kind, delivery, extra)).await;
    answer["recorded"].as_bool().expect("an answer")
}

fn bounce(kind: &str) -> Value {
    json!({"bounce": {"bounceType": kind, "bounceSubType": "General"}})
}

/// An organization whose owner is `owner@a.example`, and whose mails go to somebody else's address.
async fn organization_with_billing_email(world: &World, address: &str) -> Uuid {
    let id = organization(world, "owner@a.example").await;
    let request = Request::new("PATCH", "/api/v1/settings").key(&world.key(id).await);
    let changed = request.json(&json!({ "billingEmail": address }));
    assert_eq!(world.call(changed).await.status(), 200);
    id
}

#[test]
fn f06_a_bounce_takes_the_warning_back_and_the_next_recipient_gets_a_day_of_its_own() {
    run(async {
        let (world, provider) = ses_world().await;
        let debtor = organization(&world, "owner@a.example").await;
        add_user(&world, debtor, "member", "member@a.example", "2020-01-01").await;
        let agent: Uuid = sqlx::query_scalar(
            "INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status, created_at)
            SELECT organization_id, id, 'agent', 'running', billing_clock() FROM users
            WHERE organization_id = $1 AND role = 'owner' RETURNING id",
        )
        .bind(debtor)
        .fetch_one(&world.pool)
        .await
        .expect("an agent");
        world.run_billing(1).await;
        assert_eq!(sweep(&world).await, 1);
        let delivery = delivery_id(&world, "owner@a.example").await;
        let event: i64 = world.count("SELECT id FROM outbox_events").await;
        assert_eq!(handed_over_at(&world, event).await, Some(60));
        // The mail comes back two days later, just before the shutdown.
        world.set_clock(hours(48)).await;
        assert!(tell(&world, "Email Bounced", delivery, &bounce("Permanent")).await);
        assert_eq!(
            states(&world).await,
            [
                state("owner@a.example", "bounced"),
                state("member@a.example", "handed_over")
            ]
        );
        assert_eq!(handed_over_at(&world, event).await, Some(48 * 60));
        world.run_billing(71).await;
        let row = world.agent_row(agent).await;
        assert_eq!(row.billing_status, "shutdown_pending");
        world.run_billing(72).await;
        assert_eq!(world.agent_row(agent).await.billing_status, "suspended");
        // The dead address gets no other mail.
        sweep(&world).await;
        let recipients = provider.recipients();
        assert_eq!(recipients[recipients.len() - 1], "member@a.example");
        assert!(!tell(&world, "Email Bounced", delivery, &bounce("Permanent")).await);
    });
}

#[test]
fn with_nobody_left_the_event_is_undeliverable_and_an_operator_can_retry() {
    run(async {
        let (world, provider) = ses_world().await;
        let operator = world.super_admin().await;
        let owner = organization(&world, "owner@a.example").await;
        let event = write_event(&world, owner, SHUTDOWN).await;
        assert!(notify(&world, event, SHUTDOWN).await);
        let delivery = delivery_id(&world, "owner@a.example").await;
        assert!(tell(&world, "Email Bounced", delivery, &bounce("Permanent")).await);
        assert!(is_undeliverable(&world, event).await);
        assert_eq!(handed_over_at(&world, event).await, None);
        let path = format!("/api/v1/admin/mails/{delivery}/retry");
        assert_eq!(world.post(&operator, &path).await.status(), 200);
        assert_eq!(sweep(&world).await, 1);
        assert_eq!(
            provider.recipients(),
            ["owner@a.example", "owner@a.example"]
        );
        assert!(!is_undeliverable(&world, event).await);
        assert!(handed_over_at(&world, event).await.is_some());
    });
}

#[test]
fn a_full_mailbox_is_passed_over_this_time_only() {
    run(async {
        let (world, provider) = ses_world().await;
        let owner = organization(&world, "owner@a.example").await;
        add_user(&world, owner, "admin", "admin@a.example", "2020-01-01").await;
        let event = write_event(&world, owner, SHUTDOWN).await;
        assert!(notify(&world, event, SHUTDOWN).await);
        let delivery = delivery_id(&world, "owner@a.example").await;
        assert!(tell(&world, "Email Bounced", delivery, &bounce("Transient")).await);
        let next = write_event(&world, owner, SHUTDOWN).await;
        assert!(notify(&world, next, SHUTDOWN).await);
        assert_eq!(
            provider.recipients(),
            ["owner@a.example", "admin@a.example", "owner@a.example"]
        );
    });
}

#[test]
fn a_complaint_does_not_undo_the_warning_but_later_mails_go_elsewhere() {
    run(async {
        let (world, provider) = ses_world().await;
        let owner = organization(&world, "owner@a.example").await;
        add_user(&world, owner, "admin", "admin@a.example", "2020-01-01").await;
        let event = write_event(&world, owner, SHUTDOWN).await;
        assert!(notify(&world, event, SHUTDOWN).await);
        let delivery = delivery_id(&world, "owner@a.example").await;
        assert!(tell(&world, "Email Delivered", delivery, &json!({})).await);
        assert!(tell(&world, "Email Complaint Received", delivery, &json!({})).await);
        assert_eq!(
            states(&world).await,
            [state("owner@a.example", "complained")]
        );
        assert_eq!(handed_over_at(&world, event).await, Some(0));
        let next = write_event(&world, owner, SHUTDOWN).await;
        assert!(notify(&world, next, SHUTDOWN).await);
        assert_eq!(
            provider.recipients(),
            ["owner@a.example", "admin@a.example"]
        );
    });
}

#[test]
fn f06_a_mail_that_is_sent_again_names_the_date_of_the_first_one() {
    run(async {
        let (world, provider) = ses_world().await;
        let debtor = organization(&world, "owner@a.example").await;
        let agent = world.agent(debtor, "running").await;
        world.run_billing(1).await;
        assert_eq!(sweep(&world).await, 1);
        at_minute(&world, 30 * 60).await;
        let delivery = delivery_id(&world, "owner@a.example").await;
        assert!(tell(&world, "Email Complaint Received", delivery, &json!({})).await);
        at_minute(&world, 40 * 60).await;
        let operator = world.super_admin().await;
        let path = format!("/api/v1/admin/mails/{delivery}/retry");
        assert_eq!(world.post(&operator, &path).await.status(), 200);
        assert_eq!(sweep(&world).await, 1);
        let mails = provider.taken();
        assert_eq!(mails.len(), 2);
        for mail in mails {
            assert_eq!(
                mail.parsed().subject(),
                "1 agent will be shut down on 2026-03-03 01:00 UTC"
            );
        }
        world.run_billing(49).await;
        let status: String =
            sqlx::query_scalar("SELECT billing_status FROM milady_sandboxes WHERE id = $1")
                .bind(agent)
                .fetch_one(&world.pool)
                .await
                .expect("an agent");
        assert_eq!(status, "suspended");
    });
}

#[test]
fn a_complaint_about_one_organizations_mail_suppresses_its_address_for_no_other() {
    run(async {
        for (kind, extra) in [
            ("Email Complaint Received", json!({})),
            ("Email Bounced", bounce("Permanent")),
        ] {
            let (world, provider) = ses_world().await;
            let victim = organization(&world, "owner@b.example").await;
            let other = organization_with_billing_email(&world, "Owner@B.example").await;
            let event = write_event(&world, other, SHUTDOWN).await;
            assert!(notify(&world, event, SHUTDOWN).await);
            let delivery = delivery_id(&world, "Owner@B.example").await;
            assert!(tell(&world, kind, delivery, &extra).await);
            let taken = provider.taken().len();
            for organization in [victim, other] {
                let event = write_event(&world, organization, SHUTDOWN).await;
                assert!(notify(&world, event, SHUTDOWN).await);
            }
            assert_eq!(
                provider.recipients()[taken..],
                ["owner@b.example", "owner@a.example"],
                "{kind}"
            );
        }
    });
}

#[test]
fn a_waiting_mail_passes_over_an_address_that_was_suppressed_for_its_organization_only() {
    run(async {
        let (world, provider) = ses_world().await;
        let victim = organization(&world, "owner@b.example").await;
        let other = organization_with_billing_email(&world, "Owner@B.example").await;
        let event = write_event(&world, other, SHUTDOWN).await;
        assert!(notify(&world, event, SHUTDOWN).await);
        let delivery = delivery_id(&world, "Owner@B.example").await;
        for organization in [victim, other] {
            provider.fail_next(Fault::Refuse(500, "InternalFailure"));
            let event = write_event(&world, organization, SHUTDOWN).await;
            assert!(!notify(&world, event, SHUTDOWN).await);
        }
        assert!(tell(&world, "Email Complaint Received", delivery, &json!({})).await);
        at_minute(&world, 2).await;
        assert_eq!(sweep(&world).await, 2);
        let mut recipients = provider.recipients().split_off(1);
        recipients.sort();
        assert_eq!(recipients, ["owner@a.example", "owner@b.example"]);
    });
}

#[test]
fn suppressed_addresses_are_kept_as_long_as_their_organization() {
    run(async {
        let (world, _provider) = ses_world().await;
        let owner = organization(&world, "owner@a.example").await;
        let event = write_event(&world, owner, SHUTDOWN).await;
        assert!(notify(&world, event, SHUTDOWN).await);
        let delivery = delivery_id(&world, "owner@a.example").await;
        assert!(tell(&world, "Email Complaint Received", delivery, &json!({})).await);
        let suppressed = "SELECT count(*) FROM cloud.suppressed_addresses";
        sweep(&world).await;
        assert_eq!(world.count(suppressed).await, 1);
        world.execute("DELETE FROM organizations").await;
        sweep(&world).await;
        assert_eq!(world.count(suppressed).await, 0);
    });
}

#[test]
fn earlier_suppressions_hold_for_the_organizations_whose_mails_were_reported() {
    run(async {
        let world = World::new().await;
        world
            .execute(
                "DROP TABLE cloud.suppressed_addresses;
                INSERT INTO cloud.mail_suppressions (address, reason, created_at)
                VALUES ('dead@a.example', 'bounced for good', billing_clock()),
                    ('spam@a.example', 'called spam', billing_clock())",
            )
            .await;
        let mut expected = Vec::new();
        for (event, (recipient, state, reason, address)) in (1_i64..).zip([
            (
                "Dead@a.example",
                "bounced",
                Some("bounced for good"),
                Some("dead@a.example"),
            ),
            ("dead@a.example", "bounced", Some("bounced for now"), None),
            (
                "spam@a.example",
                "complained",
                Some("called spam"),
                Some("spam@a.example"),
            ),
            ("spam@a.example", "delivered", None, None),
            // An operator lifted this suppression.
            ("lifted@a.example", "complained", Some("called spam"), None),
        ]) {
            let organization = world.organization("0").await;
            sqlx::query(
                "INSERT INTO cloud.mail_deliveries (event_id, organization_id, template, recipient, state, reason,
                    created_at, updated_at)
                VALUES ($1, $2, 'credit.low', $3, $4, $5, billing_clock(), billing_clock())",
            )
            .bind(event)
            .bind(organization)
            .bind(recipient)
            .bind(state)
            .bind(reason)
            .execute(&world.pool)
            .await
            .expect("a delivery");
            expected.extend(address.map(|address| (address.to_owned(), organization)));
        }
        world.execute(MIGRATION).await;
        let suppressed: Vec<(String, Uuid)> = sqlx::query_as(
            "SELECT address, organization_id FROM cloud.suppressed_addresses ORDER BY address",
        )
        .fetch_all(&world.pool)
        .await
        .expect("rows");
        assert_eq!(suppressed, expected);
    });
}

#[test]
fn a_report_settles_an_unknown_outcome_and_nothing_is_sent_again() {
    run(async {
        for (kind, end) in [
            ("Email Sent", "handed_over"),
            ("Email Delivered", "delivered"),
        ] {
            let (world, provider) = ses_world().await;
            let owner = organization(&world, "owner@a.example").await;
            provider.fail_next(Fault::TakeAndDrop);
            let event = write_event(&world, owner, SHUTDOWN).await;
            assert!(!notify(&world, event, SHUTDOWN).await);
            let delivery = delivery_id(&world, "owner@a.example").await;
            at_minute(&world, 3).await;
            assert!(tell(&world, kind, delivery, &json!({})).await);
            assert_eq!(handed_over_at(&world, event).await, Some(3));
            at_minute(&world, 20).await;
            assert_eq!(sweep(&world).await, 0);
            assert_eq!(provider.taken().len(), 1);
            assert_eq!(states(&world).await, [state("owner@a.example", end)]);
        }
    });
}

#[test]
fn reports_out_of_order_and_about_others_change_nothing() {
    run(async {
        let (world, _provider) = ses_world().await;
        let owner = organization(&world, "owner@a.example").await;
        let event = write_event(&world, owner, SHUTDOWN).await;
        assert!(notify(&world, event, SHUTDOWN).await);
        let delivery = delivery_id(&world, "owner@a.example").await;
        assert!(tell(&world, "Email Delivered", delivery, &json!({})).await);
        for kind in ["Email Sent", "Email Delivered", "Email Opened"] {
            assert!(!tell(&world, kind, delivery, &json!({})).await, "{kind}");
        }
        assert!(
            !tell(
                &world,
                "Email Bounced",
                Uuid::new_v4(),
                &bounce("Permanent")
            )
            .await
        );
        assert_eq!(
            states(&world).await,
            [state("owner@a.example", "delivered")]
        );
    });
}
