//! Lanes: slow starts delay no stop, organizations take turns, and no job begins what it has no time for.

use std::time::{Duration, Instant};

use dev::runtime::{Outcome, Pool, RuntimeApi};
use dev::sim::{Fault, Health, Script};
use serde_json::json;
use tests::calls::{JOB_TIMEOUT, agent_path};
use tests::simulated_world::SimulatedWorld;
use tests::suite::Request;
use tests::{World, run, wait_until};
use uuid::Uuid;

use super::limits::{WAITING, end_running_starts, running_starts};
use super::{
    ANNOUNCED, RETRIED, announced_jobs, due_event, job, provision, publishing_function,
    register_unreachable_host, run_job, seconds, start_bus, sweep, tenant_with_agent,
};

const IMAGE: &str = "milady/agent:cloud-full-ui";
const OUT_OF_TIME: &str = "The function's time is used up; the next attempt goes on";
const PULL_UNFINISHED: &str =
    "The image was not pulled in the time that was left; the next attempt pulls it again";
const ALLOCATED: &str = "SELECT sum(allocated_count)::bigint FROM docker_nodes";

/// Inserts this many due starts of new agents, each due a second after the one before.
async fn insert_due_starts(world: &World, organization: Uuid, count: i32) -> Vec<Uuid> {
    sqlx::query_scalar(
        "WITH new AS (
            INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status, created_at, updated_at)
            SELECT $1, id, 'agent ' || n, 'pending', billing_clock(), billing_clock() + n * interval '1 s'
            FROM users, generate_series(1, $2) n WHERE organization_id = $1 RETURNING id, updated_at),
        due AS (
            INSERT INTO jobs (type, class, organization_id, agent_id, data, scheduled_for)
            SELECT 'milady_provision', 'start', $1, id, jsonb_build_object('agentId', id),
                (updated_at - interval '1 hour') AT TIME ZONE 'UTC'
            FROM new RETURNING id, scheduled_for)
        SELECT id FROM due ORDER BY scheduled_for",
    )
    .bind(organization)
    .bind(count)
    .fetch_all(&world.pool)
    .await
    .expect("jobs")
}

/// Inserts a due stop of an agent whose row says that it is stopped on that host.
async fn insert_due_stop(world: &World, organization: Uuid, node_id: &str) -> Uuid {
    let agent = world.agent(organization, "stopped").await;
    sqlx::query_scalar(
        "WITH placed AS (UPDATE milady_sandboxes SET node_id = $3 WHERE id = $2)
        INSERT INTO jobs (type, class, organization_id, agent_id, data, scheduled_for)
        VALUES ('milady_suspend', 'stop', $1, $2, jsonb_build_object('agentId', $2::uuid),
            billing_clock() AT TIME ZONE 'UTC') RETURNING id",
    )
    .bind(organization)
    .bind(agent)
    .bind(node_id)
    .fetch_one(&world.pool)
    .await
    .expect("a stop")
}

/// Lets workers begin these jobs, without any effect.
async fn begin(world: &World, jobs: &[Uuid]) {
    sqlx::query(
        "UPDATE jobs SET status = 'in_progress', attempts = 1,
            updated_at = billing_clock() AT TIME ZONE 'UTC' WHERE id = ANY($1)",
    )
    .bind(jobs)
    .execute(&world.pool)
    .await
    .expect("jobs");
}

