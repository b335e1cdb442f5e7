//! What another application's deletions leave outside: containers, volumes and databases are removed from tombstones.

use std::time::Duration;

use chrono::TimeDelta;
use dev::runtime::Outcome;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tests::suite::Request;
use tests::{Lab, World, run, wait_until};
use uuid::Uuid;

/// Handles the event of an agent's tombstone and returns the outcome.
async fn tear_down(lab: &Lab, agent: Uuid) -> String {
    let event = json!({"detail-type": "tombstone.due", "detail": {"agentId": agent}});
    let response = lab.world.function("job-run").invoke_ok(event).await;
    response["outcome"].as_str().expect("an outcome").to_owned()
}

async fn tombstones(lab: &Lab) -> i64 {
    lab.world
        .count("SELECT count(*) FROM cloud.tombstones")
        .await
}

#[test]
fn f44_what_deleted_users_and_organizations_leave_is_removed() {
    run(async {
        for deletion in [
            "DELETE FROM organizations",
            "DELETE FROM users",
            "DELETE FROM milady_sandboxes",
        ] {
            let Some(lab) = Lab::live(1).await else {
                return;
            };
            let running = lab.running_agent_live(json!({})).await;
            let stopped = lab.running_agent_live(json!({})).await;
            let path = tests::calls::agent_path(stopped, "/suspend");
            lab.world.post(&lab.api_key, &path).await;
            wait_until("the agent is stopped", async || {
                lab.placement(stopped).await["status"] == json!("stopped")
            })
            .await;
            sqlx::raw_sql(AssertSqlSafe(deletion))
                .execute(&lab.world.pool)
                .await
                .expect(deletion);
            assert_eq!(lab.containers(running).await, [1], "{deletion}");
            assert_eq!(lab.volumes(stopped).await, [1], "{deletion}");
            assert_eq!(tombstones(&lab).await, 2, "{deletion}");
            lab.sweep().await;
            wait_until("the tombstones are worked off", async || {
                tombstones(&lab).await == 0
            })
            .await;
            lab.assert_gone(running, deletion).await;
            lab.assert_gone(stopped, deletion).await;
        }
    });
}

#[test]
fn f44_a_deletion_of_ours_leaves_no_tombstone() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let agent = lab.running_agent(json!({})).await;
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;
        assert_eq!(tombstones(&lab).await, 0);
    });
}

#[test]
fn f44_a_tombstone_stays_until_its_host_answers() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let agent = lab.running_agent(json!({})).await;
        lab.world.execute("DELETE FROM organizations").await;
        lab.hosts[0].sshd.stop().expect("the host is away");
        assert_eq!(tear_down(&lab, agent).await, "again");
        // What does not need the host is gone.
        assert!(!lab.has_database(agent).await);
        let left: (bool, i32, bool) = sqlx::query_as(
            "SELECT holds_slot, attempts, error IS NOT NULL AND due_at > billing_clock() FROM tombstones",
        )
        .fetch_one(&lab.world.pool)
        .await
        .expect("the tombstone");
        assert_eq!(left, (true, 1, true));
        // A recount keeps the slot of a container that is not removed yet.
        let mut tx = lab.world.database.begin().await.expect("a transaction");
        let whole_fleet = shared::domain::fleet::Shard::default();
        let corrections = shared::db::hosts::slots::slots_reconcile(&mut tx, &whole_fleet);
        assert_eq!(corrections.await.expect("a recount"), []);
        drop(tx);
        assert_eq!(tear_down(&lab, agent).await, "nothing");
        lab.hosts[0].sshd.restart().await.expect("it is back");
        lab.advance_clock(TimeDelta::seconds(31)).await;
        assert_eq!(tear_down(&lab, agent).await, "completed");
        lab.assert_gone(agent, "the host is back").await;
        assert_eq!(tear_down(&lab, agent).await, "nothing");
    });
}

#[test]
fn f44_a_host_that_was_given_back_and_a_foreign_database_keep_no_tombstone() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let organization = lab.organization;
        let agent = lab.world.agent(organization, "running").await;
        lab.world
            .set_columns(
                agent,
                "node_id = 'given back', container_name = 'milady', former_nodes = '{n1,away}',
                database_uri = 'postgres://u@db.example/theirs', database_status = 'ready'",
            )
            .await;
        lab.world.execute("DELETE FROM organizations").await;
        let has_database = "SELECT count(*) FROM cloud.tombstones WHERE has_database";
        assert_eq!(lab.world.count(has_database).await, 0);
        assert_eq!(tear_down(&lab, agent).await, "completed");
        assert_eq!(tombstones(&lab).await, 0);
    });
}

