//! How many starts of an organization run at the same time, and how often one agent is attempted to be started.

use futures_util::future::select;
use serde_json::json;
use tests::calls::agent_path;
use tests::{World, check_limit, run};
use uuid::Uuid;

use super::{
    ANNOUNCED, NO_HOST, NOTHING_TO_DO, RETRIED, announced_jobs, job, job_id, provision, run_job,
    run_job_on, seconds, start_bus, sweep, tenant_with_agent,
};

/// What `job-run` returns for a start that has to wait for another one.
pub(super) const WAITING: &str = "waiting";

/// How long the container of an agent that does not become healthy runs at most, in seconds: `AGENT_HEALTH_SECONDS`
/// unless set.
const UNHEALTHY_SECONDS: i64 = 120;

/// Inserts starts of agents that workers have begun.
pub(super) async fn running_starts(world: &World, organization: Uuid, count: i32) {
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

pub(super) async fn end_running_starts(world: &World) {
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
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(1));
        assert_eq!(announced_jobs(&bus), [others_start, start]);
        // Meanwhile others have begun: the worker that got the event found no room.
        world.set_limit(organization, "running_starts", 10).await;
        assert_eq!(run_job(&world, start).await, WAITING);
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(0));
        end_running_starts(&world).await;
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(1));
        assert_eq!(announced_jobs(&bus)[2..], [start]);
    });
}

#[test]
fn f63_an_agent_that_never_becomes_healthy_runs_unpaid_for_20_minutes_an_hour() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = tenant_with_agent(&world).await;
        let path = agent_path(id, "/provision");
        // Its owner starts it again as soon as a start has failed, and each attempt takes as long as it can. Without a host
        // attempts fail at once, so the clock is moved.
        let (mut now, mut unpaid, mut start) = (0, 0, None);
        while now < 3_600 {
            world.set_clock(seconds(now)).await;
            let Some(job) = start else {
                let response = world.post(&key, &path).await;
                if response.status() == 202 {
                    start = Some(job_id(&response));
                } else {
                    let text =
                        "Starts of an agent are limited to 10 an hour; please try again later";
                    check_limit(&response, 429, text, ("startsPerAgentAndHour", 10, 10));
                    now += 300;
                }
                continue;
            };
            match run_job(&world, job).await.as_str() {
                NOTHING_TO_DO => now += 10,
                outcome => {
                    now += UNHEALTHY_SECONDS;
                    unpaid += UNHEALTHY_SECONDS;
                    if outcome != RETRIED {
                        start = None;
                    }
                }
            }
        }
        assert_eq!(unpaid / 60, 20);
        world.set_clock(seconds(3_600)).await;
        assert_eq!(world.post(&key, &path).await.status(), 202);
    });
}

#[test]
fn f63_a_failed_attempt_is_not_repeated_if_the_agent_had_as_many_as_it_may() {
    run(async {
        let world = World::new().await;
        let (organization, key, id) = tenant_with_agent(&world).await;
        let column = "starts_per_agent_and_hour";
        world.set_limit(organization, column, 2).await;
        let start = provision(&world, &key, id).await;
        assert_eq!(run_job(&world, start).await, RETRIED);
        world.set_clock(seconds(30)).await;
        assert_eq!(run_job(&world, start).await, "failed");
        let state = ("failed", 2, Some(NO_HOST));
        assert_eq!(job(&world, start).await.state(), state);
        let refused = world.post(&key, &agent_path(id, "/resume")).await;
        let text = "Starts of an agent are limited to 2 an hour; please try again later";
        check_limit(&refused, 429, text, ("startsPerAgentAndHour", 2, 2));
        assert_eq!(refused.header("retry-after"), Some("3570"));
        // The next attempt would be made when the first ones do not count any more.
        world.set_limit(organization, column, 3).await;
        world.set_clock(seconds(3_580)).await;
        let start = provision(&world, &key, id).await;
        assert_eq!(run_job(&world, start).await, RETRIED);
    });
}
