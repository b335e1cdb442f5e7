//! Attempts that fail for now, for good, or with an outcome that nobody knows.

use serde_json::{Value, json};
use tests::mail_provider::Fault;
use tests::{World, run};

use super::{
    LOW, Row, SHUTDOWN, at_minute, handed_over_at, is_undeliverable, notify, organization, rows,
    ses_world, smtp_world, state, states, sweep, write_event,
};

fn row(recipient: &str, state: &str, attempts: i32, is_due: bool, reason: Option<&str>) -> Row {
    let reason = reason.map(str::to_owned);
    (
        Some(recipient.to_owned()),
        state.to_owned(),
        attempts,
        is_due,
        reason,
    )
}

/// The seconds that the oldest mail had waited, of each sweep since the last call.
async fn oldest_waits(world: &World) -> Vec<Value> {
    let lines = world.logs("notify").await;
    let lines = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let metrics = lines.filter(|line| line["_aws"].is_object());
    metrics.map(|line| line["OldestWait"].clone()).collect()
}

#[test]
fn how_long_the_oldest_mail_waits_is_measured_until_it_is_taken() {
    run(async {
        let (mut world, provider) = smtp_world().await;
        let nowhere = "smtp://127.0.0.1:9".to_owned();
        world.settings.insert("SMTP_URL".to_owned(), nowhere);
        let owner = organization(&world, "owner@a.example").await;
        assert_eq!(sweep(&world).await, 0);
        let id = write_event(&world, owner, SHUTDOWN).await;
        assert!(!notify(&world, id, SHUTDOWN).await);
        at_minute(&world, 70).await;
        assert_eq!(sweep(&world).await, 0);
        assert_eq!(oldest_waits(&world).await, [json!(0), json!(70 * 60)]);
        world
            .settings
            .insert("SMTP_URL".to_owned(), provider.smtp_url());
        at_minute(&world, 200).await;
        assert_eq!(sweep(&world).await, 1);
        assert_eq!(oldest_waits(&world).await, [json!(0)]);
    });
}

#[test]
fn a_server_that_does_not_take_the_mail_now_is_asked_again_with_growing_delays() {
    run(async {
        let (world, provider) = smtp_world().await;
        let owner = organization(&world, "owner@a.example").await;
        for fault in [
            Fault::Greeting(421),
            Fault::Recipient(450),
            Fault::Message(452),
            Fault::DropBeforeMessage,
        ] {
            provider.fail_next(fault);
        }
        let id = write_event(&world, owner, SHUTDOWN).await;
        assert!(!notify(&world, id, SHUTDOWN).await);
        // The delays are 1, 5, 15 and 60 minutes.
        for (attempts, due) in [(1, 1), (2, 6), (3, 21), (4, 81)] {
            let rows = rows(&world).await;
            let (_, state, done, is_due, _) = &rows[0];
            assert_eq!(
                (state.as_str(), *done, *is_due),
                ("pending", attempts, true)
            );
            at_minute(&world, due - 1).await;
            sweep(&world).await;
            assert_eq!(
                provider.attempts(),
                usize::try_from(attempts).expect("a count")
            );
            at_minute(&world, due).await;
            sweep(&world).await;
        }
        assert_eq!(
            rows(&world).await,
            [row("owner@a.example", "handed_over", 5, false, None)]
        );
        assert_eq!(handed_over_at(&world, id).await, Some(81));
        assert_eq!(provider.taken().len(), 1);
    });
}

#[test]
fn a_refusal_is_final_and_the_next_recipient_is_addressed_at_once() {
    run(async {
        let (world, provider) = smtp_world().await;
        let owner = organization(&world, "owner@a.example").await;
        super::add_user(&world, owner, "admin", "admin@a.example", "2020-01-01").await;
        provider.fail_next(Fault::Recipient(550));
        let id = write_event(&world, owner, SHUTDOWN).await;
        assert!(notify(&world, id, SHUTDOWN).await);
        assert_eq!(
            rows(&world).await,
            [
                row("admin@a.example", "handed_over", 1, false, None),
                row(
                    "owner@a.example",
                    "failed",
                    1,
                    false,
                    Some("the SMTP server answered 550")
                ),
            ]
        );
        assert!(!is_undeliverable(&world, id).await);
    });
}

#[test]
fn a_connection_that_ends_after_the_answer_changes_nothing() {
    run(async {
        let (world, provider) = smtp_world().await;
        let owner = organization(&world, "owner@a.example").await;
        provider.fail_next(Fault::DropAfterAnswer);
        let id = write_event(&world, owner, LOW).await;
        assert!(notify(&world, id, LOW).await);
        assert_eq!(
            states(&world).await,
            [state("owner@a.example", "handed_over")]
        );
    });
}

#[test]
fn after_a_lost_answer_a_warning_is_sent_again_and_low_credit_is_not() {
    run(async {
        for (kind, mails, end) in [(SHUTDOWN, 2, "handed_over"), (LOW, 1, "unknown")] {
            let (world, provider) = smtp_world().await;
            let owner = organization(&world, "owner@a.example").await;
            provider.fail_next(Fault::TakeAndDrop);
            let id = write_event(&world, owner, kind).await;
            assert!(!notify(&world, id, kind).await);
            assert_eq!(states(&world).await, [state("owner@a.example", "unknown")]);
            // A warning of which nobody knows whether it was sent starts no period of notice.
            assert_eq!(handed_over_at(&world, id).await, None);
            at_minute(&world, 14).await;
            sweep(&world).await;
            assert_eq!(provider.taken().len(), 1, "{kind}");
            at_minute(&world, 15).await;
            sweep(&world).await;
            sweep(&world).await;
            assert_eq!(provider.taken().len(), mails, "{kind}");
            assert_eq!(states(&world).await, [state("owner@a.example", end)]);
            let ids: Vec<Option<String>> = provider
                .taken()
                .iter()
                .map(|mail| mail.parsed().header("message-id").map(str::to_owned))
                .collect();
            assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        }
    });
}

