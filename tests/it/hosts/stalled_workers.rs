//! Workers that stall, lose their job to another worker, and continue; and a snapshot that stalls.

use chrono::TimeDelta;
use dev::runtime::{Instance, Outcome};
use serde_json::json;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tests::calls::{JOB_TIMEOUT, agent_path};
use tests::lab::job_of;
use tests::object_store::ObjectStore;
use tests::suite::Request;
use tests::world::hours;
use tests::{Lab, run};
use uuid::Uuid;

/// Stops the first worker of a job with SIGSTOP once its container is healthy, runs `meanwhile`, continues the
/// worker, and returns its outcome.
async fn run_while_worker_is_stopped(
    lab: &Lab,
    job: Uuid,
    meanwhile: impl AsyncFnOnce(),
) -> String {
    let world = &lab.world;
    world
        .execute(
            "CREATE FUNCTION test_stop() RETURNS trigger LANGUAGE plpgsql
                SECURITY DEFINER SET search_path = public AS $$ BEGIN
                IF NEW.attempts = 1 AND NEW.status = 'in_progress'
                    AND NEW.steps -> -1 ->> 'name' = 'health'
                    AND NEW.steps -> -1 ->> 'status' = 'done'
                THEN PERFORM pg_advisory_xact_lock(77); END IF;
                RETURN NEW; END $$;
            CREATE TRIGGER test_stop BEFORE UPDATE ON jobs
                FOR EACH ROW EXECUTE FUNCTION test_stop();",
        )
        .await;
    let mut holder = PgConnection::connect(&world.url).await.expect("a session");
    sqlx::query("SELECT pg_advisory_lock(77)")
        .execute(&mut holder)
        .await
        .expect("the lock");
    let sleeper = world.function("job-run").start().await;
    let event = json!({"detail-type": "job.due", "detail": {"jobId": job}});
    let sleeping = sleeper.invoke(event, JOB_TIMEOUT);
    let waking = async {
        world.wait_until_a_session_is_blocked().await;
        signal("-STOP", &sleeper);
        holder.close().await.expect("the database goes on");
        meanwhile().await;
        signal("-CONT", &sleeper);
    };
    let (outcome, ()) = tokio::join!(sleeping, waking);
    match outcome {
        Outcome::Success(response) => response["outcome"].as_str().expect("an outcome").to_owned(),
        other => panic!("{other:?}"),
    }
}

fn signal(name: &str, instance: &Instance) {
    let sent = std::process::Command::new("kill")
        .args([name, &instance.pid().to_string()])
        .status()
        .expect("kill");
    assert!(sent.success(), "{name}");
}

#[test]
fn f26_a_worker_that_lost_its_job_does_not_remove_its_successors_container() {
    run(async {
        let Some(lab) = Lab::new(2).await else { return };
        let world = &lab.world;
        let agent = lab.agent(json!({})).await;
        let response = world
            .post(&lab.api_key, &agent_path(agent, "/provision"))
            .await;
        let job = job_of(&response);
        let outcome = run_while_worker_is_stopped(&lab, job, async || {
            lab.advance_clock(TimeDelta::minutes(6)).await;
            lab.sweep().await;
            lab.advance_clock(TimeDelta::seconds(31)).await;
            assert_eq!(lab.run(job).await, "completed");
            assert_eq!(lab.containers(agent).await, [1, 0]);
        })
        .await;
        assert_eq!(outcome, "lost");
        assert_eq!(
            (lab.containers(agent).await, lab.slots().await),
            (vec![1, 0], vec![1, 0])
        );
        lab.bridge_result(agent, "status.get", json!({})).await;

        // While its host is down, the agent is not started on another one.
        world.set_columns(agent, "status = 'error'").await;
        lab.hosts[0].sshd.stop().expect("the host is away");
        let (again, outcome) = lab.try_start(agent).await;
        assert_eq!(outcome, "again");
        assert_eq!(lab.containers(agent).await, [1, 0]);
        lab.hosts[0].sshd.restart().await.expect("it is back");
        lab.advance_clock(TimeDelta::minutes(1)).await;
        assert_eq!(lab.run(again).await, "completed");
        assert_eq!(lab.containers(agent).await.iter().sum::<usize>(), 1);
        assert_eq!(lab.slots().await.iter().sum::<i32>(), 1);
    });
}

