//! Start jobs: what they end with, when they are tried again, and what becomes of the agent.

use chrono::{SecondsFormat, TimeDelta};
use dev::runtime::Outcome;
use rust_decimal::dec;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::{World, run};
use uuid::Uuid;

use super::{
    Bus, HOSTS, NO_HOST, STALE, UNREACHABLE, agent, bus, fresh, in_error, job, job_id, kill_worker,
    place, provision, register_host, run_job, run_on, seconds, set_balance, sweep,
};

#[test]
fn without_a_host_a_start_says_so_and_is_tried_three_times() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = fresh(&world).await;
        let start = provision(&world, &key, id).await;
        for (at, attempt, again) in [(0, 1, 30), (30, 2, 150)] {
            world.at(seconds(at)).await;
            assert_eq!(run_job(&world, start).await, "again");
            let row = job(&world, start).await;
            assert_eq!(row.state(), ("pending", attempt, Some(NO_HOST)));
            assert_eq!(
                (row.scheduled_for, row.completed_at),
                (seconds(again), None)
            );
            assert_eq!(agent(&world, id).await, ("provisioning".to_owned(), None));
            world.at(seconds(again - 1)).await;
            assert_eq!(run_job(&world, start).await, "nothing");
        }
        world.at(seconds(150)).await;
        assert_eq!(run_job(&world, start).await, "failed");
        let row = job(&world, start).await;
        assert_eq!(row.state(), ("failed", 3, Some(NO_HOST)));
        assert_eq!((row.completed_at, row.result), (Some(seconds(150)), None));
        assert_eq!(agent(&world, id).await, in_error(NO_HOST));
        let errors = "SELECT error_count::bigint FROM milady_sandboxes";
        assert_eq!(world.count(errors).await, 1);
        assert_eq!(run_job(&world, start).await, "nothing");
    });
}

#[test]
fn a_host_that_is_registered_gives_another_sentence_and_a_disabled_one_does_not_count() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = fresh(&world).await;
        register_host(&world).await;
        let start = provision(&world, &key, id).await;
        assert_eq!(run_job(&world, start).await, "again");
        assert_eq!(
            job(&world, start).await.state(),
            ("pending", 1, Some(UNREACHABLE))
        );
        world
            .execute("UPDATE docker_nodes SET enabled = false")
            .await;
        world.at(seconds(30)).await;
        assert_eq!(run_job(&world, start).await, "again");
        assert_eq!(
            job(&world, start).await.state(),
            ("pending", 2, Some(NO_HOST))
        );
    });
}

#[test]
fn what_is_not_due_not_there_or_done_is_nothing_and_what_is_no_event_is_an_error() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = fresh(&world).await;
        let start = provision(&world, &key, id).await;
        world.at(seconds(-1)).await;
        let before = job(&world, start).await;
        assert_eq!(run_job(&world, start).await, "nothing");
        assert_eq!(run_job(&world, Uuid::new_v4()).await, "nothing");
        for status in ["in_progress", "completed", "failed"] {
            sqlx::query("UPDATE jobs SET status = $1")
                .bind(status)
                .execute(&world.pool)
                .await
                .expect("a status");
            world.at(seconds(60)).await;
            assert_eq!(run_job(&world, start).await, "nothing", "{status}");
        }
        world.execute("UPDATE jobs SET status = 'pending'").await;
        assert_eq!(job(&world, start).await, before);
        assert_eq!(agent(&world, id).await, ("pending".to_owned(), None));
        for event in [
            json!({}),
            json!({"detail": {}}),
            json!({"detail": {"jobId": "17"}}),
            json!({"detail": {"jobId": 17}}),
            json!("jobId"),
        ] {
            let worker = world.instance("job-run").await;
            let outcome = worker
                .invoke(event.clone(), std::time::Duration::from_mins(1))
                .await;
            let Outcome::FunctionError { message, .. } = outcome else {
                panic!("{event}: {outcome:?}")
            };
            assert_eq!(message, "the event names no job in detail.jobId");
        }
    });
}

#[test]
fn a_start_of_an_agent_that_runs_by_now_is_complete_at_once() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = fresh(&world).await;
        let start = provision(&world, &key, id).await;
        // Some other system was faster.
        world.set_status(id, "running").await;
        world.at(seconds(7)).await;
        assert_eq!(run_job(&world, start).await, "completed");
        let row = job(&world, start).await;
        assert_eq!(row.state(), ("completed", 1, None));
        assert_eq!(row.completed_at, Some(seconds(7)));
        let address = format!("https://{id}.agents.example");
        let result = json!({
            "cloudAgentId": id, "status": "running", "bridgeUrl": address, "healthUrl": address,
        });
        assert_eq!(row.result, Some(result));
        assert_eq!(agent(&world, id).await, ("running".to_owned(), None));
    });
}

