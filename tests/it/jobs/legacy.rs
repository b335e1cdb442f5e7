//! Jobs that this product did not write: the older web app's, malformed ones, jobs of other kinds, and those of an
//! existing deployment whose older worker may still run.

use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::domain::job::{JobClass, JobKind};
use tests::calls::agent_path;
use tests::{World, legacy, run, suite};
use uuid::Uuid;

use super::{
    ANNOUNCED, LOCK_ORGANIZATIONS, NO_HOST, NOTHING_TO_DO, RETRIED, STALE, agent_status,
    announced_jobs, in_error, job, kill_worker_at, provision, run_job, seconds, set_balance,
    start_bus, sweep, tenant_with_agent,
};

/// Inserts a job as the older web app wrote it: only its data names the agent.
async fn insert_legacy_job(world: &World, kind: &str, organization: Uuid, data: &Value) -> Uuid {
    sqlx::query_scalar(
        "INSERT INTO jobs (type, organization_id, user_id, data, scheduled_for, created_at,
            updated_at)
        SELECT $1, $2, id, $3, now, now, now
        FROM users, LATERAL (SELECT billing_clock() AT TIME ZONE 'UTC' AS now) AS clock
        WHERE organization_id = $2 RETURNING jobs.id",
    )
    .bind(kind)
    .bind(organization)
    .bind(data)
    .fetch_one(&world.pool)
    .await
    .expect("a job")
}

fn job_data(organization: Uuid, agent: Uuid) -> Value {
    json!({
        "agentId": agent, "organizationId": organization, "userId": Uuid::nil(),
        "agentName": "agent",
    })
}

#[test]
fn a_legacy_start_job_runs_like_a_new_one() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (organization, key, id) = tenant_with_agent(&world).await;
        let start = insert_legacy_job(
            &world,
            "milady_provision",
            organization,
            &job_data(organization, id),
        )
        .await;
        assert_eq!(sweep(&world, &bus).await[ANNOUNCED], json!(1));
        assert_eq!(announced_jobs(&bus), [start]);
        for (at, outcome) in [(0, RETRIED), (30, RETRIED), (150, "failed")] {
            world.set_clock(seconds(at)).await;
            assert_eq!(run_job(&world, start).await, outcome);
            // The first attempt has recorded the agent in its column.
            assert_eq!(job(&world, start).await.agent_id, Some(id));
            let response = world.post(&key, &agent_path(id, "/provision")).await;
            let expected = if outcome == RETRIED { 409 } else { 202 };
            assert_eq!(response.status(), expected);
        }
        assert_eq!(agent_status(&world, id).await, in_error(NO_HOST));
    });
}

#[test]
fn a_stale_legacy_job_is_recovered() {
    run(async {
        let world = World::new().await;
        let (organization, _, id) = tenant_with_agent(&world).await;
        let start = insert_legacy_job(
            &world,
            "milady_provision",
            organization,
            &job_data(organization, id),
        )
        .await;
        world
            .execute("UPDATE jobs SET status = 'in_progress', attempts = 3")
            .await;
        world.set_columns(id, "status = 'provisioning'").await;
        world.set_clock(seconds(301)).await;
        assert_eq!(
            sweep(&world, &start_bus().await).await["recovered"],
            json!(1)
        );
        assert_eq!(job(&world, start).await.state(), ("failed", 3, Some(STALE)));
        assert_eq!(agent_status(&world, id).await, in_error(STALE));
    });
}

#[test]
fn the_credit_gate_applies_to_legacy_start_jobs() {
    run(async {
        let world = World::new().await;
        for kind in ["milady_provision", "milady_restore"] {
            let (organization, _, id) = tenant_with_agent(&world).await;
            let start =
                insert_legacy_job(&world, kind, organization, &job_data(organization, id)).await;
            set_balance(&world, organization, "4.99").await;
            assert_eq!(run_job(&world, start).await, "failed");
            let error = "Insufficient credits: $5 required, $4.99 available";
            assert_eq!(job(&world, start).await.state(), ("failed", 1, Some(error)));
            assert_eq!(agent_status(&world, id).await, ("pending".to_owned(), None));
            world.set_clock(seconds(3_600)).await;
            assert_eq!(run_job(&world, start).await, NOTHING_TO_DO);
            world.set_clock(seconds(0)).await;
        }
    });
}

