//! Concurrent workers, workers that die, and workers that lose their job.

use std::collections::HashSet;

use chrono::TimeDelta;
use serde_json::json;
use shared::db::jobs::queue::{SupersedeIf, job_supersede, starts_supersede_of_any_organization};
use shared::db::jobs::worker::job_claim_of_any_organization;
use shared::domain::ids::{AgentId, JobId, OrganizationId};
use tests::calls::agent_path;
use tests::world::hours;
use tests::{World, check_problem, run};
use uuid::Uuid;

use super::{
    ANNOUNCED, LOCK_AGENTS, LOCK_HOSTS, LOCK_ORGANIZATIONS, NO_HOST, NOTHING_TO_DO, RETRIED, STALE,
    agent_status, announced_jobs, in_error, job, job_id, kill_worker_at, provision,
    record_container, register_unreachable_host, run_blocked_job, run_job, run_job_on, seconds,
    set_balance, start_bus, sweep, tenant_with_agent,
};

const ROUNDS: i64 = 25;

#[test]
fn one_of_two_concurrent_workers_gets_the_job() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("100").await;
        let worker = world.function("job-run");
        let (one, two) = (worker.start().await, worker.start().await);
        for round in 0..ROUNDS {
            let id = world.agent(organization, "pending").await;
            let start = provision(&world, &key, id).await;
            let (first, second) = tokio::join!(run_job_on(&one, start), run_job_on(&two, start));
            let mut both = [first, second];
            both.sort();
            assert_eq!(both, [RETRIED, NOTHING_TO_DO], "round {round}");
            assert_eq!(job(&world, start).await.attempts, 1);
        }
    });
}

#[test]
fn a_repeated_event_runs_the_job_once() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = tenant_with_agent(&world).await;
        let start = provision(&world, &key, id).await;
        assert_eq!(run_job(&world, start).await, RETRIED);
        let before = job(&world, start).await;
        assert_eq!(run_job(&world, start).await, NOTHING_TO_DO);
        assert_eq!(job(&world, start).await, before);
        // Also while the first event's worker runs.
        world.set_clock(seconds(30)).await;
        let second_event = async { assert_eq!(run_job(&world, start).await, NOTHING_TO_DO) };
        assert_eq!(
            run_blocked_job(&world, start, LOCK_AGENTS, second_event).await,
            RETRIED
        );
        assert_eq!(job(&world, start).await.attempts, 2);
    });
}

#[test]
fn a_dead_workers_job_is_recovered_after_five_minutes_and_not_before() {
    for (lock, status) in [(LOCK_AGENTS, "pending"), (LOCK_HOSTS, "provisioning")] {
        run(async {
            let (world, bus) = (World::new().await, start_bus().await);
            let (_, key, id) = tenant_with_agent(&world).await;
            let start = provision(&world, &key, id).await;
            kill_worker_at(&world, start, lock).await;
            assert_eq!(job(&world, start).await.state(), ("in_progress", 1, None));
            assert_eq!(agent_status(&world, id).await.0, status);

            world.set_clock(seconds(299)).await;
            assert_eq!(sweep(&world, &bus).await["recovered"], json!(0));
            assert_eq!(run_job(&world, start).await, NOTHING_TO_DO);
            assert!(announced_jobs(&bus).is_empty());

            world.set_clock(seconds(301)).await;
            assert_eq!(sweep(&world, &bus).await["recovered"], json!(1));
            let row = job(&world, start).await;
            assert_eq!(row.state(), ("pending", 1, Some(STALE)));
            assert_eq!(row.scheduled_for, seconds(331));
            assert_eq!(sweep(&world, &bus).await["recovered"], json!(0));
            assert!(announced_jobs(&bus).is_empty());

            world.set_clock(seconds(331)).await;
            assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(1));
            assert_eq!(announced_jobs(&bus), [start]);
            assert_eq!(run_job(&world, start).await, RETRIED);
            let row = job(&world, start).await;
            assert_eq!(row.state(), ("pending", 2, Some(NO_HOST)));
        });
    }
}

#[test]
fn a_worker_that_counted_as_dead_changes_nothing_when_it_wakes_up() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (_, key, id) = tenant_with_agent(&world).await;
        let start = provision(&world, &key, id).await;
        let recovery = async {
            world.set_clock(seconds(301)).await;
            assert_eq!(sweep(&world, &bus).await["recovered"], json!(1));
        };
        assert_eq!(
            run_blocked_job(&world, start, LOCK_HOSTS, recovery).await,
            "lost"
        );
        let row = job(&world, start).await;
        assert_eq!(row.state(), ("pending", 1, Some(STALE)));
        assert_eq!(row.scheduled_for, seconds(331));
        assert_eq!(agent_status(&world, id).await.0, "provisioning");
    });
}