#[test]
fn f74_two_hundred_slow_starts_of_an_organization_do_not_delay_anothers_stop() {
    run(async {
        let slow = Script::new("n1").fault(Fault::SlowPull(Duration::from_mins(2)));
        let fleet = SimulatedWorld::new(vec![slow], 1, Health::Healthy).await;
        let (world, bus) = (&fleet.world, start_bus().await);
        world
            .execute("UPDATE docker_nodes SET capacity = 500")
            .await;
        let (busy, _) = world.tenant("1000").await;
        for limit in ["running_starts", "active_starts"] {
            world.set_limit(busy, limit, 200).await;
        }
        insert_due_starts(world, busy, 200).await;
        // Fewer instances than in a deployment, shared by the lanes in the same proportion.
        let api = RuntimeApi::start().await.expect("the runtime API");
        let worker = world.function("job-run").to_runtime_function();
        bus.deliver_to(Pool::with_max_instances(api, vec![worker], 5));
        assert_eq!(sweep(world, &bus).await[ANNOUNCED], json!(200));
        wait_until("the lane of starts is full", async || {
            let running = "SELECT count(*) FROM jobs WHERE status = 'in_progress'";
            world.count(running).await == 3
        })
        .await;

        let suspends = publishing_function(world, "agent-suspend", &bus);
        let agent = fleet.agents[0][0];
        let request = Request::new("POST", &agent_path(agent, "/suspend")).key(&fleet.operator);
        let started = Instant::now();
        let stopped = world.call_function(&suspends, request).await;
        let took = started.elapsed();
        // 202 would say that the job has not ended.
        assert_eq!(stopped.status(), 200, "{stopped:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        let containers = fleet.sim.hosts()[0].script().containers;
        let name = format!("milady-{agent}");
        assert!(containers.iter().all(|container| container.name != name));
    });
}

#[test]
fn f74_organizations_take_turns() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (busy, _) = world.tenant("100").await;
        world.set_limit(busy, "running_starts", 40).await;
        let starts = insert_due_starts(&world, busy, 20).await;
        let (_, key, agent) = tenant_with_agent(&world).await;
        let others_start = provision(&world, &key, agent).await;
        sweep(&world, &bus).await;
        let mut expected = starts.clone();
        expected.insert(1, others_start);
        assert_eq!(announced_jobs(&bus), expected);
    });
}

#[test]
fn f74_a_stop_waits_while_its_organization_or_its_host_has_as_many_as_may_run() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        register_unreachable_host(&world).await;
        let busy = world.organization("10").await;
        let mut stops = Vec::new();
        for _ in 0..5 {
            stops.push(insert_due_stop(&world, busy, "n2").await);
        }
        begin(&world, &stops[..4]).await;
        assert_eq!(run_job(&world, stops[4]).await, WAITING);
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(0));

        let mut on_host = Vec::new();
        for _ in 0..7 {
            let organization = world.organization("10").await;
            on_host.push(insert_due_stop(&world, organization, "n1").await);
        }
        begin(&world, &on_host[..6]).await;
        assert_eq!(run_job(&world, on_host[6]).await, WAITING);
        assert_eq!(job(&world, on_host[6]).await.state(), ("pending", 0, None));
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(0));
        // Starts on the same host have a lane of their own, and other hosts have room.
        let organization = world.organization("10").await;
        let elsewhere = insert_due_stop(&world, organization, "n2").await;
        assert_eq!(run_job(&world, elsewhere).await, "completed");
        world
            .execute("UPDATE jobs SET status = 'completed' WHERE status = 'in_progress'")
            .await;
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(2));
    });
}

#[test]
fn a_host_that_one_organization_fills_is_announced_for_another_one_too() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let busy = world.organization("10").await;
        for _ in 0..20 {
            insert_due_stop(&world, busy, "n1").await;
        }
        world.set_clock(seconds(1)).await;
        let organization = world.organization("10").await;
        let stop = insert_due_stop(&world, organization, "n1").await;
        // Four of the busy organization, as many as may run.
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(5));
        assert_eq!(announced_jobs(&bus)[1], stop);
    });
}

