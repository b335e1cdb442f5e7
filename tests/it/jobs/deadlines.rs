//! Whoever never answers is not waited for without end.

use std::time::{Duration, Instant};

use dev::runtime::Outcome;
use serde_json::json;
use tests::{World, run};

use super::webhook::{failed_start, is, kept, open, work};
use super::webhook_faults::Silent;
use super::{bus, fresh, job, job_id, provision, publish, seconds, sweep, try_sweep};

/// One test, because each of them mostly waits.
#[test]
fn whoever_never_answers_is_not_waited_for_without_end() {
    run(async {
        tokio::join!(
            a_webhook_that_never_answers_is_given_up_after_ten_seconds(),
            an_eventbridge_that_never_answers_delays_a_start_by_seconds(),
            an_agent_that_somebody_holds_keeps_the_sweep_from_nothing_else(),
        );
    });
}

async fn a_webhook_that_never_answers_is_given_up_after_ten_seconds() {
    let (world, silent) = (World::new().await, Silent::start().await);
    let job = failed_start(&world, &silent.url()).await;
    let worker = open(&world, "job-run").start().await;
    worker.ready().await.expect("a first poll");
    let called = Instant::now();
    assert!(work(&worker, job).await.1);
    let took = called.elapsed();
    let ten = Duration::from_secs(10);
    assert!(took >= ten && took < ten * 2, "{took:?}");
    assert_eq!(kept(&world, job).await, is("pending", 1, Some(30)));
}

async fn an_eventbridge_that_never_answers_delays_a_start_by_seconds() {
    let (world, silent) = (World::new().await, Silent::start().await);
    let (_, key, id) = fresh(&world).await;
    let requests = world
        .function("agent-provision")
        .with("AWS_ENDPOINT_URL_EVENTBRIDGE", &silent.url());
    let asked = Instant::now();
    let start = job_id(&world.call_on(&requests, publish::start(&key, id)).await);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(job(&world, start).await.state(), ("pending", 0, None));
}

async fn an_agent_that_somebody_holds_keeps_the_sweep_from_nothing_else() {
    let (world, bus) = (World::new().await, bus().await);
    let mut starts = Vec::new();
    for _ in 0..2 {
        let (_, key, id) = fresh(&world).await;
        starts.push((id, provision(&world, &key, id).await));
        world.at(seconds(1)).await;
    }
    world
        .execute(
            "UPDATE jobs SET status = 'in_progress', attempts = 1;
            INSERT INTO outbox_events (key, type, organization_id, payload, occurred_at)
            VALUES ('k', 'credit.low', gen_random_uuid(), '{}', billing_clock())",
        )
        .await;
    world.at(seconds(302)).await;
    // A session that somebody forgot, on the agent of the oldest job.
    let mut forgotten = world.pool.begin().await.expect("begin");
    sqlx::query("SELECT FROM milady_sandboxes WHERE id = $1 FOR UPDATE")
        .bind(starts[0].0)
        .execute(&mut *forgotten)
        .await
        .expect("a lock");
    // It is seen that something went wrong, and all the rest is done.
    let outcome = try_sweep(&world, &bus).await;
    assert!(
        matches!(outcome, Outcome::FunctionError { .. }),
        "{outcome:?}"
    );
    assert_eq!(job(&world, starts[0].1).await.status, "in_progress");
    assert_eq!(job(&world, starts[1].1).await.status, "pending");
    assert_eq!(bus.received().len(), 1);
    forgotten.rollback().await.expect("rollback");
    assert_eq!(sweep(&world, &bus).await["recovered"], json!(1));
}