#[test]
fn without_a_service_for_databases_a_start_says_so_and_takes_no_slot() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = fresh(&world).await;
        register_host(&world).await;
        let start = provision(&world, &key, id).await;
        let worker = world
            .function("job-run")
            .without("AGENT_DATABASE_ADMIN_URL")
            .start()
            .await;
        assert_eq!(run_on(&worker, start).await, "again");
        let row = job(&world, start).await;
        let said = "No database service is configured";
        assert_eq!(row.state(), ("pending", 1, Some(said)));
        let steps = row.steps.expect("steps");
        assert_eq!(
            (&steps[1]["name"], &steps[1]["status"], steps.get(2)),
            (&json!("database"), &json!("failed"), None)
        );
        let untouched = "SELECT count(*) FROM docker_nodes WHERE allocated_count = 0";
        assert_eq!(world.count(untouched).await, 1);
        let named = "SELECT count(*) FROM milady_sandboxes WHERE node_id IS NOT NULL";
        assert_eq!(world.count(named).await, 0);
        // Once there is one, it goes on.
        world.at(seconds(30)).await;
        assert_eq!(run_job(&world, start).await, "again");
        let row = job(&world, start).await;
        assert_eq!(row.state(), ("pending", 2, Some(UNREACHABLE)));
    });
}

#[test]
fn the_steps_say_what_was_done_and_when() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = fresh(&world).await;
        let start = provision(&world, &key, id).await;
        assert_eq!(job(&world, start).await.steps, None);
        // What was made stays: its database is there at the second try.
        for (at, done) in [(0, &["credit", "database"][..]), (30, &["credit"])] {
            world.at(seconds(at)).await;
            run_job(&world, start).await;
            let when = seconds(at).to_rfc3339_opts(SecondsFormat::Millis, true);
            let step =
                |name: &str, status: &str| json!({"name": name, "status": status, "at": when});
            let mut steps: Vec<Value> = done.iter().map(|name| step(name, "done")).collect();
            steps.push(step("place", "failed"));
            assert_eq!(job(&world, start).await.steps, Some(json!(steps)));
        }
    });
}

/// A sentence of the gate, for a balance of 4.99.
const REFUSED: &str = "Insufficient credits: $5 required, $4.99 available";

#[test]
fn credit_that_went_after_the_request_stops_provision_and_restore() {
    run(async {
        let world = World::new().await;
        let (organization, key, id) = fresh(&world).await;
        let start = provision(&world, &key, id).await;
        set_balance(&world, organization, "4.99").await;
        assert_eq!(run_job(&world, start).await, "failed");
        assert_eq!(
            job(&world, start).await.state(),
            ("failed", 1, Some(REFUSED))
        );
        assert_eq!(agent(&world, id).await.0, "pending");

        let (organization, key) = world.tenant("10").await;
        let id = world.agent(organization, "stopped").await;
        world.backup(id, "auto").await;
        let answer = world.post(&key, &agent_path(id, "/restore")).await;
        let restore = job_id(&answer);
        set_balance(&world, organization, "4.99").await;
        assert_eq!(run_job(&world, restore).await, "failed");
        assert_eq!(
            job(&world, restore).await.state(),
            ("failed", 1, Some(REFUSED))
        );
        assert_eq!(agent(&world, id).await.0, "stopped");
        // Nobody tries it again.
        world.at(seconds(3_600)).await;
        let told = sweep(&world, &bus().await).await["told"].clone();
        assert_eq!(told, json!(0));
    });
}

#[test]
fn the_gate_is_asked_at_every_try_and_counts_the_other_agents() {
    run(async {
        let world = World::new().await;
        let (organization, key, id) = fresh(&world).await;
        let start = provision(&world, &key, id).await;
        assert_eq!(run_job(&world, start).await, "again");
        set_balance(&world, organization, "4.99").await;
        world.at(seconds(30)).await;
        assert_eq!(run_job(&world, start).await, "failed");
        // This one had begun: it does not stay as if it were being started.
        assert_eq!(agent(&world, id).await, in_error(REFUSED));

        // Ten agents at 0.02 cost 4.80 a day, eleven 5.28.
        set_balance(&world, organization, "5.27").await;
        let start = provision(&world, &key, id).await;
        for _ in 0..10 {
            world.agent(organization, "running").await;
        }
        assert_eq!(run_job(&world, start).await, "failed");
        let said = "Insufficient credits: $5.28 required, $5.27 available";
        assert_eq!(job(&world, start).await.error.as_deref(), Some(said));
    });
}

#[test]
fn an_exempt_agent_is_started_without_a_balance() {
    run(async {
        let world = World::new().await;
        let (organization, key, id) = fresh(&world).await;
        world.set(id, "billing_status = 'exempt'").await;
        let start = provision(&world, &key, id).await;
        set_balance(&world, organization, "0").await;
        assert_eq!(run_job(&world, start).await, "again");
        assert_eq!(job(&world, start).await.error.as_deref(), Some(NO_HOST));
    });
}

#[test]
fn a_restore_that_fails_leaves_a_running_agent_running() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let id = world.agent(organization, "running").await;
        register_host(&world).await;
        place(&world, id).await;
        world.set(id, "bridge_port = 20000").await;
        world.backup(id, "manual").await;
        let restore = job_id(&world.post(&key, &agent_path(id, "/restore")).await);
        for at in [0, 30, 150] {
            world.at(seconds(at)).await;
            run_job(&world, restore).await;
            assert_eq!(agent(&world, id).await, ("running".to_owned(), None));
        }
        assert_eq!(
            job(&world, restore).await.state(),
            ("failed", 3, Some(UNREACHABLE))
        );
        assert_eq!(world.tick(1).await.tally.revenue.to_decimal(), dec!(0.02));
    });
}

