//! Known failures of earlier deployments, with billing, the mails and a mail server that misbehaves. The test names begin with
//! their codes.

use futures_util::future::join_all;
use rust_decimal::dec;
use serde_json::json;
use tests::mail_provider::{Fault, MailProvider};
use tests::world::{hours, minutes};
use tests::{World, run};
use uuid::Uuid;

use super::{handed_over_at, invoke, organization, rows, ses_world, smtp_world, sweep};

/// An organization that owes the first hour, and its agent. The warning is written at hour 1.
async fn debtor(world: &World) -> (Uuid, Uuid) {
    let organization = organization(world, "owner@a.example").await;
    let agent = world.agent(organization, "running").await;
    world.run_billing(1).await;
    (organization, agent)
}

async fn warning(world: &World) -> i64 {
    world
        .count("SELECT id FROM outbox_events WHERE type = 'agent.shutdown_scheduled'")
        .await
}

async fn billing_status(world: &World, agent: Uuid) -> String {
    world.agent_row(agent).await.billing_status
}

fn subjects(provider: &MailProvider) -> Vec<String> {
    let taken = provider.taken().into_iter();
    taken
        .map(|mail| mail.parsed().subject().to_owned())
        .collect()
}

#[test]
fn f01_f02_a_suspension_is_mailed_with_its_stop_and_after_payment_nobody_is_warned() {
    run(async {
        let (world, provider) = smtp_world().await;
        let (organization, agent) = debtor(&world).await;
        assert_eq!(sweep(&world).await, 1);
        world.run_billing(49).await;
        // F01: what the owner reads is what happens: the job that stops the container is there, too.
        let stops =
            "SELECT count(*) FROM jobs WHERE type = 'milady_suspend' AND status = 'pending'";
        assert_eq!(world.count(stops).await, 1);
        assert_eq!(sweep(&world).await, 1);
        assert_eq!(
            subjects(&provider),
            [
                "1 agent will be shut down on 2026-03-03 01:00 UTC",
                "Shut down: 1 agent"
            ]
        );
        // F02: it is stopped, paid for and runs again: billed, and not as if it still were suspended.
        world.set_status(agent, "stopped").await;
        world.top_up(organization, "20").await;
        world.set_status(agent, "provisioning").await;
        world.set_clock(hours(50)).await;
        world.set_status(agent, "running").await;
        world.run_billing(51).await;
        assert_eq!(world.charged(organization).await, dec!(1.00));
        assert_eq!(billing_status(&world, agent).await, "active");
        world.run_billing(99).await;
        assert_eq!(billing_status(&world, agent).await, "active");
        assert_eq!(sweep(&world).await, 0);
        assert_eq!(provider.taken().len(), 2);
    });
}

/// The first two attempts fail, at the hours 1 and 30. The third one succeeds at hour 40.
async fn check_late_warning(first: Fault, second: Fault) {
    let (world, provider) = if first == Fault::UnverifiedSender {
        ses_world().await
    } else {
        smtp_world().await
    };
    let (_, agent) = debtor(&world).await;
    for (hour, fault) in [(1, first), (30, second)] {
        world.set_clock(hours(hour)).await;
        provider.fail_next(fault);
        assert_eq!(sweep(&world).await, 0, "{fault:?}");
    }
    world.set_clock(hours(40)).await;
    assert_eq!(sweep(&world).await, 1, "{first:?}");
    let warning = warning(&world).await;
    assert_eq!(handed_over_at(&world, warning).await, Some(40 * 60));
    for (hour, status) in [
        (49, "shutdown_pending"),
        (63, "shutdown_pending"),
        (64, "suspended"),
    ] {
        world.run_billing(hour).await;
        assert_eq!(
            billing_status(&world, agent).await,
            status,
            "{first:?} {hour}"
        );
    }
    assert_eq!(sweep(&world).await, 1, "{first:?}");
    let subjects = subjects(&provider);
    assert_eq!(
        subjects.last().map(String::as_str),
        Some("Shut down: 1 agent")
    );
}

#[test]
fn f06_whatever_the_mail_server_does_an_agent_is_suspended_a_day_after_it_took_the_warning() {
    run(async {
        let cases = [
            (Fault::Greeting(421), Fault::Greeting(421)),
            (Fault::Recipient(450), Fault::Message(452)),
            (Fault::DropBeforeMessage, Fault::DropBeforeMessage),
            (Fault::TakeAndDrop, Fault::TakeAndDrop),
            (Fault::TakeAndHang, Fault::TakeAndDrop),
            (Fault::UnverifiedSender, Fault::UnverifiedSender),
        ];
        let checks = cases.map(|(first, second)| Box::pin(check_late_warning(first, second)));
        join_all(checks).await;
    });
}

#[test]
fn f06_a_connection_that_ends_after_the_answer_warns_in_time() {
    run(async {
        let (world, provider) = smtp_world().await;
        let (_, agent) = debtor(&world).await;
        provider.fail_next(Fault::DropAfterAnswer);
        assert_eq!(sweep(&world).await, 1);
        let warning = warning(&world).await;
        assert_eq!(handed_over_at(&world, warning).await, Some(60));
        world.run_billing(48).await;
        assert_eq!(billing_status(&world, agent).await, "shutdown_pending");
        world.run_billing(49).await;
        assert_eq!(billing_status(&world, agent).await, "suspended");
        assert_eq!(provider.taken().len(), 1);
    });
}

