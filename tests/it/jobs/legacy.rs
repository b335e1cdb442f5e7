//! Rows that others wrote: an older web app's jobs, malformed ones, jobs of other kinds, and an
//! existing deployment whose older worker may still run.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::{World, run, suite};
use uuid::Uuid;

use super::{
    NO_HOST, ORGANIZATIONS, STALE, agent, bus, fresh, in_error, job, kill_worker, provision,
    run_job, seconds, set_balance, sweep, told,
};

/// A job as an older web app writes it: it names its agent only in its data.
async fn older_job(world: &World, kind: &str, organization: Uuid, data: &Value) -> Uuid {
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

fn data(organization: Uuid, agent: Uuid) -> Value {
    json!({
        "agentId": agent, "organizationId": organization, "userId": Uuid::nil(),
        "agentName": "agent",
    })
}

#[test]
fn an_older_web_apps_start_runs_like_our_own() {
    run(async {
        let (world, bus) = (World::new().await, bus().await);
        let (organization, key, id) = fresh(&world).await;
        let start = older_job(
            &world,
            "milady_provision",
            organization,
            &data(organization, id),
        )
        .await;
        assert_eq!(sweep(&world, &bus).await["told"], json!(1));
        assert_eq!(told(&bus), [start]);
        for (at, done) in [(0, "again"), (30, "again"), (150, "failed")] {
            world.at(seconds(at)).await;
            assert_eq!(run_job(&world, start).await, done);
            // From now on it is known which agent it is about.
            assert_eq!(job(&world, start).await.agent_id, Some(id));
            let answer = world.post(&key, &agent_path(id, "/provision")).await;
            let expected = if done == "again" { 409 } else { 202 };
            assert_eq!(answer.status(), expected);
        }
        assert_eq!(agent(&world, id).await, in_error(NO_HOST));
    });
}

#[test]
fn an_older_web_apps_worker_that_died_is_recovered_too() {
    run(async {
        let world = World::new().await;
        let (organization, _, id) = fresh(&world).await;
        let start = older_job(
            &world,
            "milady_provision",
            organization,
            &data(organization, id),
        )
        .await;
        world
            .execute("UPDATE jobs SET status = 'in_progress', attempts = 3")
            .await;
        world.set(id, "status = 'provisioning'").await;
        world.at(seconds(301)).await;
        assert_eq!(sweep(&world, &bus().await).await["recovered"], json!(1));
        assert_eq!(job(&world, start).await.state(), ("failed", 3, Some(STALE)));
        assert_eq!(agent(&world, id).await, in_error(STALE));
    });
}

#[test]
fn the_gate_stands_before_an_older_web_apps_start_too() {
    run(async {
        let world = World::new().await;
        for kind in ["milady_provision", "milady_restore"] {
            let (organization, _, id) = fresh(&world).await;
            let start = older_job(&world, kind, organization, &data(organization, id)).await;
            set_balance(&world, organization, "4.99").await;
            assert_eq!(run_job(&world, start).await, "failed");
            let said = "Insufficient credits: $5 required, $4.99 available";
            assert_eq!(job(&world, start).await.state(), ("failed", 1, Some(said)));
            assert_eq!(agent(&world, id).await, ("pending".to_owned(), None));
            world.at(seconds(3_600)).await;
            assert_eq!(run_job(&world, start).await, "nothing");
            world.at(seconds(0)).await;
        }
    });
}

#[test]
fn of_two_starts_for_one_agent_the_second_ends_with_a_sentence() {
    run(async {
        let world = World::new().await;
        let (organization, key, id) = fresh(&world).await;
        let data = data(organization, id);
        let theirs = older_job(&world, "milady_provision", organization, &data).await;
        let theirs_too = older_job(&world, "milady_restore", organization, &data).await;
        assert_eq!(run_job(&world, theirs).await, "again");
        assert_eq!(run_job(&world, theirs_too).await, "failed");
        let said = "Another job does this already";
        assert_eq!(
            job(&world, theirs_too).await.state(),
            ("failed", 1, Some(said))
        );
        assert_eq!(job(&world, theirs).await.state().0, "pending");
        assert_eq!(agent(&world, id).await, ("provisioning".to_owned(), None));
        // Neither is a start of ours in the way of a stop of theirs, nor the other way round.
        world.execute("DELETE FROM jobs").await;
        world.set(id, "status = 'pending'").await;
        let ours = provision(&world, &key, id).await;
        let stop = older_job(&world, "milady_suspend", organization, &data).await;
        assert_eq!(run_job(&world, ours).await, "failed");
        assert_eq!(
            job(&world, ours).await.error.as_deref(),
            Some("Superseded by a stop")
        );
        assert_eq!(run_job(&world, stop).await, "completed");
        assert_eq!(agent(&world, id).await, ("pending".to_owned(), None));
    });
}

#[test]
fn what_cannot_be_understood_fails_with_a_sentence_and_harms_nobody() {
    run(async {
        let world = World::new().await;
        let (organization, _, mine) = fresh(&world).await;
        let (other, key, theirs) = fresh(&world).await;
        let running = world.agent(other, "running").await;
        let before = agents(&world).await;
        let malformed = "The job is malformed";
        for (kind, data, says) in [
            ("milady_provision", json!({}), malformed),
            ("milady_provision", json!([]), malformed),
            ("milady_provision", json!(null), malformed),
            ("milady_provision", json!({"agentId": null}), malformed),
            ("milady_provision", json!({"agentId": 7}), malformed),
            ("milady_provision", json!({"agentId": ""}), malformed),
            (
                "milady_provision",
                json!({"agentId": {"id": mine}}),
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
                data(organization, theirs),
                "Agent not found",
            ),
            ("milady_restore", data(other, theirs), "Agent not found"),
            (
                "milady_provision",
                data(organization, Uuid::new_v4()),
                "Agent not found",
            ),
        ] {
            let wrong = older_job(&world, kind, organization, &data).await;
            assert_eq!(run_job(&world, wrong).await, "failed", "{kind} {data}");
            let row = job(&world, wrong).await;
            assert_eq!(row.state(), ("failed", 1, Some(says)), "{kind} {data}");
        }
        // A stop of somebody else's agent finds nothing of its own to stop.
        for kind in ["milady_suspend", "milady_delete"] {
            let wrong = older_job(&world, kind, organization, &data(other, running)).await;
            assert_eq!(run_job(&world, wrong).await, "completed");
        }
        assert_eq!(agents(&world).await, before);
        // Nothing of it stands in the owner's way.
        provision(&world, &key, theirs).await;
        let answer = world.post(&key, &agent_path(running, "/suspend")).await;
        assert_eq!(answer.status(), 202);
    });
}

#[test]
fn a_job_for_somebody_elses_agent_is_not_in_its_owners_way() {
    run(async {
        let world = World::new().await;
        let (organization, _, _) = fresh(&world).await;
        let (other, key, theirs) = fresh(&world).await;
        let wrong = older_job(
            &world,
            "milady_provision",
            organization,
            &data(other, theirs),
        )
        .await;
        // Its worker dies before it has seen whose agent it is.
        kill_worker(&world, wrong, ORGANIZATIONS).await;
        let start = provision(&world, &key, theirs).await;
        assert_eq!(run_job(&world, start).await, "again");
    });
}

/// All agents, every column.
async fn agents(world: &World) -> String {
    all(world, "milady_sandboxes a").await
}

async fn all(world: &World, table: &'static str) -> String {
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
        let (world, bus) = (World::new().await, bus().await);
        let (organization, _, id) = fresh(&world).await;
        for kind in [
            "video_generation",
            "milady",
            "milady_provision ",
            "agent.provision",
        ] {
            let other = older_job(&world, kind, organization, &data(organization, id)).await;
            sqlx::query("UPDATE jobs SET webhook_url = 'https://hooks.example/x' WHERE id = $1")
                .bind(other)
                .execute(&world.pool)
                .await
                .expect("a webhook");
            older_job(&world, kind, organization, &data(organization, id)).await;
        }
        sqlx::query(
            "UPDATE jobs SET status = 'in_progress', attempts = 1 WHERE webhook_url IS NULL",
        )
        .execute(&world.pool)
        .await
        .expect("an older worker");
        let before = all(&world, "jobs j").await;
        let ids: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM jobs")
            .fetch_all(&world.pool)
            .await
            .expect("ids");
        for at in [0, 60, 3_600, 90_000] {
            world.at(seconds(at)).await;
            for id in &ids {
                assert_eq!(run_job(&world, *id).await, "nothing");
            }
            let swept = sweep(&world, &bus).await;
            assert_eq!(
                (&swept["told"], &swept["recovered"]),
                (&json!(0), &json!(0))
            );
        }
        assert_eq!(all(&world, "jobs j").await, before);
        assert_eq!(bus.received(), [Value::Null; 0]);
        // They are no work on the agent either: one that nobody starts is not left in provisioning.
        world
            .set(id, "status = 'provisioning', updated_at = '2026-03-01'")
            .await;
        assert_eq!(sweep(&world, &bus).await["orphaned"], json!(1));
    });
}

