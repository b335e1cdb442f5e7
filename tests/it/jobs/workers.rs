//! More than one worker, workers that die, and workers that something else overtook.

use std::collections::HashSet;

use chrono::TimeDelta;
use serde_json::json;
use shared::db::jobs::work::job_claim;
use shared::db::jobs::queue::{job_supersede, starts_supersede};
use tests::calls::agent_path;
use tests::world::hours;
use tests::{World, run};
use uuid::Uuid;

use super::{
    AGENTS, HOSTS, NO_HOST, ORGANIZATIONS, STALE, agent, bus, fresh, in_error, job, job_id,
    kill_worker, meanwhile, place, provision, register_host, run_job, run_on, seconds, set_balance,
    sweep, told,
};

const ROUNDS: i64 = 25;

#[test]
fn of_two_workers_at_the_same_moment_one_gets_the_job() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("100").await;
        let worker = world.function("job-run");
        let (one, two) = (worker.start().await, worker.start().await);
        for round in 0..ROUNDS {
            let id = world.agent(organization, "pending").await;
            let start = provision(&world, &key, id).await;
            let (first, second) = tokio::join!(run_on(&one, start), run_on(&two, start));
            let mut both = [first, second];
            both.sort();
            assert_eq!(both, ["again", "nothing"], "round {round}");
            assert_eq!(job(&world, start).await.attempts, 1);
        }
    });
}

#[test]
fn the_same_event_twice_runs_the_job_once() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = fresh(&world).await;
        let start = provision(&world, &key, id).await;
        assert_eq!(run_job(&world, start).await, "again");
        let before = job(&world, start).await;
        assert_eq!(run_job(&world, start).await, "nothing");
        assert_eq!(job(&world, start).await, before);
        // Also while the first one is at work.
        world.at(seconds(30)).await;
        let again = async { assert_eq!(run_job(&world, start).await, "nothing") };
        assert_eq!(meanwhile(&world, start, AGENTS, again).await, "again");
        assert_eq!(job(&world, start).await.attempts, 2);
    });
}

#[test]
fn the_job_of_a_worker_that_died_is_recovered_after_five_minutes_and_not_before() {
    for (lock, began) in [(AGENTS, "pending"), (HOSTS, "provisioning")] {
        run(async {
            let (world, bus) = (World::new().await, bus().await);
            let (_, key, id) = fresh(&world).await;
            let start = provision(&world, &key, id).await;
            kill_worker(&world, start, lock).await;
            assert_eq!(job(&world, start).await.state(), ("in_progress", 1, None));
            assert_eq!(agent(&world, id).await.0, began);

            world.at(seconds(299)).await;
            assert_eq!(sweep(&world, &bus).await["recovered"], json!(0));
            assert_eq!(run_job(&world, start).await, "nothing");
            assert!(told(&bus).is_empty());

            world.at(seconds(301)).await;
            assert_eq!(sweep(&world, &bus).await["recovered"], json!(1));
            let row = job(&world, start).await;
            assert_eq!(row.state(), ("pending", 1, Some(STALE)));
            assert_eq!(row.scheduled_for, seconds(331));
            assert_eq!(sweep(&world, &bus).await["recovered"], json!(0));
            assert!(told(&bus).is_empty());

            world.at(seconds(331)).await;
            assert_eq!(sweep(&world, &bus).await["told"], json!(1));
            assert_eq!(told(&bus), [start]);
            assert_eq!(run_job(&world, start).await, "again");
            let row = job(&world, start).await;
            assert_eq!(row.state(), ("pending", 2, Some(NO_HOST)));
        });
    }
}

#[test]
fn a_worker_that_was_taken_for_dead_changes_nothing_when_it_wakes_up() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        let (_, key, id) = fresh(&world).await;
        let start = provision(&world, &key, id).await;
        let second_try = async {
            world.at(seconds(301)).await;
            assert_eq!(sweep(&world, &bus).await["recovered"], json!(1));
        };
        assert_eq!(meanwhile(&world, start, HOSTS, second_try).await, "lost");
        let row = job(&world, start).await;
        assert_eq!(row.state(), ("pending", 1, Some(STALE)));
        assert_eq!(row.scheduled_for, seconds(331));
        assert_eq!(agent(&world, id).await.0, "provisioning");
    });
}

#[test]
fn a_worker_whose_job_another_one_has_by_now_changes_nothing() {
    for (lock, began) in [(AGENTS, "pending"), (HOSTS, "provisioning")] {
        run(async {
            let (world, bus) = (World::new().await, bus().await);
            let (_, key, id) = fresh(&world).await;
            let start = provision(&world, &key, id).await;
            let another_one = async {
                world
                    .execute("UPDATE jobs SET updated_at = updated_at - interval '301 s'")
                    .await;
                if lock == HOSTS {
                    assert_eq!(sweep(&world, &bus).await["recovered"], json!(1));
                } else {
                    // The sweep would wait for the agent's row as the worker does.
                    world.execute("UPDATE jobs SET status = 'pending'").await;
                }
                let mut conn = world.pool.acquire().await.expect("a connection");
                let claimed = job_claim(&mut conn, start, seconds(30)).await;
                assert_eq!(claimed.expect("a claim").expect("a job").attempt, 2);
            };
            assert_eq!(meanwhile(&world, start, lock, another_one).await, "lost");
            let row = job(&world, start).await;
            assert_eq!((row.status.as_str(), row.attempts), ("in_progress", 2));
            assert_eq!(agent(&world, id).await, (began.to_owned(), None));
        });
    }
}