/// The ways in which a start can fail.
#[derive(Clone, Copy, Debug)]
enum Failure {
    NoHost,
    Unreachable,
    WorkerKilledEachTime,
    CreditGoneBetweenTries,
    JobLost,
}

impl Failure {
    /// Makes it happen, from the request on; what is said of it.
    async fn happen(self, (world, bus): (&World, &Bus), key: &str, id: Uuid) -> &'static str {
        let now = dev::clock::now(&world.pool).await.expect("a time");
        let tries = [0, 30, 150].map(|after| now + TimeDelta::seconds(after));
        let start = provision(world, key, id).await;
        match self {
            Self::NoHost | Self::Unreachable => {
                for at in tries {
                    world.at(at).await;
                    run_job(world, start).await;
                }
                if matches!(self, Self::NoHost) {
                    NO_HOST
                } else {
                    UNREACHABLE
                }
            }
            Self::WorkerKilledEachTime => {
                for attempt in 1..=3 {
                    kill_worker(world, start, HOSTS).await;
                    assert_eq!(agent(world, id).await.0, "provisioning");
                    later(world, 301).await;
                    assert_eq!(sweep(world, bus).await["recovered"], json!(1));
                    assert_eq!(job(world, start).await.attempts, attempt);
                    later(world, 120).await;
                }
                STALE
            }
            Self::CreditGoneBetweenTries => {
                run_job(world, start).await;
                world
                    .execute("UPDATE organizations SET credit_balance = 4.99")
                    .await;
                world.at(tries[1]).await;
                run_job(world, start).await;
                world
                    .execute("UPDATE organizations SET credit_balance = 10")
                    .await;
                REFUSED
            }
            Self::JobLost => {
                run_job(world, start).await;
                world.execute("DELETE FROM jobs").await;
                later(world, 301).await;
                assert_eq!(sweep(world, bus).await["orphaned"], json!(1));
                STALE
            }
        }
    }
}

async fn later(world: &World, after: i64) {
    let now = dev::clock::now(&world.pool).await.expect("a time");
    world.at(now + TimeDelta::seconds(after)).await;
}

#[test]
fn f13_however_a_start_fails_the_agent_is_not_left_in_provisioning_and_everything_works_afterwards()
{
    for failure in [
        Failure::NoHost,
        Failure::Unreachable,
        Failure::WorkerKilledEachTime,
        Failure::CreditGoneBetweenTries,
        Failure::JobLost,
    ] {
        run(async {
            let (world, bus) = (World::new().await, bus().await);
            let (_, key, id) = fresh(&world).await;
            if matches!(failure, Failure::Unreachable) {
                register_host(&world).await;
            }
            let said = failure.happen((&world, &bus), &key, id).await;
            assert_eq!(agent(&world, id).await, in_error(said), "{failure:?}");
            // It can be started again, and fails again in the same way.
            failure.happen((&world, &bus), &key, id).await;
            assert_eq!(agent(&world, id).await, in_error(said), "{failure:?}");
            let answer = world.post(&key, &agent_path(id, "/suspend")).await;
            assert_eq!(answer.status(), 200, "{failure:?}: {answer:?}");
            assert_eq!(answer.json()["data"]["previousStatus"], json!("error"));
            assert_eq!(agent(&world, id).await, ("stopped".to_owned(), None));
            failure.happen((&world, &bus), &key, id).await;
            // It has a database by now, and that is removed before its row.
            let gone = delete(&world, &key, id).await;
            assert_eq!(run_job(&world, gone).await, "completed", "{failure:?}");
            assert!(!world.exists(id).await);
        });
    }
}

async fn delete(world: &World, key: &str, id: Uuid) -> Uuid {
    let request = tests::suite::Request::new("DELETE", &agent_path(id, ""));
    job_id(&world.call(request.key(key)).await)
}

#[test]
fn f13_between_two_tries_the_request_is_told_of_the_job_that_is_under_way() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = fresh(&world).await;
        let start = provision(&world, &key, id).await;
        assert_eq!(run_job(&world, start).await, "again");
        let answer = world.post(&key, &agent_path(id, "/provision")).await;
        assert_eq!(answer.status(), 409);
        assert_eq!(answer.json()["data"]["jobId"], json!(start));
        assert_eq!(answer.json()["data"]["status"], json!("pending"));
        let answer = world.post(&key, &agent_path(id, "/suspend")).await;
        assert_eq!(answer.status(), 409);
        // The job ends by itself, and then nothing is in the way.
        for at in [30, 150] {
            world.at(seconds(at)).await;
            run_job(&world, start).await;
        }
        let answer = world.post(&key, &agent_path(id, "/suspend")).await;
        assert_eq!(answer.status(), 200);
    });
}