#[test]
fn before_an_existing_deployment_is_adopted_nothing_is_claimed_told_recovered_or_ended() {
    run(async {
        let world = World::on(&suite::empty_database().await).await;
        let bus = bus().await;
        world.execute(include_str!("../../legacy.sql")).await;
        let migrate = world.function("db-migrate");
        migrate.invoke_ok(json!({})).await;
        // Its older worker has been at work for an hour, and jobs have been due as long.
        world
            .execute(
                "UPDATE jobs SET updated_at = updated_at - interval '1 hour',
                    scheduled_for = scheduled_for - interval '1 hour';
                UPDATE milady_sandboxes SET updated_at = updated_at - interval '1 hour'",
            )
            .await;
        let before = (all(&world, "jobs j").await, agents(&world).await);
        let ids: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM jobs ORDER BY id")
            .fetch_all(&world.pool)
            .await
            .expect("ids");
        for id in &ids {
            assert_eq!(run_job(&world, *id).await, "not adopted");
        }
        let swept = sweep(&world, &bus).await;
        for count in ["told", "recovered", "orphaned", "stops", "published"] {
            assert_eq!(swept[count], json!(0), "{count}");
        }
        assert_eq!((all(&world, "jobs j").await, agents(&world).await), before);
        assert_eq!(bus.received(), [Value::Null; 0]);

        migrate.invoke_ok(json!({"adopt": true})).await;
        // Its hosts are there, and cannot be reached.
        world
            .execute(
                "INSERT INTO docker_nodes (node_id, hostname, ssh_port)
                SELECT DISTINCT node_id, '127.0.0.1', 9 FROM milady_sandboxes
                WHERE node_id IS NOT NULL",
            )
            .await;
        let swept = sweep(&world, &bus).await;
        // Two starts and two stops were due, and as many had lost their worker. Three suspended
        // agents may have a container and no job, and ten name one that failed or that nobody starts
        // any more.
        assert_eq!(
            (&swept["recovered"], &swept["stops"], &swept["told"]),
            (&json!(4), &json!(13), &json!(17))
        );
        let mut done = Vec::new();
        for id in told(&bus) {
            done.push(run_job(&world, id).await);
        }
        done.sort();
        assert_eq!(done, [["again"; 13].as_slice(), &["failed"; 4]].concat());
        let malformed = "SELECT count(*) FROM jobs WHERE error = 'The job is malformed'";
        assert_eq!(world.count(malformed).await, 4);
    });
}

#[test]
fn a_job_that_is_due_now_is_due_whatever_the_time_zone_of_its_session() {
    run(async {
        let world = World::new().await;
        let (_, key, id) = fresh(&world).await;
        world.at(seconds(0) + TimeDelta::milliseconds(1)).await;
        let start = provision(&world, &key, id).await;
        // The columns of this table have no zone: what is written is UTC, whoever reads it.
        world
            .execute(
                "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = ''Asia/Tokyo''',
                    current_database()); END $$",
            )
            .await;
        let worker = world.function("job-run").start().await;
        assert_eq!(super::run_on(&worker, start).await, "again");
        let row = job(&world, start).await;
        let due = seconds(30) + TimeDelta::milliseconds(1);
        assert_eq!(row.scheduled_for, due);
    });
}
