//! Workers that are killed at each point of an attempt, with both kinds of providers: before the delivery is written, between
//! its claim and the connection, while the provider has the mail, and after the answer, before the state is written.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
use tests::mail_provider::{Fault, MailProvider};
use tests::{World, run, wait_until};
use uuid::Uuid;

use super::{
    LOW, SHUTDOWN, at_minute, delivered, handed_over_at, organization, ses_world, smtp_world,
    state, states, sweep, write_event,
};

/// One with an SMTP server, one with SES.
async fn worlds() -> [(World, MailProvider); 2] {
    let (smtp, ses) = tokio::join!(smtp_world(), ses_world());
    [smtp, ses]
}

/// Kills a worker that handles this event as soon as `is_reached`.
async fn kill_when(world: &World, event: Value, what: &str, is_reached: impl AsyncFnMut() -> bool) {
    let instance = world.function("notify").start().await;
    let invoked = instance.invoke(event, Duration::from_mins(1));
    tokio::select! {
        outcome = invoked => panic!("it was not killed: {outcome:?}"),
        () = wait_until(what, is_reached) => {}
    }
    instance.kill().await;
}

/// Locks the event, as everybody does who changes its deliveries.
async fn lock_event(world: &World, event: i64) -> Transaction<'static, Postgres> {
    let mut lock = world.pool.begin().await.expect("begin");
    sqlx::query("SELECT FROM outbox_events WHERE id = $1 FOR UPDATE")
        .bind(event)
        .execute(&mut *lock)
        .await
        .expect("the lock");
    lock
}

/// Inserts a delivery that is due.
async fn insert_delivery(world: &World, event: i64, organization: Uuid) {
    sqlx::query(
        "INSERT INTO cloud.mail_deliveries (event_id, organization_id, template, recipient, state, due_at, created_at,
            updated_at)
        VALUES ($1, $2, 'agent.shutdown_scheduled', 'owner@a.example', 'pending', billing_clock(), billing_clock(),
            billing_clock())",
    )
    .bind(event)
    .bind(organization)
    .execute(&world.pool)
    .await
    .expect("a delivery");
}

/// The mail arrives, at most twice, and counts as handed over only from an answer on.
async fn check_arrival(world: &World, provider: &MailProvider, event: i64, mails: usize) {
    at_minute(world, 16).await;
    sweep(world).await;
    assert_eq!(provider.taken().len(), mails);
    assert_eq!(
        states(world).await,
        [state("owner@a.example", "handed_over")]
    );
    assert_eq!(handed_over_at(world, event).await, Some(16));
    sweep(world).await;
    assert_eq!(provider.taken().len(), mails);
}

#[test]
fn a_worker_killed_before_it_has_a_delivery_leaves_the_event_to_the_sweep() {
    run(async {
        for (world, provider) in worlds().await {
            let owner = organization(&world, "owner@a.example").await;
            let event = write_event(&world, owner, SHUTDOWN).await;
            let lock = lock_event(&world, event).await;
            kill_when(
                &world,
                delivered(event, SHUTDOWN),
                "the worker waits for the lock",
                async || world.blocked_sessions().await > 0,
            )
            .await;
            lock.rollback().await.expect("rollback");
            assert!(states(&world).await.is_empty());
            check_arrival(&world, &provider, event, 1).await;
        }
    });
}

#[test]
fn a_worker_killed_between_its_claim_and_the_connection_leaves_an_unknown_outcome() {
    run(async {
        for (world, provider) in worlds().await {
            let owner = organization(&world, "owner@a.example").await;
            let event = write_event(&world, owner, SHUTDOWN).await;
            insert_delivery(&world, event, owner).await;
            // What the mail says is read after the claim, also from this table.
            let mut lock = world.pool.begin().await.expect("begin");
            sqlx::query("LOCK TABLE cloud.organization_settings IN ACCESS EXCLUSIVE MODE")
                .execute(&mut *lock)
                .await
                .expect("the lock");
            kill_when(&world, json!({}), "the worker reads the mail", async || {
                world.blocked_sessions().await > 0
            })
            .await;
            lock.rollback().await.expect("rollback");
            assert_eq!(provider.attempts(), 0);
            assert_eq!(states(&world).await, [state("owner@a.example", "sending")]);
            at_minute(&world, 14).await;
            assert_eq!(sweep(&world).await, 0);
            check_arrival(&world, &provider, event, 1).await;
        }
    });
}

