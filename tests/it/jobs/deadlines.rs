//! Whoever never answers is not waited for without end.

use std::time::{Duration, Instant};

use dev::runtime::Outcome;
use serde_json::json;
use tests::{World, run};

use super::webhook::{
    WebhookRow, allowing_private_webhooks, insert_failed_start, run_and_call, webhook_row,
};
use super::webhook_faults::SilentServer;
use super::{
    job, job_id, provision, publish, seconds, start_bus, sweep, tenant_with_agent, try_sweep,
};

/// One test, because its parts mostly wait.
#[test]
fn servers_that_never_answer_delay_nothing_for_long() {
    run(async {
        tokio::join!(
            a_webhook_call_times_out_after_ten_seconds(),
            an_eventbridge_that_never_answers_delays_a_start_by_less_than_ten_seconds(),
            a_locked_agent_does_not_keep_the_sweep_from_its_other_duties(),
        );
    });
}

async fn a_webhook_call_times_out_after_ten_seconds() {
    let (world, silent) = (World::new().await, SilentServer::start().await);
    let job = insert_failed_start(&world, &silent.url()).await;
    let worker = allowing_private_webhooks(&world, "job-run").start().await;
    worker.wait_until_ready().await.expect("a first poll");
    let started = Instant::now();
    assert!(run_and_call(&worker, job).await.webhook_called);
    let took = started.elapsed();
    let ten = Duration::from_secs(10);
    assert!(took >= ten && took < ten * 2, "{took:?}");
    assert_eq!(
        webhook_row(&world, job).await,
        WebhookRow::new("pending", 1, Some(30))
    );
}

async fn an_eventbridge_that_never_answers_delays_a_start_by_less_than_ten_seconds() {
    let (world, silent) = (World::new().await, SilentServer::start().await);
    let (_, key, id) = tenant_with_agent(&world).await;
    let requests = world
        .function("agent-provision")
        .with("AWS_ENDPOINT_URL_EVENTBRIDGE", &silent.url());
    let started = Instant::now();
    let start = job_id(
        &world
            .call_function(&requests, publish::provision_request(&key, id))
            .await,
    );
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(job(&world, start).await.state(), ("pending", 0, None));
}

async fn a_locked_agent_does_not_keep_the_sweep_from_its_other_duties() {
    let (world, bus) = (World::new().await, start_bus().await);
    let mut starts = Vec::new();
    for _ in 0..2 {
        let (_, key, id) = tenant_with_agent(&world).await;
        starts.push((id, provision(&world, &key, id).await));
        world.set_clock(seconds(1)).await;
    }
    world
        .execute(
            "UPDATE jobs SET status = 'in_progress', attempts = 1;
            INSERT INTO outbox_events (key, type, organization_id, payload, occurred_at)
            VALUES ('k', 'credit.low', gen_random_uuid(), '{}', billing_clock())",
        )
        .await;
    world.set_clock(seconds(302)).await;
    // A forgotten session holds the agent of the oldest job.
    let mut forgotten_session = world.pool.begin().await.expect("begin");
    sqlx::query("SELECT FROM milady_sandboxes WHERE id = $1 FOR UPDATE")
        .bind(starts[0].0)
        .execute(&mut *forgotten_session)
        .await
        .expect("a lock");
    // The sweep fails, but does everything else.
    let outcome = try_sweep(&world, &bus).await;
    assert!(
        matches!(outcome, Outcome::FunctionError { .. }),
        "{outcome:?}"
    );
    assert_eq!(job(&world, starts[0].1).await.status, "in_progress");
    assert_eq!(job(&world, starts[1].1).await.status, "pending");
    assert_eq!(bus.received().len(), 1);
    forgotten_session.rollback().await.expect("rollback");
    assert_eq!(sweep(&world, &bus).await["recovered"], json!(1));
}