#[test]
fn f13_a_start_that_billing_interrupts_leaves_no_container() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let world = &lab.world;
        let agent = lab.running_agent(json!({})).await;
        let spend_all = "UPDATE organizations SET credit_balance = 0";
        world.execute(spend_all).await;
        world.run_billing(1).await;
        world.mark_events_handed_over().await;
        // A start is requested with new credit, which is then spent elsewhere.
        world.set_columns(agent, "status = 'error'").await;
        world.set_clock(hours(48)).await;
        world.top_up(lab.organization, "10").await;
        let response = world
            .post(&lab.api_key, &agent_path(agent, "/provision"))
            .await;
        let job = job_of(&response);
        let outcome = run_while_worker_is_stopped(&lab, job, async || {
            world.execute(spend_all).await;
            world.run_billing(49).await;
            assert_eq!(world.agent_row(agent).await.billing_status, "suspended");
            let stop = world.jobs_of(agent).await;
            let stop = stop.last().expect("a stop");
            assert_eq!(stop["type"], json!("milady_suspend"));
            let id: Uuid = sqlx::query_scalar(
                "SELECT id FROM jobs WHERE agent_id = $1 AND type = 'milady_suspend'",
            )
            .bind(agent)
            .fetch_one(&world.pool)
            .await
            .expect("a stop");
            assert_eq!(lab.run(id).await, "completed");
            lab.assert_nothing_runs(agent, "stopped").await;
        })
        .await;
        assert_eq!(outcome, "lost");
        lab.assert_nothing_runs(agent, "and it stays so").await;
        assert_eq!(lab.placement(agent).await["status"], json!("stopped"));
    });
}

#[test]
fn a_snapshot_that_stalls_is_older_than_the_backup_of_a_stop_meanwhile() {
    run(async {
        let Some(mut lab) = Lab::new(1).await else {
            return;
        };
        let store = ObjectStore::start().await;
        store.serve(&mut lab.world);
        let world = &lab.world;
        let agent = lab.running_agent(json!({})).await;
        // The snapshot has read the state when it records its object, and waits. The stop does not.
        world
            .execute(
                "CREATE FUNCTION test_stall() RETURNS trigger LANGUAGE plpgsql
                    SECURITY DEFINER SET search_path = public AS $$ BEGIN
                    IF pg_try_advisory_xact_lock(78) THEN PERFORM pg_advisory_xact_lock(77); END IF;
                    RETURN NEW; END $$;
                CREATE TRIGGER test_stall BEFORE INSERT ON cloud.backup_objects
                    FOR EACH ROW EXECUTE FUNCTION test_stall();",
            )
            .await;
        let mut holder = PgConnection::connect(&world.url).await.expect("a session");
        sqlx::query("SELECT pg_advisory_lock(77)")
            .execute(&mut holder)
            .await
            .expect("the lock");
        let sleeper = world.function("agent-snapshot").start().await;
        let request = Request::new("POST", &agent_path(agent, "/snapshot")).key(&lab.api_key);
        let sleeping = world.call_instance(&sleeper, request);
        let waking = async {
            world.wait_until_a_session_is_blocked().await;
            signal("-STOP", &sleeper);
            holder.close().await.expect("the database goes on");
            lab.advance_clock(TimeDelta::minutes(1)).await;
            let (_, outcome) = lab.request_and_run(agent, "/suspend").await;
            assert_eq!(outcome, "completed");
            lab.advance_clock(TimeDelta::minutes(1)).await;
            signal("-CONT", &sleeper);
        };
        let (saved, ()) = tokio::join!(sleeping, waking);
        assert_eq!(saved.status(), 200, "{saved:?}");
        let listed = world
            .get(&lab.api_key, &agent_path(agent, "/backups"))
            .await;
        let backups = listed.json()["data"].take();
        assert_eq!(backups[0]["snapshotType"], json!("pre-shutdown"));
        assert_eq!(backups[1]["snapshotType"], json!("manual"));
    });
}
