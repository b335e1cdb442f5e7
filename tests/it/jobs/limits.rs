//! How many starts of an organization run at the same time.

use futures_util::future::select;
use serde_json::json;
use tests::{World, run};
use uuid::Uuid;

use super::{
    ANNOUNCED, RETRIED, announced_jobs, job, provision, run_job, run_job_on, start_bus, sweep,
    tenant_with_agent,
};

/// What `job-run` returns for a start that has to wait for another one.
const WAITING: &str = "waiting";

/// Inserts starts of agents that workers have begun.
async fn running_starts(world: &World, organization: Uuid, count: i32) {
    sqlx::query(
        "WITH started AS (
            INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status)
            SELECT $1, id, 'agent ' || n, 'provisioning' FROM users, generate_series(1, $2) n
            WHERE organization_id = $1 RETURNING id)
        INSERT INTO jobs (type, class, organization_id, agent_id, data, status, attempts, updated_at)
        SELECT 'milady_provision', 'start', $1, id, jsonb_build_object('agentId', id), 'in_progress', 1,
            billing_clock() AT TIME ZONE 'UTC' FROM started",
    )
    .bind(organization)
    .bind(count)
    .execute(&world.pool)
    .await
    .expect("jobs");
}

async fn end_running_starts(world: &World) {
    world
        .execute("UPDATE jobs SET status = 'completed' WHERE status = 'in_progress'")
        .await;
}

#[test]
fn f49_an_eleventh_start_waits_until_another_one_has_ended() {
    run(async {
        let world = World::new().await;
        let (organization, key, id) = tenant_with_agent(&world).await;
        running_starts(&world, organization, 10).await;
        let start = provision(&world, &key, id).await;
        for _ in 0..2 {
            assert_eq!(run_job(&world, start).await, WAITING);
            assert_eq!(job(&world, start).await.state(), ("pending", 0, None));
        }
        // A stop does not wait, and neither does the start of another organization.
        let (_, others_key, other) = tenant_with_agent(&world).await;
        let others_start = provision(&world, &others_key, other).await;
        assert_eq!(run_job(&world, others_start).await, RETRIED);
        let stopped = world.agent(organization, "stopped").await;
        let stop: Uuid = sqlx::query_scalar(
            "INSERT INTO jobs (type, class, organization_id, agent_id, data, scheduled_for)
            VALUES ('milady_suspend', 'stop', $1, $2, jsonb_build_object('agentId', $2::uuid),
                billing_clock() AT TIME ZONE 'UTC') RETURNING id",
        )
        .bind(organization)
        .bind(stopped)
        .fetch_one(&world.pool)
        .await
        .expect("a stop");
        assert_eq!(run_job(&world, stop).await, "completed");
        end_running_starts(&world).await;
        assert_eq!(run_job(&world, start).await, RETRIED);
    });
}

#[test]
fn f49_an_operators_limit_on_running_starts_replaces_the_default() {
    run(async {
        let world = World::new().await;
        let (organization, key, id) = tenant_with_agent(&world).await;
        running_starts(&world, organization, 2).await;
        let start = provision(&world, &key, id).await;
        world.set_limit(organization, "running_starts", 2).await;
        assert_eq!(run_job(&world, start).await, WAITING);
        world.set_limit(organization, "running_starts", 3).await;
        assert_eq!(run_job(&world, start).await, RETRIED);
    });
}

#[test]
fn f49_of_two_workers_that_begin_starts_at_once_one_waits() {
    run(async {
        let world = World::new().await;
        let (organization, key, one) = tenant_with_agent(&world).await;
        world.set_limit(organization, "running_starts", 1).await;
        let other = world.agent(organization, "pending").await;
        let starts = [
            provision(&world, &key, one).await,
            provision(&world, &key, other).await,
        ];
        let workers = [
            world.function("job-run").start().await,
            world.function("job-run").start().await,
        ];
        // The worker that has claimed its job waits for this lock at the credit gate.
        let lock = world.lock_organization(organization).await;
        let first = Box::pin(run_job_on(&workers[0], starts[0]));
        let second = Box::pin(run_job_on(&workers[1], starts[1]));
        let (ended, running) = select(first, second).await.factor_first();
        assert_eq!(ended, WAITING);
        lock.rollback().await.expect("the end");
        assert_eq!(running.await, RETRIED);
    });
}

#[test]
fn f49_starts_that_have_to_wait_are_not_announced() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (organization, key, id) = tenant_with_agent(&world).await;
        running_starts(&world, organization, 10).await;
        let start = provision(&world, &key, id).await;
        let (_, others_key, other) = tenant_with_agent(&world).await;
        let others_start = provision(&world, &others_key, other).await;
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(1));
        assert_eq!(announced_jobs(&bus), [others_start]);
        world.set_limit(organization, "running_starts", 11).await;
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(2));
        end_running_starts(&world).await;
        sweep(&world, &bus).await;
        let announced = announced_jobs(&bus);
        assert_eq!(announced.iter().filter(|job| **job == start).count(), 2);
    });
}