#[test]
fn a_worker_that_has_ended_its_job_goes_on_with_one_that_was_turned_away() {
    run(async {
        let world = World::new().await;
        let (organization, key, agent) = tenant_with_agent(&world).await;
        running_starts(&world, organization, 10).await;
        let waiting = provision(&world, &key, agent).await;
        assert_eq!(run_job(&world, waiting).await, WAITING);
        let (_, others_key, other) = tenant_with_agent(&world).await;
        let others_start = provision(&world, &others_key, other).await;
        let (_, third_key, third) = tenant_with_agent(&world).await;
        let not_announced = provision(&world, &third_key, third).await;
        let worker = world.instance("job-run").await;
        let run_in_lane = async |id: Uuid| {
            let mut event = due_event(id);
            event["detail"]["lane"] = json!("start");
            match worker.invoke(event, JOB_TIMEOUT).await {
                Outcome::Success(answer) => answer["outcome"].clone(),
                other => panic!("job-run failed: {other:?}"),
            }
        };
        // There is still no room for it.
        assert_eq!(run_in_lane(others_start).await, json!(RETRIED));
        assert_eq!(job(&world, waiting).await.attempts, 0);
        end_running_starts(&world).await;
        world.set_clock(seconds(30)).await;
        assert_eq!(run_in_lane(others_start).await, json!(RETRIED));
        assert_eq!(job(&world, waiting).await.attempts, 1);
        // That one was not turned away: its own event runs it.
        assert_eq!(job(&world, not_announced).await.attempts, 0);
    });
}

#[test]
fn f80_a_start_that_the_function_has_no_time_for_is_due_again_at_once() {
    run(async {
        let mut script = Script::new("n1");
        script.images.insert(IMAGE.to_owned());
        let fleet = SimulatedWorld::new(vec![script], 0, Health::Healthy).await;
        let world = &fleet.world;
        let agent = world.agent(fleet.organization, "pending").await;
        let start = provision(world, &fleet.operator, agent).await;
        let worker = world.instance("job-run").await;
        // Less than the agent may take to become healthy.
        let outcome = worker
            .invoke(due_event(start), Duration::from_secs(100))
            .await;
        assert!(
            matches!(&outcome, Outcome::Success(answer) if answer["outcome"] == json!(RETRIED)),
            "{outcome:?}"
        );
        let row = job(world, start).await;
        assert_eq!(row.state(), ("pending", 1, Some(OUT_OF_TIME)));
        assert_eq!(row.scheduled_for, seconds(0));
        let containers = fleet.sim.hosts()[0].counts().requests.clone();
        assert!(
            !containers.contains_key("POST /containers/create"),
            "{containers:?}"
        );
        assert_eq!(world.count(ALLOCATED).await, 0);
        // The next attempt has the time, and fails for another reason.
        fleet.sim.hosts()[0]
            .update_script(|script| script.fault = Some(Fault::DockerDiskFull))
            .await;
        run_job(world, start).await;
        let row = job(world, start).await;
        assert_eq!(row.attempts, 2);
        assert_ne!(row.error.as_deref(), Some(OUT_OF_TIME));
        assert_eq!(world.count(ALLOCATED).await, 0);
    });
}

#[test]
fn f80_an_image_is_not_pulled_without_the_time_for_it() {
    run(async {
        let fleet = SimulatedWorld::new(vec![Script::new("n1")], 0, Health::Healthy).await;
        let world = &fleet.world;
        let agent = world.agent(fleet.organization, "pending").await;
        let start = provision(world, &fleet.operator, agent).await;
        let worker = world.instance("job-run").await;
        worker
            .invoke(due_event(start), Duration::from_secs(20))
            .await;
        assert_eq!(
            job(world, start).await.state(),
            ("pending", 1, Some(OUT_OF_TIME))
        );
        assert!(fleet.sim.hosts()[0].script().images.is_empty());
        // The third attempt is the last one, also if the time was always used up.
        for _ in 0..2 {
            worker
                .invoke(due_event(start), Duration::from_secs(20))
                .await;
        }
        assert_eq!(
            job(world, start).await.state(),
            ("failed", 3, Some(OUT_OF_TIME))
        );
    });
}