#[test]
fn the_second_of_two_legacy_starts_for_one_agent_fails() {
    run(async {
        let world = World::new().await;
        let (organization, key, id) = tenant_with_agent(&world).await;
        let data = job_data(organization, id);
        let first = insert_legacy_job(&world, "milady_provision", organization, &data).await;
        let second = insert_legacy_job(&world, "milady_restore", organization, &data).await;
        assert_eq!(run_job(&world, first).await, RETRIED);
        assert_eq!(run_job(&world, second).await, "failed");
        let error = "Another job of this kind is active for the agent";
        assert_eq!(
            job(&world, second).await.state(),
            ("failed", 1, Some(error))
        );
        assert_eq!(job(&world, first).await.state().0, "pending");
        assert_eq!(
            agent_status(&world, id).await,
            ("provisioning".to_owned(), None)
        );
        // A new start and a legacy stop do not block each other.
        world.execute("DELETE FROM jobs").await;
        world.set_columns(id, "status = 'pending'").await;
        let start = provision(&world, &key, id).await;
        let stop = insert_legacy_job(&world, "milady_suspend", organization, &data).await;
        assert_eq!(run_job(&world, start).await, "failed");
        assert_eq!(
            job(&world, start).await.error.as_deref(),
            Some("Superseded by a stop")
        );
        assert_eq!(run_job(&world, stop).await, "completed");
        assert_eq!(agent_status(&world, id).await, ("stopped".to_owned(), None));
    });
}

#[test]
fn malformed_and_foreign_jobs_change_no_agent() {
    run(async {
        let world = World::new().await;
        let (organization, _, own_agent) = tenant_with_agent(&world).await;
        let (other, key, foreign_agent) = tenant_with_agent(&world).await;
        let running = world.agent(other, "running").await;
        let before = dump_agents(&world).await;
        let malformed = "The job is malformed";
        for (kind, data, expected) in [
            ("milady_provision", json!({}), malformed),
            ("milady_provision", json!([]), malformed),
            ("milady_provision", json!(null), malformed),
            ("milady_provision", json!({"agentId": null}), malformed),
            ("milady_provision", json!({"agentId": 7}), malformed),
            ("milady_provision", json!({"agentId": ""}), malformed),
            (
                "milady_provision",
                json!({"agentId": {"id": own_agent}}),
                malformed,
            ),
            ("milady_restore", json!({"agentId": "agent-7"}), malformed),
            ("milady_suspend", json!({"agentId": "'; --"}), malformed),
            (
                "milady_delete",
                json!({"organizationId": organization}),
                malformed,
            ),
            (
                "milady_provision",
                job_data(organization, foreign_agent),
                "Agent not found",
            ),
            (
                "milady_restore",
                job_data(other, foreign_agent),
                "Agent not found",
            ),
            (
                "milady_provision",
                job_data(organization, Uuid::new_v4()),
                "Agent not found",
            ),
        ] {
            let job_id = insert_legacy_job(&world, kind, organization, &data).await;
            assert_eq!(run_job(&world, job_id).await, "failed", "{kind} {data}");
            let row = job(&world, job_id).await;
            assert_eq!(row.state(), ("failed", 1, Some(expected)), "{kind} {data}");
        }
        // A stop of another organization's agent finds nothing to stop.
        for kind in ["milady_suspend", "milady_delete"] {
            let job_id =
                insert_legacy_job(&world, kind, organization, &job_data(other, running)).await;
            assert_eq!(run_job(&world, job_id).await, "completed");
        }
        assert_eq!(dump_agents(&world).await, before);
        // The owner of these agents is not blocked.
        provision(&world, &key, foreign_agent).await;
        let response = world.post(&key, &agent_path(running, "/suspend")).await;
        assert_eq!(response.status(), 202);
    });
}

#[test]
fn a_job_of_any_kind_ends_at_its_first_attempt_if_the_agent_is_gone() {
    run(async {
        let world = World::new().await;
        let (organization, _) = world.tenant("10").await;
        for kind in JobKind::ALL {
            let data = job_data(organization, Uuid::new_v4());
            let id = insert_legacy_job(&world, kind.as_str(), organization, &data).await;
            let expected = match kind.class() {
                JobClass::Start => "failed",
                JobClass::Stop => "completed",
            };
            assert_eq!(run_job(&world, id).await, expected, "{kind:?}");
        }
    });
}

#[test]
fn a_job_for_another_organizations_agent_does_not_block_its_owner() {
    run(async {
        let world = World::new().await;
        let (organization, _, _) = tenant_with_agent(&world).await;
        let (other, key, foreign_agent) = tenant_with_agent(&world).await;
        let foreign_job = insert_legacy_job(
            &world,
            "milady_provision",
            organization,
            &job_data(other, foreign_agent),
        )
        .await;
        // Its worker dies before it has found out whose agent the job names.
        kill_worker_at(&world, foreign_job, LOCK_ORGANIZATIONS).await;
        let start = provision(&world, &key, foreign_agent).await;
        assert_eq!(run_job(&world, start).await, RETRIED);
    });
}

/// All agents with every column.
async fn dump_agents(world: &World) -> String {
    dump_table(world, "milady_sandboxes a").await
}

