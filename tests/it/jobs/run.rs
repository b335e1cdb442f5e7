//! Start jobs: how they end, when they are retried, and what becomes of the agent.

use chrono::{SecondsFormat, TimeDelta};
use dev::runtime::Outcome;
use rust_decimal::dec;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::{World, run};
use uuid::Uuid;

use super::{
    ANNOUNCED, Bus, LOCK_HOSTS, NO_HOST, NOTHING_TO_DO, RETRIED, STALE, UNREACHABLE, agent_status,
    in_error, job, job_id, kill_worker_at, provision, record_container, register_unreachable_host,
    run_job, run_job_on, seconds, set_balance, start_bus, sweep, tenant_with_agent,
};

#[test]
fn a_start_without_a_host_fails_after_three_attempts() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = tenant_with_agent(&world).await;
        let start = provision(&world, &key, id).await;
        for (at, attempt, retry_at) in [(0, 1, 30), (30, 2, 150)] {
            world.set_clock(seconds(at)).await;
            assert_eq!(run_job(&world, start).await, RETRIED);
            let row = job(&world, start).await;
            assert_eq!(row.state(), ("pending", attempt, Some(NO_HOST)));
            assert_eq!(
                (row.scheduled_for, row.completed_at),
                (seconds(retry_at), None)
            );
            assert_eq!(
                agent_status(&world, id).await,
                ("provisioning".to_owned(), None)
            );
            world.set_clock(seconds(retry_at - 1)).await;
            assert_eq!(run_job(&world, start).await, NOTHING_TO_DO);
        }
        world.set_clock(seconds(150)).await;
        assert_eq!(run_job(&world, start).await, "failed");
        let row = job(&world, start).await;
        assert_eq!(row.state(), ("failed", 3, Some(NO_HOST)));
        assert_eq!((row.completed_at, row.result), (Some(seconds(150)), None));
        assert_eq!(agent_status(&world, id).await, in_error(NO_HOST));
        let failed = world.get(&key, &agent_path(id, "")).await;
        assert_eq!(failed.json()["data"]["stopReason"], json!("failure"));
        let errors = "SELECT error_count::bigint FROM milady_sandboxes";
        assert_eq!(world.count(errors).await, 1);
        assert_eq!(run_job(&world, start).await, NOTHING_TO_DO);
    });
}

#[test]
fn an_unreachable_host_is_reported_and_a_disabled_one_does_not_count() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = tenant_with_agent(&world).await;
        register_unreachable_host(&world).await;
        let start = provision(&world, &key, id).await;
        assert_eq!(run_job(&world, start).await, RETRIED);
        assert_eq!(
            job(&world, start).await.state(),
            ("pending", 1, Some(UNREACHABLE))
        );
        world
            .execute("UPDATE docker_nodes SET enabled = false")
            .await;
        world.set_clock(seconds(30)).await;
        assert_eq!(run_job(&world, start).await, RETRIED);
        assert_eq!(
            job(&world, start).await.state(),
            ("pending", 2, Some(NO_HOST))
        );
    });
}

#[test]
fn a_job_that_is_not_due_is_not_run_and_a_malformed_event_is_an_error() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = tenant_with_agent(&world).await;
        let start = provision(&world, &key, id).await;
        world.set_clock(seconds(-1)).await;
        let before = job(&world, start).await;
        assert_eq!(run_job(&world, start).await, NOTHING_TO_DO);
        assert_eq!(run_job(&world, Uuid::new_v4()).await, NOTHING_TO_DO);
        for status in ["in_progress", "completed", "failed"] {
            sqlx::query("UPDATE jobs SET status = $1")
                .bind(status)
                .execute(&world.pool)
                .await
                .expect("a status");
            world.set_clock(seconds(60)).await;
            assert_eq!(run_job(&world, start).await, NOTHING_TO_DO, "{status}");
        }
        world.execute("UPDATE jobs SET status = 'pending'").await;
        assert_eq!(job(&world, start).await, before);
        assert_eq!(agent_status(&world, id).await, ("pending".to_owned(), None));
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
            assert_eq!(
                message,
                "the event names neither a job in detail.jobId nor an agent in detail.agentId"
            );
        }
    });
}