#[test]
fn f44_whatever_is_left_outside_leaves_a_tombstone() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        for (columns, has_database, holds_slot) in [
            ("node_id = 'n1'", false, false),
            ("node_id = 'n1', container_name = 'c'", false, true),
            ("former_nodes = '{n2}'", false, false),
            ("database_status = 'provisioning'", true, false),
            ("database_status = 'error'", true, false),
            (
                "database_uri = 'postgres://db.example/theirs'",
                false,
                false,
            ),
            (
                "database_uri = 'postgres://db.example/agent_' || replace(id::text, '-', '')",
                true,
                false,
            ),
            ("neon_project_id = 'project'", true, false),
        ] {
            let agent = world.agent(organization, "running").await;
            world.set_columns(agent, columns).await;
            world.delete(agent).await;
            let left: Vec<(bool, bool)> = sqlx::query_as(
                "SELECT has_database, holds_slot FROM tombstones WHERE agent_id = $1",
            )
            .bind(agent)
            .fetch_all(&world.pool)
            .await
            .expect("tombstones");
            assert_eq!(left, [(has_database, holds_slot)], "{columns}");
        }
        let nothing = world.agent(organization, "pending").await;
        world.delete(nothing).await;
        let left = "SELECT count(*) FROM tombstones";
        assert_eq!(world.count(left).await, 8);
        // What cannot be read is left out. TRUNCATE calls no trigger of a row.
        let odd = world.agent(organization, "running").await;
        world
            .set_columns(odd, "node_id = 'n1', former_nodes = ARRAY['n2', NULL]")
            .await;
        world.execute("TRUNCATE organizations CASCADE").await;
        let nodes: Vec<String> =
            sqlx::query_scalar("SELECT former_nodes FROM tombstones WHERE agent_id = $1")
                .bind(odd)
                .fetch_one(&world.pool)
                .await
                .expect("a tombstone");
        assert_eq!(nodes, ["n2"]);
        let open = "SELECT count(*) FROM usage_spans WHERE ended_at IS NULL";
        assert_eq!(world.count(open).await, 0);
    });
}

#[test]
fn f44_an_agent_that_was_restored_and_is_deleted_again_loses_nothing_of_its_first_tombstone() {
    run(async {
        let world = World::new().await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;
        world
            .set_columns(
                agent,
                "node_id = 'n1', container_name = 'c', neon_project_id = 'project'",
            )
            .await;
        world
            .execute(
                "CREATE TABLE kept AS SELECT * FROM milady_sandboxes; DELETE FROM milady_sandboxes;
                INSERT INTO milady_sandboxes SELECT * FROM kept;
                UPDATE milady_sandboxes SET node_id = 'n2', former_nodes = '{n3}', neon_project_id = NULL;
                DELETE FROM milady_sandboxes",
            )
            .await;
        let left: (String, Vec<String>, String, bool, i32) = sqlx::query_as(
            "SELECT node_id, former_nodes, neon_project_id, has_database, attempts FROM tombstones",
        )
        .fetch_one(&world.pool)
        .await
        .expect("a tombstone");
        let former = vec!["n3".to_owned(), "n1".to_owned()];
        assert_eq!(
            left,
            ("n2".to_owned(), former, "project".to_owned(), true, 1)
        );
    });
}

#[test]
fn f44_a_host_with_tombstones_is_not_removed() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        world.make_admin(organization, "super_admin").await;
        world
            .execute("INSERT INTO docker_nodes (node_id, hostname) VALUES ('n1', '127.0.0.1')")
            .await;
        let agent = world.agent(organization, "running").await;
        world.set_columns(agent, "former_nodes = '{n1}'").await;
        world.delete(agent).await;
        let remove = || Request::new("DELETE", "/api/v1/admin/docker-nodes/n1").key(&key);
        assert_eq!(world.call(remove()).await.status(), 409);
        world.execute("DELETE FROM tombstones").await;
        assert_eq!(world.call(remove()).await.status(), 200);
    });
}

