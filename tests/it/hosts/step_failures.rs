//! Failures before and after every step of a start, a suspension and a deletion: the database refuses to write
//! the step, the worker is killed, or the host goes down. Afterwards nothing is left over, and the next attempt
//! succeeds. Triggers in the database stop the worker, so the function needs no code for tests.

use chrono::TimeDelta;
use dev::runtime::Outcome;
use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use tests::calls::{JOB_TIMEOUT, agent_path};
use tests::lab::job_of;
use tests::suite::Request;
use tests::{Lab, run};
use uuid::Uuid;

/// The name and status of a step that is written. An empty name stands for the end of the job.
type Point = (&'static str, &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// The database refuses the write.
    Refused,
    /// The worker is killed before the step is written.
    Killed,
    /// The host goes down, and the worker continues.
    HostGone,
}

const START_POINTS: [Point; 14] = [
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
const SUSPEND_POINTS: [Point; 5] = [
    ("snapshot", "running"),
    ("snapshot", "done"),
    ("stop", "running"),
    ("stop", "done"),
    ("", "completed"),
];
const DELETE_POINTS: [Point; 7] = [
    ("stop", "running"),
    ("stop", "done"),
    ("volume", "running"),
    ("volume", "done"),
    ("database", "running"),
    ("database", "done"),
    ("", "completed"),
];

/// The advisory lock that a stopped worker waits for.
const LOCK: i64 = 4_242;

async fn prepare(lab: &Lab) {
    lab.world
        .execute(
            "CREATE TABLE test_point (step text, status text, refuse boolean);
            CREATE SEQUENCE test_hits;
            CREATE FUNCTION test_stop() RETURNS trigger LANGUAGE plpgsql
                SECURITY DEFINER SET search_path = public AS $$
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

/// Stops the next job that reaches this point.
async fn stop_at(lab: &Lab, (step, status): Point, failure: Failure) {
    let sql = format!(
        "DELETE FROM test_point; SELECT setval('test_hits', 1, false);
        INSERT INTO test_point VALUES ('{step}', '{status}', {})",
        failure == Failure::Refused
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&lab.world.pool)
        .await
        .expect("a point");
}

/// Runs a job until the failure at this point.
async fn run_to(lab: &Lab, job: Uuid, failure: Failure, point: Point) {
    if failure == Failure::Refused {
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
    let running = instance.invoke(event, JOB_TIMEOUT);
    let stopping = async {
        lab.world.wait_until_a_session_is_blocked().await;
        if failure == Failure::Killed {
            instance.kill().await;
            // Its last statement must not run after its death.
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
        Outcome::Crashed { .. } if failure == Failure::Killed => {}
        Outcome::Success(response) if failure == Failure::HostGone => {
            assert_eq!(response["outcome"], json!("again"), "{point:?}");
            lab.hosts[0].sshd.restart().await.expect("the host is back");
        }
        other => panic!("{failure:?} at {point:?}: {other:?}"),
    }
}

/// Advances the clock until the job is due again. After a killed worker, the sweep must find the job first.
async fn wait_until_due(lab: &Lab, failure: Failure) {
    if failure == Failure::Killed {
        lab.advance_clock(TimeDelta::minutes(6)).await;
        lab.sweep().await;
    }
    lab.advance_clock(TimeDelta::seconds(31)).await;
}

async fn request_job(lab: &Lab, agent: Uuid, what: &str) -> Uuid {
    job_of(&lab.world.post(&lab.api_key, &agent_path(agent, what)).await)
}

/// Suspends and starts one agent again and again, with a failure at another point each time. The agent's
/// memories show that no state is lost.
async fn suspend_and_start_at_each_point(failure: Failure, start: &[Point], stop: &[Point]) {
    let Some(lab) = Lab::new(1).await else { return };
    prepare(&lab).await;
    let agent = lab.running_agent(json!({})).await;
    let mut memories = 0;
    for (turn, point) in start.iter().enumerate() {
        let end = stop[turn % stop.len()];
        lab.bridge_result(agent, "message.send", json!({"text": "one more"}))
            .await;
        memories += 2;
        // The starts of an hour are limited.
        lab.world
            .execute("UPDATE jobs SET created_at = created_at - interval '1 hour'")
            .await;

        let job = request_job(&lab, agent, "/suspend").await;
        stop_at(&lab, end, failure).await;
        run_to(&lab, job, failure, end).await;
        wait_until_due(&lab, failure).await;
        assert_eq!(lab.run(job).await, "completed", "{failure:?} at {end:?}");
        lab.assert_nothing_runs(agent, &format!("suspended after {end:?}"))
            .await;

        // On its host, an agent gets the state of a backup only if its owner requests it.
        // Without a restore nothing is asked of the host once the agent is healthy.
        let operation = match point {
            ("restore", _) | ("health", "done") => "/restore",
            _ => "/provision",
        };
        let job = request_job(&lab, agent, operation).await;
        stop_at(&lab, *point, failure).await;
        run_to(&lab, job, failure, *point).await;
        if failure == Failure::Refused {
            lab.assert_nothing_runs(agent, &format!("refused at {point:?}"))
                .await;
        }
        wait_until_due(&lab, failure).await;
        let outcome = lab.run(job).await;
        let job_row = lab.last_job(agent).await;
        assert_eq!(outcome, "completed", "{failure:?} at {point:?}: {job_row}");
        assert_eq!(
            (lab.containers(agent).await, lab.slots().await),
            (vec![1], vec![1]),
            "{failure:?} at {point:?}"
        );
        let status = lab.bridge_result(agent, "status.get", json!({})).await;
        assert_eq!(
            status["memories"],
            json!(memories),
            "{failure:?} at {point:?}"
        );
    }
    assert_eq!(lab.delete(agent).await, "completed");
    lab.assert_gone(agent, "at the end").await;
}

#[test]
fn a_refused_write_at_any_step_leaves_nothing_and_the_next_attempt_succeeds() {
    run(suspend_and_start_at_each_point(
        Failure::Refused,
        &START_POINTS,
        &SUSPEND_POINTS,
    ));
}

#[test]
fn f14_the_next_attempt_cleans_up_after_a_worker_killed_at_any_step() {
    run(suspend_and_start_at_each_point(
        Failure::Killed,
        &START_POINTS,
        &SUSPEND_POINTS,
    ));
}

#[test]
fn a_job_succeeds_after_its_host_went_down_at_any_step() {
    let start = [
        ("place", "done"),
        ("create", "running"),
        ("create", "done"),
        ("start", "done"),
        ("health", "done"),
    ];
    let stop = [("snapshot", "running"), ("stop", "running")];
    run(suspend_and_start_at_each_point(
        Failure::HostGone,
        &start,
        &stop,
    ));
}

#[test]
fn a_first_start_and_a_deletion_that_fail_at_any_step_complete_later() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        prepare(&lab).await;
        for (turn, end) in DELETE_POINTS.into_iter().enumerate() {
            let failure = [Failure::Refused, Failure::Killed][turn % 2];
            let point = ("database", ["running", "done"][turn / 2 % 2]);
            let agent = lab.agent(json!({})).await;
            let job = request_job(&lab, agent, "/provision").await;
            stop_at(&lab, point, failure).await;
            run_to(&lab, job, failure, point).await;
            wait_until_due(&lab, failure).await;
            assert_eq!(lab.run(job).await, "completed", "{failure:?} at {point:?}");

            let request = Request::new("DELETE", &agent_path(agent, "")).key(&lab.api_key);
            let job = job_of(&lab.world.call(request).await);
            stop_at(&lab, end, failure).await;
            run_to(&lab, job, failure, end).await;
            wait_until_due(&lab, failure).await;
            assert_eq!(lab.run(job).await, "completed", "{failure:?} at {end:?}");
            lab.assert_gone(agent, &format!("{failure:?} at {end:?}"))
                .await;
        }
    });
}