#[test]
fn a_start_of_a_running_agent_completes_at_once() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = tenant_with_agent(&world).await;
        let start = provision(&world, &key, id).await;
        // Another system has started it.
        world.set_status(id, "running").await;
        world.set_clock(seconds(7)).await;
        assert_eq!(run_job(&world, start).await, "completed");
        let row = job(&world, start).await;
        assert_eq!(row.state(), ("completed", 1, None));
        assert_eq!(row.completed_at, Some(seconds(7)));
        let address = format!("https://{id}.agents.example");
        let result = json!({
            "cloudAgentId": id, "status": "running", "bridgeUrl": address, "healthUrl": address,
        });
        assert_eq!(row.result, Some(result));
        assert_eq!(agent_status(&world, id).await, ("running".to_owned(), None));
    });
}

#[test]
fn a_start_without_a_database_service_fails_before_it_takes_a_slot() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = tenant_with_agent(&world).await;
        register_unreachable_host(&world).await;
        let start = provision(&world, &key, id).await;
        let worker = world
            .function("job-run")
            .without("AGENT_DATABASE_ADMIN_URL")
            .start()
            .await;
        assert_eq!(run_job_on(&worker, start).await, RETRIED);
        let row = job(&world, start).await;
        let error = "No database service is configured";
        assert_eq!(row.state(), ("pending", 1, Some(error)));
        let steps = row.steps.expect("steps");
        assert_eq!(
            (&steps[1]["name"], &steps[1]["status"], steps.get(2)),
            (&json!("database"), &json!("failed"), None)
        );
        let untouched = "SELECT count(*) FROM docker_nodes WHERE allocated_count = 0";
        assert_eq!(world.count(untouched).await, 1);
        let named = "SELECT count(*) FROM milady_sandboxes WHERE node_id IS NOT NULL";
        assert_eq!(world.count(named).await, 0);
        // Once there is a service, the job goes on.
        world.set_clock(seconds(30)).await;
        assert_eq!(run_job(&world, start).await, RETRIED);
        let row = job(&world, start).await;
        assert_eq!(row.state(), ("pending", 2, Some(UNREACHABLE)));
    });
}

#[test]
fn f42_agents_get_no_database_on_the_control_planes_own_server() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = tenant_with_agent(&world).await;
        register_unreachable_host(&world).await;
        let start = provision(&world, &key, id).await;
        let worker = world
            .function("job-run")
            .without("ALLOW_SHARED_DATABASE_SERVER")
            .start()
            .await;
        assert_eq!(run_job_on(&worker, start).await, RETRIED);
        let error = "The database service is not set up for agents";
        assert_eq!(
            job(&world, start).await.state(),
            ("pending", 1, Some(error))
        );
        worker.kill().await;
        let logs = worker.logs().join("\n");
        let advice = "AGENT_DATABASE_ADMIN_URL leads to the control plane's own server";
        assert!(logs.contains(advice), "{logs}");
        let database = format!("agent_{}", id.simple());
        let server = tests::suite::server().await;
        assert!(!server.has_database(&database).await.expect("an answer"));
        // With another server, or on a machine where it is allowed, the job goes on.
        world.set_clock(seconds(30)).await;
        assert_eq!(run_job(&world, start).await, RETRIED);
        let row = job(&world, start).await;
        assert_eq!(row.state(), ("pending", 2, Some(UNREACHABLE)));
        assert!(server.has_database(&database).await.expect("an answer"));
    });
}

#[test]
fn steps_are_recorded_with_status_and_time() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = tenant_with_agent(&world).await;
        let start = provision(&world, &key, id).await;
        assert_eq!(job(&world, start).await.steps, None);
        // The database exists at the second attempt, so its step is not done again.
        for (at, finished) in [(0, &["credit", "database"][..]), (30, &["credit"])] {
            world.set_clock(seconds(at)).await;
            run_job(&world, start).await;
            let recorded_at = seconds(at).to_rfc3339_opts(SecondsFormat::Millis, true);
            let step = |name: &str, status: &str| json!({"name": name, "status": status, "at": recorded_at});
            let mut steps: Vec<Value> = finished.iter().map(|name| step(name, "done")).collect();
            steps.push(step("place", "failed"));
            assert_eq!(job(&world, start).await.steps, Some(json!(steps)));
        }
    });
}