#[test]
fn a_worker_changes_nothing_once_another_one_has_its_job() {
    for (lock, status) in [(LOCK_AGENTS, "pending"), (LOCK_HOSTS, "provisioning")] {
        run(async {
            let (world, bus) = (World::new().await, start_bus().await);
            let (_, key, id) = tenant_with_agent(&world).await;
            let start = provision(&world, &key, id).await;
            let other_worker = async {
                world
                    .execute("UPDATE jobs SET updated_at = updated_at - interval '301 s'")
                    .await;
                if lock == LOCK_HOSTS {
                    assert_eq!(sweep(&world, &bus).await["recovered"], json!(1));
                } else {
                    // The sweep would wait for the agent's row like the worker.
                    world.execute("UPDATE jobs SET status = 'pending'").await;
                }
                let mut conn = world.database.statements();
                let claimed =
                    job_claim_of_any_organization(&mut conn, JobId::new(start), seconds(30)).await;
                assert_eq!(claimed.expect("a claim").expect("a job").attempt, 2);
            };
            assert_eq!(
                run_blocked_job(&world, start, lock, other_worker).await,
                "lost"
            );
            let row = job(&world, start).await;
            assert_eq!((row.status.as_str(), row.attempts), ("in_progress", 2));
            assert_eq!(agent_status(&world, id).await, (status.to_owned(), None));
        });
    }
}

#[test]
fn a_start_superseded_while_its_worker_waits_changes_nothing() {
    for (lock, status) in [
        (LOCK_ORGANIZATIONS, "pending"),
        (LOCK_AGENTS, "pending"),
        (LOCK_HOSTS, "provisioning"),
    ] {
        run(async {
            let (world, bus) = (World::new().await, start_bus().await);
            let (_, key, id) = tenant_with_agent(&world).await;
            let start = provision(&world, &key, id).await;
            let supersede = async {
                let mut conn = world.database.statements();
                starts_supersede_of_any_organization(&mut conn, &[AgentId::new(id)], seconds(5))
                    .await
                    .expect("an update");
            };
            assert_eq!(
                run_blocked_job(&world, start, lock, supersede).await,
                "lost"
            );
            let row = job(&world, start).await;
            assert_eq!(row.state(), ("failed", 2, Some("Superseded by a stop")));
            assert_eq!(row.completed_at, Some(seconds(5)));
            assert_eq!(agent_status(&world, id).await, (status.to_owned(), None));
            // It is not run again, and an agent that was being started is put in error.
            assert_eq!(run_job(&world, start).await, NOTHING_TO_DO);
            world.set_clock(seconds(301)).await;
            let swept = sweep(&world, &bus).await;
            assert_eq!(
                (&swept["recovered"], &swept[ANNOUNCED]),
                (&json!(0), &json!(0))
            );
            let expected = match status {
                "provisioning" => in_error(STALE),
                status => (status.to_owned(), None),
            };
            assert_eq!(agent_status(&world, id).await, expected);
        });
    }
}

#[test]
fn a_stop_ends_a_start_before_a_worker_has_begun_it_and_not_afterwards() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = tenant_with_agent(&world).await;
        let start = provision(&world, &key, id).await;
        let path = agent_path(id, "/suspend");
        let stop = async {
            let refused = world.post(&key, &path).await;
            check_problem(&refused, 409, "Agent provisioning is in progress");
        };
        let outcome = run_blocked_job(&world, start, LOCK_ORGANIZATIONS, stop).await;
        assert_eq!(outcome, RETRIED);
        let (_, key, id) = tenant_with_agent(&world).await;
        let start = provision(&world, &key, id).await;
        let stopped = world.post(&key, &agent_path(id, "/suspend")).await;
        assert_eq!(stopped.status(), 200, "{stopped:?}");
        assert_eq!(run_job(&world, start).await, NOTHING_TO_DO);
        let row = job(&world, start).await;
        assert_eq!(row.state(), ("failed", 1, Some("Superseded by a stop")));
        let stopped = ("stopped".to_owned(), None);
        assert_eq!(agent_status(&world, id).await, stopped);
    });
}