#[test]
fn f06_an_owner_whose_address_is_refused_is_an_incident_long_before_the_shutdown() {
    run(async {
        let smtp = (smtp_world().await, Fault::Recipient(550));
        let ses = (ses_world().await, Fault::Refuse(400, "MessageRejected"));
        for ((world, provider), fault) in [smtp, ses] {
            let (_, agent) = debtor(&world).await;
            provider.fail_next(fault);
            let answer = invoke(&world, json!({})).await;
            assert_eq!(
                (&answer["handedOver"], &answer["undeliverable"]),
                (&json!(0), &json!(1))
            );
            world.run_billing(48).await;
            assert_eq!(billing_status(&world, agent).await, "shutdown_pending");
            world.run_billing(49).await;
            assert_eq!(billing_status(&world, agent).await, "suspended");
        }
    });
}

#[test]
fn f07_after_a_top_up_in_the_last_minute_of_grace_no_mail_speaks_of_a_shutdown() {
    run(async {
        let (world, provider) = smtp_world().await;
        let (organization, agent) = debtor(&world).await;
        assert_eq!(sweep(&world).await, 1);
        world.set_clock(minutes(48 * 60 + 59)).await;
        world.top_up(organization, "5").await;
        world.run_billing(49).await;
        assert_eq!(billing_status(&world, agent).await, "active");
        assert_eq!(sweep(&world).await, 0);
        assert_eq!(
            world.events(organization).await,
            ["agent.shutdown_scheduled"]
        );
        assert_eq!(provider.taken().len(), 1);
    });
}

/// A debtor whose warning no provider took. Returns the provider's address, too.
async fn unreachable_debtor() -> (World, MailProvider, (Uuid, Uuid)) {
    let (mut world, provider) = smtp_world().await;
    let nowhere = "smtp://127.0.0.1:9".to_owned();
    world.settings.insert("SMTP_URL".to_owned(), nowhere);
    let debtor = debtor(&world).await;
    assert_eq!(sweep(&world).await, 0);
    (world, provider, debtor)
}

/// The provider can be reached from now on.
async fn reach(world: &mut World, provider: &MailProvider) {
    world.logs("notify").await;
    let url = provider.smtp_url();
    world.settings.insert("SMTP_URL".to_owned(), url);
}

#[test]
fn f07_a_warning_that_waited_while_the_debt_was_paid_is_not_sent() {
    run(async {
        let (mut world, provider, (organization, agent)) = unreachable_debtor().await;
        world.set_clock(hours(2)).await;
        world.top_up(organization, "5").await;
        world.run_billing(2).await;
        assert_eq!(billing_status(&world, agent).await, "active");
        reach(&mut world, &provider).await;
        world.set_clock(hours(3)).await;
        assert_eq!(sweep(&world).await, 0);
        assert!(provider.taken().is_empty());
        let rows = rows(&world).await;
        assert_eq!(rows.len(), 1);
        let (_, state, _, is_due, reason) = &rows[0];
        assert_eq!(
            (state.as_str(), *is_due, reason.as_deref()),
            ("failed", false, Some("the shutdown is no longer scheduled"))
        );
        // The next debt is announced as if nothing had been.
        world.run_billing(400).await;
        assert_eq!(billing_status(&world, agent).await, "shutdown_pending");
        assert_eq!(sweep(&world).await, 1);
        assert_eq!(
            subjects(&provider),
            ["1 agent will be shut down on 2026-03-19 16:00 UTC"]
        );
    });
}

#[test]
fn f06_a_warning_that_is_sent_late_names_a_date_a_day_later() {
    run(async {
        let (mut world, provider, (_, agent)) = unreachable_debtor().await;
        world.run_billing(100).await;
        reach(&mut world, &provider).await;
        assert_eq!(sweep(&world).await, 1);
        assert_eq!(
            subjects(&provider),
            ["1 agent will be shut down after 2026-03-06 04:00 UTC"]
        );
        let mail = provider.taken()[0].parsed();
        for text in [&mail.text, &mail.html] {
            for part in [
                "1 agent will be shut down after 2026-03-06 04:00 UTC.",
                "You owed $0.02 when the shutdown was scheduled",
                "but not within 6 hours of this mail.",
            ] {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert!(!text.contains("2026-03-03"), "{text}");
        }
        world.run_billing(123).await;
        assert_eq!(billing_status(&world, agent).await, "shutdown_pending");
        world.run_billing(124).await;
        assert_eq!(billing_status(&world, agent).await, "suspended");
    });
}

#[test]
fn f64_a_mail_server_that_is_down_for_days_bounds_the_debt_and_not_the_notice() {
    run(async {
        // Above the ceiling: six hours after the mail was taken, or four days after the warning without it.
        for (taken_at, last_hour) in [(Some(80), 85), (None, 96)] {
            let (mut world, provider) = smtp_world().await;
            let url = provider.smtp_url();
            let nowhere = "smtp://127.0.0.1:9".to_owned();
            world.settings.insert("SMTP_URL".to_owned(), nowhere);
            let debtor = organization(&world, "owner@a.example").await;
            let agent = world.agent(debtor, "running").await;
            world.set_columns(agent, "hourly_rate = 1").await;
            world.run_billing(1).await;
            assert_eq!(sweep(&world).await, 0);
            if let Some(hour) = taken_at {
                world.logs("notify").await;
                world.settings.insert("SMTP_URL".to_owned(), url);
                world.run_billing(hour).await;
                assert_eq!(sweep(&world).await, 1);
            }
            world.run_billing(last_hour).await;
            assert_eq!(billing_status(&world, agent).await, "shutdown_pending");
            let report = world.run_billing(last_hour + 1).await;
            assert_eq!(billing_status(&world, agent).await, "suspended");
            assert_eq!(
                report.tally.owed.to_decimal(),
                rust_decimal::Decimal::from(last_hour + 1)
            );
            // Nobody is suspended unwarned without an alarm.
            assert_eq!(report.tally.unwarned, usize::from(taken_at.is_none()));
        }
    });
}
