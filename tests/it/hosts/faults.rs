//! A failure before and after every step of a start, a suspension and a deletion: the database refuses to
//! write the step, the worker is killed there, the host goes away there. Afterwards nothing is left over,
//! and the next try succeeds. The database itself is what stops a worker, so that the binary under test
//! is the one that ships.

use std::time::Duration;

use chrono::TimeDelta;
use dev::runtime::Outcome;
use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use tests::calls::agent_path;
use tests::lab::job_of;
use tests::suite::Request;
use tests::{Lab, run};
use uuid::Uuid;

/// The writing of a step; without a name, of the job's end.
type Point = (&'static str, &'static str);

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// The database refuses.
    Refused,
    /// The worker is killed; nobody writes the step.
    Killed,
    /// The host goes away; the worker goes on.
    HostGone,
}

const START: [Point; 14] = [
    ("credit", "done"),
    ("place", "running"),
    ("place", "done"),
    ("pull", "running"),
    ("pull", "done"),
    ("create", "running"),
    ("create", "done"),
    ("start", "running"),
    ("start", "done"),
    ("health", "running"),
    ("health", "done"),
    ("restore", "running"),
    ("restore", "done"),
    ("running", "done"),
];
const SUSPEND: [Point; 5] = [
    ("snapshot", "running"),
    ("snapshot", "done"),
    ("stop", "running"),
    ("stop", "done"),
    ("", "completed"),
];
const DELETE: [Point; 7] = [
    ("stop", "running"),
    ("stop", "done"),
    ("volume", "running"),
    ("volume", "done"),
    ("database", "running"),
    ("database", "done"),
    ("", "completed"),
];

/// The lock that a stopped worker waits for.
const LOCK: i64 = 4_242;

async fn prepare(lab: &Lab) {
    lab.world
        .execute(
            "CREATE TABLE test_point (step text, status text, refuse boolean);
            CREATE SEQUENCE test_hits;
            CREATE FUNCTION test_stop() RETURNS trigger LANGUAGE plpgsql AS $$
            DECLARE
                point test_point;
                last jsonb := NEW.steps -> -1;
                here boolean;
            BEGIN
                SELECT * INTO point FROM test_point;
                here := CASE WHEN point.step = '' THEN NEW.status = point.status
                    ELSE NEW.status = 'in_progress' AND last ->> 'name' = point.step
                        AND last ->> 'status' = point.status END;
                IF coalesce(here, false) AND nextval('test_hits') = 1 THEN
                    IF point.refuse THEN
                        RAISE EXCEPTION 'not here';
                    END IF;
                    PERFORM pg_advisory_xact_lock(4242);
                END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER test_stop BEFORE UPDATE ON jobs
                FOR EACH ROW EXECUTE FUNCTION test_stop();",
        )
        .await;
}

/// From now on the first job that comes to this point is stopped there.
async fn arm(lab: &Lab, (step, status): Point, how: How) {
    let sql = format!(
        "DELETE FROM test_point; SELECT setval('test_hits', 1, false);
        INSERT INTO test_point VALUES ('{step}', '{status}', {})",
        how == How::Refused
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&lab.world.pool)
        .await
        .expect("a point");
}

/// Runs a job into the point.
async fn run_into(lab: &Lab, job: Uuid, how: How, point: Point) {
    if how == How::Refused {
        assert_eq!(lab.run(job).await, "again", "{point:?}");
        return;
    }
    let mut holder = PgConnection::connect(&lab.world.url)
        .await
        .expect("a session");
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut holder)
        .await
        .expect("the lock");
    let instance = lab.world.function("job-run").start().await;
    let event = json!({"detail-type": "job.due", "detail": {"jobId": job}});
    let running = instance.invoke(event, Duration::from_mins(1));
    let stopping = async {
        lab.world.until_somebody_waits().await;
        if how == How::Killed {
            instance.kill().await;
            // What it asked the database for last must not happen after its death.
            lab.world
                .execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event = 'advisory'",
                )
                .await;
        } else {
            lab.hosts[0].sshd.stop().expect("the host is gone");
        }
        holder.close().await.expect("the lock is free");
    };
    let (outcome, ()) = tokio::join!(running, stopping);
    match outcome {
        Outcome::Crashed { .. } if how == How::Killed => {}
        Outcome::Success(answer) if how == How::HostGone => {
            assert_eq!(answer["outcome"], json!("again"), "{point:?}");
            lab.hosts[0]
                .sshd
                .start_again()
                .await
                .expect("the host is back");
        }
        other => panic!("{how:?} at {point:?}: {other:?}"),
    }
}