/// The gate's error for a balance of 4.99.
const REFUSED: &str = "Insufficient credits: $5 required, $4.99 available";

#[test]
fn the_gate_refuses_jobs_whose_credit_was_spent_after_the_request() {
    run(async {
        let world = World::new().await;
        let (organization, key, id) = tenant_with_agent(&world).await;
        let start = provision(&world, &key, id).await;
        set_balance(&world, organization, "4.99").await;
        assert_eq!(run_job(&world, start).await, "failed");
        assert_eq!(
            job(&world, start).await.state(),
            ("failed", 1, Some(REFUSED))
        );
        assert_eq!(agent_status(&world, id).await.0, "pending");

        let (organization, key) = world.tenant("10").await;
        let id = world.agent(organization, "stopped").await;
        world.backup(id, "auto").await;
        let restore = job_id(&world.post(&key, &agent_path(id, "/restore")).await);
        set_balance(&world, organization, "4.99").await;
        assert_eq!(run_job(&world, restore).await, "failed");
        assert_eq!(
            job(&world, restore).await.state(),
            ("failed", 1, Some(REFUSED))
        );
        assert_eq!(agent_status(&world, id).await.0, "stopped");
        // It is not retried.
        world.set_clock(seconds(3_600)).await;
        let announced = sweep(&world, &start_bus().await).await[ANNOUNCED].clone();
        assert_eq!(announced, json!(0));
    });
}

#[test]
fn the_gate_is_asked_at_every_attempt_and_counts_the_other_agents() {
    run(async {
        let world = World::new().await;
        let (organization, key, id) = tenant_with_agent(&world).await;
        let start = provision(&world, &key, id).await;
        assert_eq!(run_job(&world, start).await, RETRIED);
        set_balance(&world, organization, "4.99").await;
        world.set_clock(seconds(30)).await;
        assert_eq!(run_job(&world, start).await, "failed");
        // The first attempt had marked it as being started. It does not stay so.
        assert_eq!(agent_status(&world, id).await, in_error(REFUSED));

        // Ten agents at 0.02 cost 4.80 a day, eleven 5.28.
        set_balance(&world, organization, "5.27").await;
        let start = provision(&world, &key, id).await;
        for _ in 0..10 {
            world.agent(organization, "running").await;
        }
        assert_eq!(run_job(&world, start).await, "failed");
        let error = "Insufficient credits: $5.28 required, $5.27 available";
        assert_eq!(job(&world, start).await.error.as_deref(), Some(error));
    });
}

#[test]
fn an_exempt_agent_is_started_without_a_balance() {
    run(async {
        let world = World::new().await;
        let (organization, key, id) = tenant_with_agent(&world).await;
        world.set_columns(id, "billing_status = 'exempt'").await;
        let start = provision(&world, &key, id).await;
        set_balance(&world, organization, "0").await;
        assert_eq!(run_job(&world, start).await, RETRIED);
        assert_eq!(job(&world, start).await.error.as_deref(), Some(NO_HOST));
    });
}