async fn dump_table(world: &World, table: &'static str) -> String {
    let row = table.rsplit(' ').next().expect("an alias");
    let sql =
        format!("SELECT coalesce(string_agg({row}::text, '\n' ORDER BY id), '') FROM {table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_one(&world.pool)
        .await
        .expect(table)
}

#[test]
fn jobs_of_other_kinds_are_never_touched() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let (organization, _, id) = tenant_with_agent(&world).await;
        for kind in [
            "video_generation",
            "milady",
            "milady_provision ",
            "agent.provision",
        ] {
            let other =
                insert_legacy_job(&world, kind, organization, &job_data(organization, id)).await;
            sqlx::query("UPDATE jobs SET webhook_url = 'https://hooks.example/x' WHERE id = $1")
                .bind(other)
                .execute(&world.pool)
                .await
                .expect("a webhook");
            insert_legacy_job(&world, kind, organization, &job_data(organization, id)).await;
        }
        sqlx::query(
            "UPDATE jobs SET status = 'in_progress', attempts = 1 WHERE webhook_url IS NULL",
        )
        .execute(&world.pool)
        .await
        .expect("an older worker");
        let before = dump_table(&world, "jobs j").await;
        let ids: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM jobs")
            .fetch_all(&world.pool)
            .await
            .expect("ids");
        for at in [0, 60, 3_600, 90_000] {
            world.set_clock(seconds(at)).await;
            for id in &ids {
                assert_eq!(run_job(&world, *id).await, NOTHING_TO_DO);
            }
            let swept = sweep(&world, &bus).await;
            assert_eq!(
                (&swept[ANNOUNCED], &swept["recovered"]),
                (&json!(0), &json!(0))
            );
        }
        assert_eq!(dump_table(&world, "jobs j").await, before);
        assert_eq!(bus.received(), [Value::Null; 0]);
        // They do not count as work on the agent either: the sweep ends its start.
        world
            .set_columns(id, "status = 'provisioning', updated_at = '2026-03-01'")
            .await;
        assert_eq!(sweep(&world, &bus).await["orphaned"], json!(1));
    });
}

#[test]
fn before_adoption_no_job_is_claimed_announced_recovered_or_ended() {
    run(async {
        let world = World::with_database(&suite::empty_database().await).await;
        let bus = start_bus().await;
        legacy::create(&world.pool).await;
        let migrate = world.function("db-migrate");
        migrate.invoke_ok(json!({})).await;
        // Its older worker has run for an hour, and jobs have been due as long.
        world
            .execute(
                "UPDATE jobs SET updated_at = updated_at - interval '1 hour',
                    scheduled_for = scheduled_for - interval '1 hour';
                UPDATE milady_sandboxes SET updated_at = updated_at - interval '1 hour'",
            )
            .await;
        let before = (
            dump_table(&world, "jobs j").await,
            dump_agents(&world).await,
        );
        let ids: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM jobs ORDER BY id")
            .fetch_all(&world.pool)
            .await
            .expect("ids");
        for id in &ids {
            assert_eq!(run_job(&world, *id).await, "not adopted");
        }
        let swept = sweep(&world, &bus).await;
        for count in [ANNOUNCED, "recovered", "orphaned", "stops", "published"] {
            assert_eq!(swept[count], json!(0), "{count}");
        }
        assert_eq!(
            (
                dump_table(&world, "jobs j").await,
                dump_agents(&world).await
            ),
            before
        );
        assert_eq!(bus.received(), [Value::Null; 0]);

        migrate.invoke_ok(json!({"adopt": true})).await;
        // Its hosts are registered and cannot be reached.
        world
            .execute(
                "INSERT INTO docker_nodes (node_id, hostname, ssh_port)
                SELECT DISTINCT node_id, '127.0.0.1', 9 FROM milady_sandboxes
                WHERE node_id IS NOT NULL",
            )
            .await;
        let swept = sweep(&world, &bus).await;
        // Two starts and two stops were due, and as many had lost their worker. Three suspended agents may have a
        // container and have no job. Ten agents name a container, and have failed or have no start job.
        assert_eq!(
            (&swept["recovered"], &swept["stops"]),
            (&json!(4), &json!(13))
        );
        // Not all of them are announced at once: an organization and a host have only so many stops at a time.
        let mut outcomes = Vec::new();
        loop {
            let announced = announced_jobs(&bus);
            if announced.len() == outcomes.len() {
                break;
            }
            for id in &announced[outcomes.len()..] {
                outcomes.push(run_job(&world, *id).await);
            }
            sweep(&world, &bus).await;
        }
        outcomes.sort();
        assert_eq!(
            outcomes,
            [[RETRIED; 13].as_slice(), &["failed"; 4]].concat()
        );
        let malformed = "SELECT count(*) FROM jobs WHERE error = 'The job is malformed'";
        assert_eq!(world.count(malformed).await, 4);
    });
}

#[test]
fn due_times_do_not_depend_on_the_sessions_time_zone() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = tenant_with_agent(&world).await;
        world
            .set_clock(seconds(0) + TimeDelta::milliseconds(1))
            .await;
        let start = provision(&world, &key, id).await;
        // The columns of this table have no time zone. Their values are UTC for every session.
        world
            .execute(
                "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = ''Asia/Tokyo''',
                    current_database()); END $$",
            )
            .await;
        let worker = world.function("job-run").start().await;
        assert_eq!(super::run_job_on(&worker, start).await, RETRIED);
        let row = job(&world, start).await;
        let due = seconds(30) + TimeDelta::milliseconds(1);
        assert_eq!(row.scheduled_for, due);
    });
}
