//! Workers that are killed: before the mail is sent, while the provider has it, and before its outcome is recorded.

use std::time::Duration;

use tests::mail_provider::{Fault, MailProvider};
use tests::{World, run, wait_until};

use super::{
    SHUTDOWN, at_minute, delivered, handed_over_at, organization, smtp_world, state, states, sweep,
    write_event,
};

/// Kills a worker as soon as `is_reached`.
async fn kill_when(world: &World, event: i64, what: &str, is_reached: impl AsyncFnMut() -> bool) {
    let instance = world.function("notify").start().await;
    let invoked = instance.invoke(delivered(event, SHUTDOWN), Duration::from_mins(1));
    tokio::select! {
        outcome = invoked => panic!("it was not killed: {outcome:?}"),
        () = wait_until(what, is_reached) => {}
    }
    instance.kill().await;
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
        let (world, provider) = smtp_world().await;
        let owner = organization(&world, "owner@a.example").await;
        let event = write_event(&world, owner, SHUTDOWN).await;
        let mut lock = world.pool.begin().await.expect("begin");
        sqlx::query("SELECT FROM outbox_events WHERE id = $1 FOR UPDATE")
            .bind(event)
            .execute(&mut *lock)
            .await
            .expect("the lock");
        kill_when(&world, event, "the worker waits for the lock", async || {
            world.blocked_sessions().await > 0
        })
        .await;
        lock.rollback().await.expect("rollback");
        assert!(states(&world).await.is_empty());
        check_arrival(&world, &provider, event, 1).await;
    });
}

#[test]
fn a_worker_killed_while_the_provider_has_the_mail_leaves_an_unknown_outcome() {
    run(async {
        let (world, provider) = smtp_world().await;
        let owner = organization(&world, "owner@a.example").await;
        provider.fail_next(Fault::TakeAndHang);
        let event = write_event(&world, owner, SHUTDOWN).await;
        kill_when(&world, event, "the provider has the mail", async || {
            !provider.taken().is_empty()
        })
        .await;
        assert_eq!(states(&world).await, [state("owner@a.example", "sending")]);
        at_minute(&world, 14).await;
        assert_eq!(sweep(&world).await, 0);
        check_arrival(&world, &provider, event, 2).await;
    });
}

#[test]
fn a_worker_killed_before_it_records_the_outcome_leaves_an_unknown_outcome() {
    run(async {
        let (world, provider) = smtp_world().await;
        let owner = organization(&world, "owner@a.example").await;
        let event = write_event(&world, owner, SHUTDOWN).await;
        // Whoever records the outcome waits for this lock: the delivery is there, so nobody needs it before.
        sqlx::query(
            "INSERT INTO cloud.mail_deliveries (event_id, organization_id, template, recipient, state, due_at,
                created_at, updated_at)
            VALUES ($1, $2, 'agent.shutdown_scheduled', 'owner@a.example', 'pending', billing_clock(),
                billing_clock(), billing_clock())",
        )
        .bind(event)
        .bind(owner)
        .execute(&world.pool)
        .await
        .expect("a delivery");
        let mut lock = world.pool.begin().await.expect("begin");
        sqlx::query("SELECT FROM outbox_events WHERE id = $1 FOR UPDATE")
            .bind(event)
            .execute(&mut *lock)
            .await
            .expect("the lock");
        let instance = world.function("notify").start().await;
        let swept = instance.invoke(serde_json::json!({}), Duration::from_mins(1));
        tokio::select! {
            outcome = swept => panic!("it was not killed: {outcome:?}"),
            () = wait_until("the outcome waits for the lock", async || {
                !provider.taken().is_empty() && world.blocked_sessions().await > 0
            }) => {}
        }
        instance.kill().await;
        lock.rollback().await.expect("rollback");
        assert_eq!(states(&world).await, [state("owner@a.example", "sending")]);
        check_arrival(&world, &provider, event, 2).await;
    });
}

#[test]
fn with_the_provider_down_the_warning_waits_and_arrives_later() {
    run(async {
        let (mut world, provider) = smtp_world().await;
        let url = world
            .settings
            .insert("SMTP_URL".to_owned(), "smtp://127.0.0.1:9".to_owned());
        let owner = organization(&world, "owner@a.example").await;
        let event = write_event(&world, owner, SHUTDOWN).await;
        assert_eq!(sweep(&world).await, 0);
        assert_eq!(states(&world).await, [state("owner@a.example", "pending")]);
        world.logs("notify").await;
        world
            .settings
            .insert("SMTP_URL".to_owned(), url.expect("its address"));
        check_arrival(&world, &provider, event, 1).await;
    });
}
