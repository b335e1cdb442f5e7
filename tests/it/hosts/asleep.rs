//! Workers that were taken for dead, and are not: they come back to a job that is somebody else's by now,
//! or nobody's.

use std::time::Duration;

use chrono::TimeDelta;
use dev::runtime::{Instance, Outcome};
use serde_json::json;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tests::calls::agent_path;
use tests::lab::job_of;
use tests::world::hours;
use tests::{Lab, run};
use uuid::Uuid;

/// Lets the first worker of a job fall asleep when its container is healthy, does something meanwhile, and
/// answers what the worker says when it wakes up.
async fn asleep(lab: &Lab, job: Uuid, meanwhile: impl AsyncFnOnce()) -> String {
    let world = &lab.world;
    world
        .execute(
            "CREATE FUNCTION test_stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
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
    let sleeping = sleeper.invoke(event, Duration::from_mins(2));
    let waking = async {
        world.until_somebody_waits().await;
        signal("-STOP", &sleeper);
        holder.close().await.expect("the database goes on");
        meanwhile().await;
        signal("-CONT", &sleeper);
    };
    let (woken, ()) = tokio::join!(sleeping, waking);
    match woken {
        Outcome::Success(answer) => answer["outcome"].as_str().expect("an outcome").to_owned(),
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
fn f26_an_agent_never_has_two_containers_and_a_successor_is_not_removed_by_name() {
    run(async {
        let Some(lab) = Lab::new(2).await else { return };
        let world = &lab.world;
        let agent = lab.agent(json!({})).await;
        let answer = world.post(&lab.key, &agent_path(agent, "/provision")).await;
        let job = job_of(&answer);
        let woken = asleep(&lab, job, async || {
            lab.later(TimeDelta::minutes(6)).await;
            lab.sweep().await;
            lab.later(TimeDelta::seconds(31)).await;
            assert_eq!(lab.run(job).await, "completed");
            assert_eq!(lab.containers(agent).await, [1, 0]);
        })
        .await;
        assert_eq!(woken, "lost");
        assert_eq!(
            (lab.containers(agent).await, lab.slots().await),
            (vec![1, 0], vec![1, 0])
        );
        lab.ask(agent, "status.get", json!({})).await;

        // Its host is away while it is to be started anew: it is started nowhere else.
        world.set(agent, "status = 'error'").await;
        lab.hosts[0].sshd.stop().expect("the host is away");
        let (again, ran) = lab.try_start(agent).await;
        assert_eq!(ran, "again");
        assert_eq!(lab.containers(agent).await, [1, 0]);
        lab.hosts[0].sshd.start_again().await.expect("it is back");
        lab.later(TimeDelta::minutes(1)).await;
        assert_eq!(lab.run(again).await, "completed");
        assert_eq!(lab.containers(agent).await.iter().sum::<usize>(), 1);
        assert_eq!(lab.slots().await.iter().sum::<i32>(), 1);
    });
}

#[test]
fn f13_a_start_that_billing_ends_half_way_leaves_no_container_and_no_provisioning() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let world = &lab.world;
        let agent = lab.running(json!({})).await;
        let spend_all = "UPDATE organizations SET credit_balance = 0";
        world.execute(spend_all).await;
        world.tick(1).await;
        world.hand_over().await;
        // It failed, was paid for and asked for again, and then the credit went another way.
        world.set(agent, "status = 'error'").await;
        world.at(hours(48)).await;
        world.top_up(lab.organization, "10").await;
        let answer = world.post(&lab.key, &agent_path(agent, "/provision")).await;
        let job = job_of(&answer);
        let woken = asleep(&lab, job, async || {
            world.execute(spend_all).await;
            world.tick(49).await;
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
        assert_eq!(woken, "lost");
        lab.assert_nothing_runs(agent, "and it stays so").await;
        assert_eq!(lab.place(agent).await["status"], json!("stopped"));
    });
}