#[test]
fn a_stop_superseded_while_its_worker_waits_changes_nothing() {
    for (lock, status) in [(LOCK_AGENTS, "stopped"), (LOCK_HOSTS, "running")] {
        run(async {
            let world = World::new().await;
            let (organization, key) = world.tenant("10").await;
            let id = world.agent(organization, "running").await;
            register_unreachable_host(&world).await;
            record_container(&world, id).await;
            let stop = job_id(&world.post(&key, &agent_path(id, "/suspend")).await);
            world.set_status(id, status).await;
            let supersede = async {
                let mut conn = world.database.statements();
                let reason = "Superseded by the agent's deletion";
                let superseded = job_supersede(
                    &mut conn,
                    OrganizationId::new(organization),
                    JobId::new(stop),
                    SupersedeIf::Active,
                    reason,
                    seconds(5),
                )
                .await;
                assert!(superseded.expect("an update"));
            };
            assert_eq!(run_blocked_job(&world, stop, lock, supersede).await, "lost");
            let row = job(&world, stop).await;
            assert_eq!(
                row.state(),
                ("failed", 2, Some("Superseded by the agent's deletion"))
            );
            assert_eq!(agent_status(&world, id).await, (status.to_owned(), None));
        });
    }
}

struct DoomedStart {
    organization: Uuid,
    agent: Uuid,
    job: Uuid,
}

/// An agent in its last hour of grace whose owner has just requested a start. `suspend_by_billing` takes the credit
/// away again.
async fn start_before_suspension(world: &World) -> DoomedStart {
    let (organization, key) = world.tenant("0").await;
    let id = world.agent(organization, "running").await;
    world.run_billing(1).await;
    world.mark_events_handed_over().await;
    world.set_clock(hours(49) - TimeDelta::minutes(10)).await;
    world.set_status(id, "error").await;
    set_balance(world, organization, "7").await;
    let start = provision(world, &key, id).await;
    DoomedStart {
        organization,
        agent: id,
        job: start,
    }
}

/// A billing run that suspends the agent.
async fn suspend_by_billing(world: &World, organization: Uuid) {
    set_balance(world, organization, "0").await;
    let report = world.run_billing(49).await;
    assert_eq!(report.tally.suspended, 1);
}

#[test]
fn suspending_an_agent_ends_its_start_and_enqueues_one_stop() {
    run(async {
        let world = World::new().await;
        let DoomedStart {
            organization,
            agent: id,
            job: start,
        } = start_before_suspension(&world).await;
        let suspension = suspend_by_billing(&world, organization);
        assert_eq!(
            run_blocked_job(&world, start, LOCK_HOSTS, suspension).await,
            "lost"
        );
        let superseded = ("failed", 2, Some("Superseded by a stop"));
        assert_eq!(job(&world, start).await.state(), superseded);
        assert_eq!(world.agent_row(id).await.billing_status, "suspended");
        let expected = [
            json!({"type": "milady_provision", "status": "failed", "attempts": 2,
                "error": "Superseded by a stop"}),
            json!({"type": "milady_suspend", "status": "pending", "attempts": 0, "error": null}),
        ];
        assert_eq!(world.jobs_of(id).await, expected);
        // Later billing runs and sweeps enqueue no other stop, and the start stays ended.
        world.run_billing(50).await;
        let (bus, jobs) = (start_bus().await, world.jobs_of(id).await);
        sweep(&world, &bus).await;
        assert_eq!(run_job(&world, start).await, NOTHING_TO_DO);
        assert_eq!(world.jobs_of(id).await, jobs);
        let announced: HashSet<Uuid> = announced_jobs(&bus).into_iter().collect();
        assert!(announced.len() == 1 && !announced.contains(&start));
    });
}

#[test]
fn f13_a_start_that_billing_ended_does_not_leave_the_agent_in_provisioning() {
    run(async {
        let world = World::new().await;
        let DoomedStart {
            organization,
            agent: id,
            job: start,
        } = start_before_suspension(&world).await;
        let suspension = suspend_by_billing(&world, organization);
        assert_eq!(
            run_blocked_job(&world, start, LOCK_HOSTS, suspension).await,
            "lost"
        );
        // No host and no container was ever recorded, so there is nothing to stop.
        let stop: Uuid = sqlx::query_scalar("SELECT id FROM jobs WHERE type = 'milady_suspend'")
            .fetch_one(&world.pool)
            .await
            .expect("a stop job");
        let bus = start_bus().await;
        for minutes in [0, 1, 5, 30] {
            world
                .set_clock(hours(49) + TimeDelta::minutes(minutes))
                .await;
            run_job(&world, stop).await;
            sweep(&world, &bus).await;
        }
        assert_ne!(agent_status(&world, id).await.0, "provisioning");
    });
}
