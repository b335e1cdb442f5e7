//! `POST /api/v1/admin/docker-nodes/sync`

use std::time::Duration;

use expect_test::expect;
use serde_json::{Value, json};
use shared::app::node::sync::node_sync;
use shared::db;
use shared::domain::ids::UserId;
use tests::suite::Response;
use tests::{World, check, run};
use uuid::Uuid;

use super::{NODES, agent_with, audit_entries, host_rows, register_closed_host};

async fn sync(world: &World, key: &str) -> Response {
    world.post(key, &format!("{NODES}/sync")).await
}

/// Each host's count, and the number of rows that hold a slot of it.
async fn counts(world: &World) -> Vec<(i32, i32)> {
    sqlx::query_as(
        "SELECT allocated_count, (SELECT count(*)::integer FROM milady_sandboxes a
            WHERE a.node_id = n.node_id AND container_name IS NOT NULL)
        FROM docker_nodes n ORDER BY node_id",
    )
    .fetch_all(&world.pool)
    .await
    .expect("counts")
}

#[test]
fn a_sync_sets_each_count_to_the_number_of_rows_that_hold_a_slot() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        world
            .execute(
                "INSERT INTO docker_nodes (node_id, hostname, allocated_count, enabled) VALUES
                ('full', 'h', 0, true), ('gone', 'h', 7, false), ('right', 'h', 1, true)",
            )
            .await;
        let organization = world.organization("10").await;
        for status in ["running", "provisioning", "disconnected", "error"] {
            agent_with(
                &world,
                organization,
                status,
                "node_id = 'full', container_name = 'c' || id",
            )
            .await;
        }
        // None of these holds a slot: a volume only, stopped by an older web app, never placed.
        agent_with(&world, organization, "stopped", "node_id = 'full'").await;
        agent_with(
            &world,
            organization,
            "stopped",
            "node_id = 'full', container_name = 'd'",
        )
        .await;
        agent_with(&world, organization, "running", "node_id = 'full'").await;
        agent_with(&world, organization, "running", "container_name = 'e'").await;
        agent_with(
            &world,
            organization,
            "running",
            "node_id = 'right', container_name = 'f'",
        )
        .await;
        agent_with(
            &world,
            organization,
            "running",
            "node_id = 'unknown', container_name = 'g'",
        )
        .await;
        let before = host_rows(&world).await;
        check(
            &sync(&world, &key).await,
            expect![[r#"
            200 application/json
            {
              "data": {
                "changes": {
                  "full": {
                    "after": 4,
                    "before": 0
                  },
                  "gone": {
                    "after": 0,
                    "before": 7
                  }
                },
                "nodesChanged": 2,
                "syncedAt": "2026-03-01T00:00:00.000Z"
              },
              "success": true
            }
        "#]],
        );
        let after: Vec<Value> = host_rows(&world).await;
        let taken: Vec<&Value> = after.iter().map(|row| &row["allocated_count"]).collect();
        assert_eq!(taken, [&json!(4), &json!(0), &json!(1)]);
        assert_eq!(after[2], before[2], "what was right is not written");
        assert_eq!(
            audit_entries(&world).await,
            [
                json!({"action": "node.sync", "subject": "all", "result": "synced", "details": {
                "full": {"before": 0, "after": 4}, "gone": {"before": 7, "after": 0}}})
            ]
        );
        let repeated = sync(&world, &key).await.json();
        assert_eq!(
            (
                &repeated["data"]["nodesChanged"],
                &repeated["data"]["changes"]
            ),
            (&json!(0), &json!({}))
        );
        assert_eq!(audit_entries(&world).await.len(), 2);
    });
}