#[test]
fn a_failed_restore_leaves_a_running_agent_running() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let id = world.agent(organization, "running").await;
        register_unreachable_host(&world).await;
        record_container(&world, id).await;
        world.set_columns(id, "bridge_port = 20000").await;
        world.backup(id, "manual").await;
        let restore = job_id(&world.post(&key, &agent_path(id, "/restore")).await);
        for at in [0, 30, 150] {
            world.set_clock(seconds(at)).await;
            run_job(&world, restore).await;
            assert_eq!(agent_status(&world, id).await, ("running".to_owned(), None));
        }
        assert_eq!(
            job(&world, restore).await.state(),
            ("failed", 3, Some(UNREACHABLE))
        );
        assert_eq!(
            world.run_billing(1).await.tally.revenue.to_decimal(),
            dec!(0.02)
        );
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
    /// Requests a start and makes it fail. Returns the agent's error.
    async fn cause(self, world: &World, bus: &Bus, key: &str, id: Uuid) -> &'static str {
        let now = dev::clock::now(&world.pool).await.expect("a time");
        let attempts = [0, 30, 150].map(|after| now + TimeDelta::seconds(after));
        let start = provision(world, key, id).await;
        match self {
            Self::NoHost | Self::Unreachable => {
                for at in attempts {
                    world.set_clock(at).await;
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
                    kill_worker_at(world, start, LOCK_HOSTS).await;
                    assert_eq!(agent_status(world, id).await.0, "provisioning");
                    advance_clock(world, 301).await;
                    assert_eq!(sweep(world, bus).await["recovered"], json!(1));
                    assert_eq!(job(world, start).await.attempts, attempt);
                    advance_clock(world, 120).await;
                }
                STALE
            }
            Self::CreditGoneBetweenTries => {
                run_job(world, start).await;
                world
                    .execute("UPDATE organizations SET credit_balance = 4.99")
                    .await;
                world.set_clock(attempts[1]).await;
                run_job(world, start).await;
                world
                    .execute("UPDATE organizations SET credit_balance = 10")
                    .await;
                REFUSED
            }
            Self::JobLost => {
                run_job(world, start).await;
                world.execute("DELETE FROM jobs").await;
                advance_clock(world, 301).await;
                assert_eq!(sweep(world, bus).await["orphaned"], json!(1));
                STALE
            }
        }
    }
}

async fn advance_clock(world: &World, after: i64) {
    let now = dev::clock::now(&world.pool).await.expect("a time");
    world.set_clock(now + TimeDelta::seconds(after)).await;
}

#[test]
fn f13_an_agent_whose_start_failed_can_be_started_stopped_and_deleted() {
    for failure in [
        Failure::NoHost,
        Failure::Unreachable,
        Failure::WorkerKilledEachTime,
        Failure::CreditGoneBetweenTries,
        Failure::JobLost,
    ] {
        run(async {
            let (world, bus) = (World::new().await, start_bus().await);
            let (_, key, id) = tenant_with_agent(&world).await;
            if matches!(failure, Failure::Unreachable) {
                register_unreachable_host(&world).await;
            }
            let error = failure.cause(&world, &bus, &key, id).await;
            assert_eq!(
                agent_status(&world, id).await,
                in_error(error),
                "{failure:?}"
            );
            // It can be started again, and fails in the same way.
            failure.cause(&world, &bus, &key, id).await;
            assert_eq!(
                agent_status(&world, id).await,
                in_error(error),
                "{failure:?}"
            );
            let response = world.post(&key, &agent_path(id, "/suspend")).await;
            assert_eq!(response.status(), 200, "{failure:?}: {response:?}");
            assert_eq!(response.json()["data"]["previousStatus"], json!("error"));
            assert_eq!(agent_status(&world, id).await, ("stopped".to_owned(), None));
            failure.cause(&world, &bus, &key, id).await;
            // It has a database by now, which is dropped before its row is deleted.
            let deletion = delete(&world, &key, id).await;
            assert_eq!(run_job(&world, deletion).await, "completed", "{failure:?}");
            assert!(!world.agent_exists(id).await);
        });
    }
}

async fn delete(world: &World, key: &str, id: Uuid) -> Uuid {
    let request = tests::suite::Request::new("DELETE", &agent_path(id, ""));
    job_id(&world.call(request.key(key)).await)
}

#[test]
fn f13_between_attempts_requests_are_refused_with_the_active_job() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = tenant_with_agent(&world).await;
        let start = provision(&world, &key, id).await;
        assert_eq!(run_job(&world, start).await, RETRIED);
        let response = world.post(&key, &agent_path(id, "/provision")).await;
        assert_eq!(response.status(), 409);
        assert_eq!(response.json()["data"]["jobId"], json!(start));
        assert_eq!(response.json()["data"]["status"], json!("pending"));
        let response = world.post(&key, &agent_path(id, "/suspend")).await;
        assert_eq!(response.status(), 409);
        // Once the job has failed for good, nothing blocks the stop.
        for at in [30, 150] {
            world.set_clock(seconds(at)).await;
            run_job(&world, start).await;
        }
        let response = world.post(&key, &agent_path(id, "/suspend")).await;
        assert_eq!(response.status(), 200);
    });
}