#[test]
fn f44_a_worker_that_dies_before_or_after_a_removal_is_followed_by_another() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        lab.world
            .execute(
                "CREATE FUNCTION test_stop() RETURNS trigger LANGUAGE plpgsql
                    SECURITY DEFINER SET search_path = public AS $$ BEGIN
                    PERFORM pg_advisory_xact_lock(78);
                    RETURN coalesce(NEW, OLD); END $$",
            )
            .await;
        for point in [
            // Claimed, nothing is removed.
            "UPDATE OF attempts",
            // The container is removed.
            "UPDATE OF holds_slot",
            // All is removed.
            "DELETE",
        ] {
            let agent = lab.running_agent(json!({})).await;
            let trigger = format!(
                "DELETE FROM milady_sandboxes;
                CREATE TRIGGER test_stop BEFORE {point} ON cloud.tombstones
                FOR EACH ROW EXECUTE FUNCTION test_stop()"
            );
            sqlx::raw_sql(AssertSqlSafe(trigger))
                .execute(&lab.world.pool)
                .await
                .expect(point);
            let mut holder = PgConnection::connect(&lab.world.url)
                .await
                .expect("a session");
            sqlx::query("SELECT pg_advisory_lock(78)")
                .execute(&mut holder)
                .await
                .expect("the lock");
            let instance = lab.world.function("job-run").start().await;
            let event = json!({"detail-type": "tombstone.due", "detail": {"agentId": agent}});
            let (outcome, ()) =
                tokio::join!(instance.invoke(event, Duration::from_mins(1)), async {
                    lab.world.wait_until_a_session_is_blocked().await;
                    instance.kill().await;
                    // Its last statement must not run after its death.
                    lab.world
                        .execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE datname = current_database() AND wait_event = 'advisory'",
                        )
                        .await;
                });
            assert!(
                matches!(outcome, Outcome::Crashed { .. }),
                "{point}: {outcome:?}"
            );
            holder.close().await.expect("the lock is free");
            lab.world
                .execute("DROP TRIGGER test_stop ON cloud.tombstones")
                .await;
            assert_eq!(tombstones(&lab).await, 1, "{point}");
            lab.advance_clock(TimeDelta::minutes(17)).await;
            assert_eq!(tear_down(&lab, agent).await, "completed", "{point}");
            lab.assert_gone(agent, point).await;
            assert_eq!(tombstones(&lab).await, 0, "{point}");
        }
    });
}

#[test]
fn f44_two_workers_of_one_tombstone_remove_what_is_left_once() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let agent = lab.running_agent(json!({})).await;
        lab.world.execute("DELETE FROM organizations").await;
        let (first, second) = tokio::join!(tear_down(&lab, agent), tear_down(&lab, agent));
        let mut outcomes = [first, second];
        outcomes.sort();
        assert_eq!(outcomes, ["completed", "nothing"]);
        lab.assert_gone(agent, "deleted").await;
    });
}

#[test]
fn f44_an_agent_that_exists_again_keeps_what_it_has() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let agent = lab.running_agent(json!({})).await;
        lab.world
            .execute(
                "CREATE TABLE kept AS SELECT * FROM milady_sandboxes; DELETE FROM milady_sandboxes;
                INSERT INTO milady_sandboxes SELECT * FROM kept",
            )
            .await;
        assert_eq!(tear_down(&lab, agent).await, "lost");
        assert_eq!(lab.containers(agent).await, [1]);
        assert!(lab.has_database(agent).await);
        assert_eq!(tombstones(&lab).await, 0);
        lab.bridge_result(agent, "status.get", json!({})).await;
    });
}

#[test]
fn f44_what_a_start_creates_after_the_deletion_is_removed_too() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let agent = lab.running_agent(json!({})).await;
        lab.world
            .execute(
                "UPDATE milady_sandboxes SET status = 'provisioning'; DELETE FROM milady_sandboxes",
            )
            .await;
        // A worker that had begun to start the agent may create its container after this.
        assert_eq!(tear_down(&lab, agent).await, "again");
        assert_eq!(
            (lab.containers(agent).await, tombstones(&lab).await),
            (vec![0], 1)
        );
        lab.hosts[0]
            .engine
            .call(
                "POST",
                &format!("/volumes/create?name=milady-{agent}"),
                Some(&json!({"Name": format!("milady-{agent}")})),
            )
            .await
            .expect("a volume");
        lab.advance_clock(TimeDelta::minutes(6)).await;
        assert_eq!(tear_down(&lab, agent).await, "completed");
        lab.assert_gone(agent, "later").await;
        assert_eq!(tombstones(&lab).await, 0);
    });
}