/// Time passes until the job is due again, whoever must notice first that its worker is dead.
async fn wait(lab: &Lab, how: How) {
    if how == How::Killed {
        lab.later(TimeDelta::minutes(6)).await;
        lab.sweep().await;
    }
    lab.later(TimeDelta::seconds(31)).await;
}

async fn asked(lab: &Lab, agent: Uuid, what: &str) -> Uuid {
    job_of(&lab.world.post(&lab.key, &agent_path(agent, what)).await)
}

/// An agent that is started into each point, started, and suspended into a point of its own, over and
/// over: its memories show that no state was lost on the way.
async fn over_and_over(how: How, start: &[Point], stop: &[Point]) {
    let Some(lab) = Lab::new(1).await else { return };
    prepare(&lab).await;
    let agent = lab.running(json!({})).await;
    let mut memories = 0;
    for (turn, point) in start.iter().enumerate() {
        let end = stop[turn % stop.len()];
        lab.ask(agent, "message.send", json!({"text": "one more"}))
            .await;
        memories += 2;

        let job = asked(&lab, agent, "/suspend").await;
        arm(&lab, end, how).await;
        run_into(&lab, job, how, end).await;
        wait(&lab, how).await;
        assert_eq!(lab.run(job).await, "completed", "{how:?} at {end:?}");
        lab.assert_nothing_runs(agent, &format!("suspended after {end:?}"))
            .await;

        let job = asked(&lab, agent, "/provision").await;
        arm(&lab, *point, how).await;
        run_into(&lab, job, how, *point).await;
        if how == How::Refused {
            lab.assert_nothing_runs(agent, &format!("refused at {point:?}"))
                .await;
        }
        wait(&lab, how).await;
        let ran = lab.run(job).await;
        let why = lab.last_job(agent).await;
        assert_eq!(ran, "completed", "{how:?} at {point:?}: {why}");
        assert_eq!(
            (lab.containers(agent).await, lab.slots().await),
            (vec![1], vec![1]),
            "{how:?} at {point:?}"
        );
        let status = lab.ask(agent, "status.get", json!({})).await;
        assert_eq!(status["memories"], json!(memories), "{how:?} at {point:?}");
    }
    assert_eq!(lab.delete(agent).await, "completed");
    lab.assert_gone(agent, "at the end").await;
}

#[test]
fn what_the_database_refuses_to_write_leaves_nothing_and_the_next_try_succeeds() {
    run(over_and_over(How::Refused, &START, &SUSPEND));
}

#[test]
fn f14_a_worker_killed_at_any_step_leaves_nothing_that_the_next_try_does_not_find() {
    run(over_and_over(How::Killed, &START, &SUSPEND));
}

#[test]
fn a_host_that_goes_away_at_any_step_is_tried_again_when_it_is_back() {
    let start = [
        ("place", "done"),
        ("create", "running"),
        ("create", "done"),
        ("start", "done"),
        ("health", "done"),
    ];
    let stop = [("snapshot", "running"), ("stop", "running")];
    run(over_and_over(How::HostGone, &start, &stop));
}

#[test]
fn a_first_start_and_a_deletion_stopped_at_any_step_are_finished_later() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        prepare(&lab).await;
        for (turn, end) in DELETE.into_iter().enumerate() {
            let how = [How::Refused, How::Killed][turn % 2];
            let point = ("database", ["running", "done"][turn / 2 % 2]);
            let agent = lab.agent(json!({})).await;
            let job = asked(&lab, agent, "/provision").await;
            arm(&lab, point, how).await;
            run_into(&lab, job, how, point).await;
            wait(&lab, how).await;
            assert_eq!(lab.run(job).await, "completed", "{how:?} at {point:?}");

            let request = Request::new("DELETE", &agent_path(agent, "")).key(&lab.key);
            let job = job_of(&lab.world.call(request).await);
            arm(&lab, end, how).await;
            run_into(&lab, job, how, end).await;
            wait(&lab, how).await;
            assert_eq!(lab.run(job).await, "completed", "{how:?} at {end:?}");
            lab.assert_gone(agent, &format!("{how:?} at {end:?}")).await;
        }
    });
}