#[test]
fn a_worker_killed_while_the_provider_has_the_mail_leaves_an_unknown_outcome() {
    run(async {
        for (world, provider) in worlds().await {
            let owner = organization(&world, "owner@a.example").await;
            provider.fail_next(Fault::TakeAndHang);
            let event = write_event(&world, owner, SHUTDOWN).await;
            kill_when(
                &world,
                delivered(event, SHUTDOWN),
                "the provider has the mail",
                async || !provider.taken().is_empty(),
            )
            .await;
            assert_eq!(states(&world).await, [state("owner@a.example", "sending")]);
            at_minute(&world, 14).await;
            assert_eq!(sweep(&world).await, 0);
            check_arrival(&world, &provider, event, 2).await;
        }
    });
}

#[test]
fn a_worker_killed_before_it_records_the_outcome_leaves_an_unknown_outcome() {
    run(async {
        for (world, provider) in worlds().await {
            let owner = organization(&world, "owner@a.example").await;
            let event = write_event(&world, owner, SHUTDOWN).await;
            // Whoever records the outcome waits for this lock: the delivery is there, so nobody needs it before.
            insert_delivery(&world, event, owner).await;
            let lock = lock_event(&world, event).await;
            kill_when(
                &world,
                json!({}),
                "the outcome waits for the lock",
                async || !provider.taken().is_empty() && world.blocked_sessions().await > 0,
            )
            .await;
            lock.rollback().await.expect("rollback");
            assert_eq!(states(&world).await, [state("owner@a.example", "sending")]);
            check_arrival(&world, &provider, event, 2).await;
        }
    });
}

#[test]
fn mails_that_are_let_go_are_not_sent_a_second_time_after_a_kill() {
    run(async {
        for (world, provider) in worlds().await {
            let owner = organization(&world, "owner@a.example").await;
            provider.fail_next(Fault::TakeAndHang);
            let event = write_event(&world, owner, LOW).await;
            kill_when(
                &world,
                delivered(event, LOW),
                "the provider has the mail",
                async || !provider.taken().is_empty(),
            )
            .await;
            at_minute(&world, 16).await;
            assert_eq!(sweep(&world).await, 0);
            assert_eq!(provider.taken().len(), 1);
            assert_eq!(states(&world).await, [state("owner@a.example", "unknown")]);
            assert_eq!(handed_over_at(&world, event).await, None);
        }
    });
}

#[test]
fn with_the_provider_down_the_warning_waits_and_arrives_later() {
    run(async {
        let nowhere = [
            ("SMTP_URL", "smtp://127.0.0.1:9"),
            ("AWS_ENDPOINT_URL_SESV2", "http://127.0.0.1:9"),
        ];
        for ((mut world, provider), (setting, address)) in worlds().await.into_iter().zip(nowhere) {
            let reachable = world
                .settings
                .insert(setting.to_owned(), address.to_owned());
            let owner = organization(&world, "owner@a.example").await;
            let event = write_event(&world, owner, SHUTDOWN).await;
            assert_eq!(sweep(&world).await, 0);
            assert_eq!(states(&world).await, [state("owner@a.example", "pending")]);
            world.logs("notify").await;
            world
                .settings
                .insert(setting.to_owned(), reachable.expect("its address"));
            check_arrival(&world, &provider, event, 1).await;
        }
    });
}
