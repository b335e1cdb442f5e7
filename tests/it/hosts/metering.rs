//! Metering begins with the container, and only if its agent comes to run (F63).

use chrono::{DateTime, Utc};
use rust_decimal::dec;
use serde_json::json;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tests::calls::{JOB_TIMEOUT, agent_path};
use tests::lab::job_of;
use tests::world::{hours, minutes};
use tests::{Lab, audit, run, wait_until};
use uuid::Uuid;

async fn compute_started_at(lab: &Lab, agent: Uuid) -> Option<DateTime<Utc>> {
    sqlx::query_scalar("SELECT compute_started_at FROM milady_sandboxes WHERE id = $1")
        .bind(agent)
        .fetch_one(&lab.world.pool)
        .await
        .expect("an agent")
}

#[test]
fn f63_the_time_from_the_containers_start_to_its_health_is_charged_across_a_full_hour() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let world = &lab.world;
        let agent = lab.agent(json!({})).await;
        // The worker waits once it has started the container, before it asks for the agent's health.
        world
            .execute(
                "CREATE FUNCTION test_wait() RETURNS trigger LANGUAGE plpgsql
                    SECURITY DEFINER SET search_path = public AS $$ BEGIN
                    IF NEW.steps -> -1 ->> 'name' = 'health' AND NEW.steps -> -1 ->> 'status' = 'running'
                    THEN PERFORM pg_advisory_xact_lock(77); END IF;
                    RETURN NEW; END $$;
                CREATE TRIGGER test_wait BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION test_wait();",
            )
            .await;
        let mut holder = PgConnection::connect(&world.url).await.expect("a session");
        sqlx::query("SELECT pg_advisory_lock(77)")
            .execute(&mut holder)
            .await
            .expect("the lock");
        world.set_clock(minutes(59)).await;
        let request = agent_path(agent, "/provision");
        let job = job_of(&world.post(&lab.api_key, &request).await);
        let meanwhile = async {
            world.wait_until_a_session_is_blocked().await;
            assert_eq!(lab.containers(agent).await, [1]);
            // The run of the full hour knows nothing of the container yet.
            assert_eq!(world.run_billing(1).await.tally.slices, 0);
            world.set_clock(minutes(61)).await;
            holder.close().await.expect("the database goes on");
        };
        let (outcome, ()) = tokio::join!(lab.run(job), meanwhile);
        assert_eq!(outcome, "completed");
        assert_eq!(compute_started_at(&lab, agent).await, Some(minutes(59)));
        world.run_billing(2).await;
        let charged: Vec<_> = world
            .ledger(lab.organization)
            .await
            .into_iter()
            .map(|row| (row.period_start, row.period_end, -row.amount))
            .collect();
        assert_eq!(
            charged,
            [
                (minutes(59), hours(1), dec!(0.000333)),
                (hours(1), hours(2), dec!(0.02)),
            ]
        );
        audit::check(&world.pool).await;
    });
}

#[test]
fn f63_a_start_that_fails_after_its_container_ran_costs_nothing() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let world = &lab.world;
        let fault = json!({"environmentVars": {"SAMPLE_FAULT": "unhealthy"}});
        let agent = lab.agent(fault).await;
        let request = agent_path(agent, "/provision");
        let job = job_of(&world.post(&lab.api_key, &request).await);
        for (minute, expected) in [(0, "again"), (1, "again"), (4, "failed")] {
            world.set_clock(minutes(minute)).await;
            assert_eq!(lab.run(job).await, expected);
            // Otherwise an agent that another system marks as running would be charged from here on.
            assert_eq!(compute_started_at(&lab, agent).await, None);
        }
        world.run_billing(1).await;
        assert_eq!(world.count("SELECT count(*) FROM usage_spans").await, 0);
        lab.assert_nothing_runs(agent, "a failed start").await;
    });
}

#[test]
fn f63_a_worker_that_dies_after_the_start_leaves_no_time_to_charge() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let world = &lab.world;
        let fault = json!({"environmentVars": {"SAMPLE_FAULT": "slow:20"}});
        let agent = lab.agent(fault).await;
        let request = agent_path(agent, "/provision");
        let job = job_of(&world.post(&lab.api_key, &request).await);
        let worker = world
            .function("job-run")
            .with("AGENT_HEALTH_SECONDS", "60")
            .start()
            .await;
        let event = json!({"detail-type": "job.due", "detail": {"jobId": job}});
        let attempt = worker.invoke(event, JOB_TIMEOUT);
        let death = async {
            wait_until("the container runs", async || {
                lab.containers(agent).await == [1]
                    && compute_started_at(&lab, agent).await.is_some()
            })
            .await;
            worker.kill().await;
        };
        let (_, ()) = tokio::join!(attempt, death);
        world
            .set_columns(
                agent,
                "environment_vars = environment_vars - 'SAMPLE_FAULT'",
            )
            .await;
        // The next attempt finds the container, removes it, and starts another one.
        world.set_clock(minutes(6)).await;
        lab.sweep().await;
        world.set_clock(minutes(10)).await;
        assert_eq!(lab.run(job).await, "completed");
        assert_eq!(lab.containers(agent).await, [1]);
        let started: DateTime<Utc> = sqlx::query_scalar("SELECT started_at FROM usage_spans")
            .fetch_one(&world.pool)
            .await
            .expect("one span");
        assert_eq!(started, minutes(10));
    });
}