#[test]
fn f17_a_slot_taken_or_freed_during_a_sync_is_counted_once() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;

        let mut taking = world.database.begin().await.expect("begin");
        assert!(
            db::hosts::slots::slot_take(&mut taking, "n1")
                .await
                .expect("a slot")
        );
        let going_on = async {
            world.wait_until_a_session_is_blocked().await;
            place(&mut taking, agent).await;
            taking.commit().await.expect("commit");
        };
        let (synced, ()) = tokio::join!(sync(&world, &key), going_on);
        assert_eq!(
            synced.json()["data"]["nodesChanged"],
            json!(0),
            "{synced:?}"
        );
        assert_eq!(counts(&world).await, [(1, 1)]);

        // The row has stopped naming its container, and the slot is not yet freed.
        let mut freeing = world.database.begin().await.expect("begin");
        sqlx::query("UPDATE public.milady_sandboxes SET container_name = NULL WHERE id = $1")
            .bind(agent)
            .execute(&mut *freeing)
            .await
            .expect("a row");
        let synced = sync(&world, &key).await;
        assert_eq!(
            synced.json()["data"]["nodesChanged"],
            json!(0),
            "{synced:?}"
        );
        db::hosts::slots::slot_free(&mut freeing, "n1")
            .await
            .expect("freed");
        freeing.commit().await.expect("commit");
        assert_eq!(counts(&world).await, [(0, 0)]);
    });
}

async fn place(conn: &mut db::Connection, agent: Uuid) {
    sqlx::query(
        "UPDATE public.milady_sandboxes SET node_id = 'n1', container_name = 'c' || id WHERE id = $1",
    )
    .bind(agent)
    .execute(conn)
    .await
    .expect("a place");
}

/// Takes and frees a slot repeatedly, each in a transaction that lasts a while, as jobs do.
async fn take_and_free_slots(world: &World, agent: Uuid, rounds: u32) {
    for round in 0..rounds {
        let wait = Duration::from_micros(u64::from((round * 7 + agent.as_fields().0) % 5) * 300);
        let mut tx = world.database.begin().await.expect("begin");
        if db::hosts::slots::slot_take(&mut tx, "n1")
            .await
            .expect("an answer")
        {
            tokio::time::sleep(wait).await;
            place(&mut tx, agent).await;
            tokio::time::sleep(wait).await;
        }
        // Every third start fails before it commits.
        if round % 3 == 2 {
            tx.rollback().await.expect("rollback");
            continue;
        }
        tx.commit().await.expect("commit");
        if round + 1 == rounds {
            return;
        }
        let mut tx = world.database.begin().await.expect("begin");
        let held = sqlx::query(
            "UPDATE public.milady_sandboxes SET container_name = NULL
            WHERE id = $1 AND container_name IS NOT NULL",
        )
        .bind(agent)
        .execute(&mut *tx)
        .await
        .expect("a row");
        tokio::time::sleep(wait).await;
        if held.rows_affected() == 1 {
            db::hosts::slots::slot_free(&mut tx, "n1")
                .await
                .expect("freed");
        }
        tx.commit().await.expect("commit");
    }
}

#[test]
fn f17_a_sync_corrects_a_wrong_count_while_slots_are_taken_and_freed() {
    run(async {
        let world = World::new().await;
        register_closed_host(&world).await;
        let organization = world.organization("10").await;
        let mut agents = Vec::new();
        for _ in 0..6 {
            agents.push(world.agent(organization, "running").await);
        }
        for round in 0..30 {
            world
                .execute(
                    "UPDATE docker_nodes SET capacity = 100, allocated_count = allocated_count + 2",
                )
                .await;
            let writers = agents
                .iter()
                .map(|agent| take_and_free_slots(&world, *agent, 5));
            let writers = futures_util::future::join_all(writers);
            let sync = async {
                // In each round at another point of the writers' transactions.
                tokio::time::sleep(Duration::from_micros(500 * (round % 10))).await;
                let synced = node_sync(&world.database, UserId::new(Uuid::nil())).await;
                synced.expect("a sync").changes.len()
            };
            let (_, corrected_hosts) = tokio::join!(writers, sync);
            assert_eq!(corrected_hosts, 1);
            let counts = counts(&world).await;
            assert_eq!(counts[0].0, counts[0].1, "round {round}");
            world
                .execute("UPDATE milady_sandboxes SET container_name = NULL")
                .await;
            world
                .execute("UPDATE docker_nodes SET allocated_count = 0")
                .await;
        }
    });
}