#[test]
fn a_silent_provider_is_waited_for_only_for_seconds() {
    run(async {
        let (by_smtp, by_ses) = tokio::join!(smtp_world(), ses_world());
        let attempt =
            async |(world, provider): (tests::World, tests::mail_provider::MailProvider)| {
                let owner = organization(&world, "owner@a.example").await;
                provider.fail_next(Fault::TakeAndHang);
                let id = write_event(&world, owner, SHUTDOWN).await;
                assert!(!notify(&world, id, SHUTDOWN).await);
                states(&world).await
            };
        let (smtp, ses) = tokio::join!(attempt(by_smtp), attempt(by_ses));
        let unknown = [state("owner@a.example", "unknown")];
        assert_eq!((smtp, ses), (unknown.to_vec(), unknown.to_vec()));
    });
}

#[test]
fn ses_gets_the_whole_mail_with_the_deliverys_tag() {
    run(async {
        let (world, provider) = ses_world().await;
        let owner = organization(&world, "owner@a.example").await;
        let id = write_event(&world, owner, SHUTDOWN).await;
        assert!(notify(&world, id, SHUTDOWN).await);
        let mails = provider.taken();
        assert_eq!(mails.len(), 1);
        let mail = &mails[0];
        let delivery = super::delivery_id(&world, "owner@a.example").await;
        assert_eq!(
            mail.request["EmailTags"],
            serde_json::json!([{"Name": "milady-delivery", "Value": delivery}])
        );
        assert_eq!(mail.request["ConfigurationSetName"], "local-mails");
        assert_eq!(mail.parsed().header("to"), Some("owner@a.example"));
        let stored = "SELECT count(*) FROM cloud.mail_deliveries WHERE provider_id = 'ses-1'";
        assert_eq!(world.count(stored).await, 1);
    });
}

#[test]
fn each_error_of_ses_has_its_consequence() {
    run(async {
        for (fault, expected, is_due) in [
            (Fault::Refuse(400, "MessageRejected"), "failed", false),
            (Fault::UnverifiedSender, "pending", true),
            (
                Fault::Refuse(400, "SendingPausedException"),
                "pending",
                true,
            ),
            (
                Fault::Refuse(429, "TooManyRequestsException"),
                "pending",
                true,
            ),
            (Fault::Refuse(500, "InternalFailure"), "pending", true),
            (Fault::TakeAndDrop, "unknown", true),
        ] {
            let (world, provider) = ses_world().await;
            let owner = organization(&world, "owner@a.example").await;
            provider.fail_next(fault);
            let id = write_event(&world, owner, SHUTDOWN).await;
            assert!(!notify(&world, id, SHUTDOWN).await);
            let rows = rows(&world).await;
            let found = rows.iter().find(|row| row.0.is_some()).expect("a delivery");
            assert_eq!((found.1.as_str(), found.3), (expected, is_due), "{fault:?}");
            assert_eq!(provider.attempts(), 1, "{fault:?}");
        }
    });
}

#[test]
fn a_sender_that_ses_has_not_verified_costs_no_recipient_their_mail() {
    run(async {
        let (world, provider) = ses_world().await;
        let owner = organization(&world, "owner@a.example").await;
        super::add_user(&world, owner, "admin", "admin@a.example", "2020-01-01").await;
        provider.fail_next(Fault::UnverifiedSender);
        let id = write_event(&world, owner, SHUTDOWN).await;
        assert!(!notify(&world, id, SHUTDOWN).await);
        let reason = "SES answered 400 MessageRejected: it has not verified the sender, \
            or the account is in its sandbox";
        assert_eq!(
            rows(&world).await,
            [row("owner@a.example", "pending", 1, true, Some(reason))]
        );
        assert!(!is_undeliverable(&world, id).await);
        // The operator has repaired it: the same recipient gets the mail.
        at_minute(&world, 1).await;
        assert_eq!(sweep(&world).await, 1);
        assert_eq!(
            rows(&world).await,
            [row("owner@a.example", "handed_over", 2, false, None)]
        );
        assert_eq!(provider.attempts(), 2);
    });
}

#[test]
fn a_mail_is_given_up_when_it_is_too_old() {
    run(async {
        let (world, provider) = smtp_world().await;
        let owner = organization(&world, "owner@a.example").await;
        let id = write_event(&world, owner, SHUTDOWN).await;
        provider.fail_next(Fault::Greeting(421));
        assert!(!notify(&world, id, SHUTDOWN).await);
        at_minute(&world, 7 * 24 * 60 - 1).await;
        provider.fail_next(Fault::Greeting(421));
        sweep(&world).await;
        let rows = rows(&world).await;
        assert_eq!((rows[0].1.as_str(), rows[0].3), ("failed", false));
        assert_eq!(rows.len(), 1);
    });
}