#[test]
fn f69_a_pull_that_takes_longer_than_the_function_spends_no_attempt() {
    run(async {
        let slow = |name| Script::new(name).fault(Fault::SlowPull(Duration::from_mins(1)));
        let scripts = ["n1", "n2", "n3", "n4"].map(slow).to_vec();
        let fleet = SimulatedWorld::new(scripts, 0, Health::Healthy).await;
        let world = &fleet.world;
        let agent = world.agent(fleet.organization, "pending").await;
        let start = provision(world, &fleet.operator, agent).await;
        // The next attempt is the third and last one.
        world.execute("UPDATE jobs SET attempts = 2").await;
        let worker = world.instance("job-run").await;
        worker
            .invoke(due_event(start), Duration::from_secs(27))
            .await;
        let row = job(world, start).await;
        assert_eq!(row.state(), ("pending", 3, Some(PULL_UNFINISHED)));
        assert_eq!(row.scheduled_for, seconds(0));
        assert_eq!(world.count(ALLOCATED).await, 0);
        let pulls = || -> Vec<u64> {
            let hosts = fleet.sim.hosts().iter();
            let pulls = hosts.map(|host| {
                let requests = host.counts().requests;
                requests.get("POST /images/create").copied()
            });
            pulls.map(Option::unwrap_or_default).collect()
        };
        let first = pulls();
        // The next attempt counts as the third one, and is on the same host, which may have a part of the image.
        for host in fleet.sim.hosts() {
            host.update_script(|script| script.fault = Some(Fault::DockerDiskFull))
                .await;
        }
        run_job(world, start).await;
        let twice: Vec<u64> = first.iter().map(|pulls| pulls * 2).collect();
        assert_eq!((first.iter().sum::<u64>(), pulls()), (1, twice));
        let row = job(world, start).await;
        assert_eq!((row.status.as_str(), row.attempts), ("failed", 4));
        assert_ne!(row.error.as_deref(), Some(PULL_UNFINISHED));
    });
}

#[test]
fn f16_a_restore_whose_image_is_not_pulled_in_time_leaves_the_state_where_it_is() {
    run(async {
        let slow = Script::new("b").fault(Fault::SlowPull(Duration::from_mins(1)));
        let scripts = vec![Script::new("a"), slow];
        let fleet = SimulatedWorld::new(scripts, 1, Health::Healthy).await;
        let world = &fleet.world;
        let agent = fleet.agents[0][0];
        // The container of the other agent is on host b.
        fleet.sim.hosts()[1]
            .update_script(|script| script.images.clear())
            .await;
        let columns =
            "status = 'stopped', container_name = NULL, bridge_port = NULL, web_ui_port = NULL,
            state_node_id = 'a', unsaved_since = billing_clock(), database_status = 'ready',
            database_uri = 'postgres://database.invalid/agent'";
        world.set_columns(agent, columns).await;
        let backup = world.backup(agent, "auto").await;
        world
            .execute("UPDATE docker_nodes SET enabled = node_id = 'b'")
            .await;
        // As many attempts as may do not count already, so the next one is the last.
        let restore: Uuid = sqlx::query_scalar(
            "INSERT INTO jobs (type, class, organization_id, agent_id, data, scheduled_for, attempts, unspent_attempts)
            VALUES ('milady_restore', 'start', $1, $2, jsonb_build_object('agentId', $2::uuid, 'backupId', $3::uuid),
                billing_clock() AT TIME ZONE 'UTC', 4, 2) RETURNING id",
        )
        .bind(fleet.organization)
        .bind(agent)
        .bind(backup)
        .fetch_one(&world.pool)
        .await
        .expect("a restore");
        let worker = world.instance("job-run").await;
        worker
            .invoke(due_event(restore), Duration::from_secs(27))
            .await;
        assert_eq!(
            job(world, restore).await.state(),
            ("failed", 5, Some(PULL_UNFINISHED))
        );
        let as_before =
            "SELECT count(*) FROM milady_sandboxes WHERE status = 'error' AND node_id = 'a'
            AND state_node_id = 'a' AND unsaved_since IS NOT NULL AND container_name IS NULL";
        assert_eq!(world.count(as_before).await, 1);
        assert_eq!(world.count(ALLOCATED).await, 2);
    });
}