#[test]
fn a_start_that_was_superseded_while_its_worker_waited_changes_nothing() {
    for (lock, began) in [
        (ORGANIZATIONS, "pending"),
        (AGENTS, "pending"),
        (HOSTS, "provisioning"),
    ] {
        run(async {
            let (world, bus) = (World::new().await, bus().await);
            let (_, key, id) = fresh(&world).await;
            let start = provision(&world, &key, id).await;
            let superseded = async {
                let mut conn = world.pool.acquire().await.expect("a connection");
                starts_supersede(&mut conn, &[id], seconds(5))
                    .await
                    .expect("an update");
            };
            assert_eq!(meanwhile(&world, start, lock, superseded).await, "lost");
            let row = job(&world, start).await;
            assert_eq!(row.state(), ("failed", 2, Some("Superseded by a stop")));
            assert_eq!(row.completed_at, Some(seconds(5)));
            assert_eq!(agent(&world, id).await, (began.to_owned(), None));
            // Nothing runs it again, and an agent that had begun to start is not left as it is.
            assert_eq!(run_job(&world, start).await, "nothing");
            world.at(seconds(301)).await;
            let swept = sweep(&world, &bus).await;
            assert_eq!(
                (&swept["recovered"], &swept["told"]),
                (&json!(0), &json!(0))
            );
            let expected = match began {
                "provisioning" => in_error(STALE),
                status => (status.to_owned(), None),
            };
            assert_eq!(agent(&world, id).await, expected);
        });
    }
}

#[test]
fn a_stop_that_was_superseded_while_its_worker_waited_changes_nothing() {
    for (lock, status) in [(AGENTS, "stopped"), (HOSTS, "running")] {
        run(async {
            let world = World::new().await;
            let (organization, key) = world.tenant("10").await;
            let id = world.agent(organization, "running").await;
            register_host(&world).await;
            place(&world, id).await;
            let stop = job_id(&world.post(&key, &agent_path(id, "/suspend")).await);
            world.set_status(id, status).await;
            let superseded = async {
                let mut conn = world.pool.acquire().await.expect("a connection");
                let reason = "Superseded by the agent's deletion";
                let done = job_supersede(&mut conn, stop, false, reason, seconds(5)).await;
                assert!(done.expect("an update"));
            };
            assert_eq!(meanwhile(&world, stop, lock, superseded).await, "lost");
            let row = job(&world, stop).await;
            assert_eq!(
                row.state(),
                ("failed", 2, Some("Superseded by the agent's deletion"))
            );
            assert_eq!(agent(&world, id).await, (status.to_owned(), None));
        });
    }
}

/// An agent whose last hour of grace has begun, and which its owner starts with money that is spent
/// elsewhere by the time of the tick.
async fn about_to_be_suspended(world: &World) -> (Uuid, Uuid, Uuid) {
    let (organization, key) = world.tenant("0").await;
    let id = world.agent(organization, "running").await;
    world.tick(1).await;
    world.hand_over().await;
    world.at(hours(49) - TimeDelta::minutes(10)).await;
    world.set_status(id, "error").await;
    set_balance(world, organization, "7").await;
    let start = provision(world, &key, id).await;
    (organization, id, start)
}

async fn suspending_tick(world: &World, organization: Uuid) {
    set_balance(world, organization, "0").await;
    let report = world.tick(49).await;
    assert_eq!(report.tally.suspended, 1);
}

#[test]
fn billing_that_suspends_an_agent_ends_its_start_and_makes_one_stop() {
    run(async {
        let world = World::new().await;
        let (organization, id, start) = about_to_be_suspended(&world).await;
        let tick = suspending_tick(&world, organization);
        assert_eq!(meanwhile(&world, start, HOSTS, tick).await, "lost");
        let superseded = ("failed", 2, Some("Superseded by a stop"));
        assert_eq!(job(&world, start).await.state(), superseded);
        assert_eq!(world.agent_row(id).await.billing_status, "suspended");
        let expected = [
            json!({"type": "milady_provision", "status": "failed", "attempts": 2,
                "error": "Superseded by a stop"}),
            json!({"type": "milady_suspend", "status": "pending", "attempts": 0, "error": null}),
        ];
        assert_eq!(world.jobs_of(id).await, expected);
        // Neither later ticks nor sweeps make another one, and the start stays ended.
        world.tick(50).await;
        let (bus, ids) = (bus().await, world.jobs_of(id).await);
        sweep(&world, &bus).await;
        assert_eq!(run_job(&world, start).await, "nothing");
        assert_eq!(world.jobs_of(id).await, ids);
        let told: HashSet<Uuid> = told(&bus).into_iter().collect();
        assert!(told.len() == 1 && !told.contains(&start));
    });
}

#[test]
fn f13_a_start_that_billing_ended_does_not_leave_the_agent_in_provisioning() {
    run(async {
        let world = World::new().await;
        let (organization, id, start) = about_to_be_suspended(&world).await;
        let tick = suspending_tick(&world, organization);
        assert_eq!(meanwhile(&world, start, HOSTS, tick).await, "lost");
        // There is no host and no container was ever recorded: nothing is there to be stopped.
        let stop: Uuid = sqlx::query_scalar("SELECT id FROM jobs WHERE type = 'milady_suspend'")
            .fetch_one(&world.pool)
            .await
            .expect("a stop job");
        let bus = bus().await;
        for minutes in [0, 1, 5, 30] {
            world.at(hours(49) + TimeDelta::minutes(minutes)).await;
            run_job(&world, stop).await;
            sweep(&world, &bus).await;
        }
        assert_ne!(agent(&world, id).await.0, "provisioning");
    });
}
