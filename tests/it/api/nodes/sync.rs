//! `POST /api/v1/admin/docker-nodes/sync`

use std::time::Duration;

use expect_test::expect;
use serde_json::{Value, json};
use shared::app::node::sync::node_sync;
use shared::db;
use tests::suite::Response;
use tests::{World, check, run};
use uuid::Uuid;

use super::{NODES, agent_on, closed_host, logged, operator, stored};

async fn sync(world: &World, key: &str) -> Response {
    world.post(key, &format!("{NODES}/sync")).await
}

/// What each host's count says, and how many rows hold a slot of it.
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
fn counts_are_set_to_the_rows_that_hold_a_slot() {
    run(async {
        let world = World::new().await;
        let key = operator(&world).await;
        world
            .execute(
                "INSERT INTO docker_nodes (node_id, hostname, allocated_count, enabled) VALUES
                ('full', 'h', 0, true), ('gone', 'h', 7, false), ('right', 'h', 1, true)",
            )
            .await;
        let organization = world.organization("10").await;
        for status in ["running", "provisioning", "disconnected", "error"] {
            agent_on(
                &world,
                organization,
                status,
                "node_id = 'full', container_name = 'c' || id",
            )
            .await;
        }
        // None of these has a slot: a volume, what an older web app stopped, what was never placed.
        agent_on(&world, organization, "stopped", "node_id = 'full'").await;
        agent_on(
            &world,
            organization,
            "stopped",
            "node_id = 'full', container_name = 'd'",
        )
        .await;
        agent_on(&world, organization, "running", "node_id = 'full'").await;
        agent_on(&world, organization, "running", "container_name = 'e'").await;
        agent_on(
            &world,
            organization,
            "running",
            "node_id = 'right', container_name = 'f'",
        )
        .await;
        agent_on(
            &world,
            organization,
            "running",
            "node_id = 'unknown', container_name = 'g'",
        )
        .await;
        let before = stored(&world).await;
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
        let after: Vec<Value> = stored(&world).await;
        let taken: Vec<&Value> = after.iter().map(|row| &row["allocated_count"]).collect();
        assert_eq!(taken, [&json!(4), &json!(0), &json!(1)]);
        assert_eq!(after[2], before[2], "what was right is not written");
        assert_eq!(
            logged(&world).await,
            [
                json!({"action": "node.sync", "subject": "all", "result": "synced", "details": {
                "full": {"before": 0, "after": 4}, "gone": {"before": 7, "after": 0}}})
            ]
        );
        let again = sync(&world, &key).await.json();
        assert_eq!(
            (&again["data"]["nodesChanged"], &again["data"]["changes"]),
            (&json!(0), &json!({}))
        );
        assert_eq!(logged(&world).await.len(), 2);
    });
}

#[test]
fn f17_a_slot_that_is_taken_or_freed_meanwhile_is_counted_once() {
    run(async {
        let world = World::new().await;
        let key = operator(&world).await;
        closed_host(&world).await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;

        let mut taking = world.pool.begin().await.expect("begin");
        assert!(
            db::hosts::slots::slot_take(&mut taking, "n1")
                .await
                .expect("a slot")
        );
        let going_on = async {
            world.until_somebody_waits().await;
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

        // The row names no container any more, and the slot is about to be freed.
        let mut freeing = world.pool.begin().await.expect("begin");
        sqlx::query("UPDATE milady_sandboxes SET container_name = NULL WHERE id = $1")
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

async fn place(conn: &mut sqlx::PgConnection, agent: Uuid) {
    sqlx::query(
        "UPDATE milady_sandboxes SET node_id = 'n1', container_name = 'c' || id WHERE id = $1",
    )
    .bind(agent)
    .execute(conn)
    .await
    .expect("a place");
}

/// Takes a slot and gives it back, over and over, each in a transaction that takes its time, as jobs do.
async fn come_and_go(world: &World, agent: Uuid, rounds: u32) {
    for round in 0..rounds {
        let wait = Duration::from_micros(u64::from((round * 7 + agent.as_fields().0) % 5) * 300);
        let mut tx = world.pool.begin().await.expect("begin");
        if db::hosts::slots::slot_take(&mut tx, "n1")
            .await
            .expect("an answer")
        {
            tokio::time::sleep(wait).await;
            place(&mut tx, agent).await;
            tokio::time::sleep(wait).await;
        }
        // Every third start fails half way.
        if round % 3 == 2 {
            tx.rollback().await.expect("rollback");
            continue;
        }
        tx.commit().await.expect("commit");
        if round + 1 == rounds {
            return;
        }
        let mut tx = world.pool.begin().await.expect("begin");
        let held = sqlx::query(
            "UPDATE milady_sandboxes SET container_name = NULL
            WHERE id = $1 AND container_name IS NOT NULL",
        )
        .bind(agent)
        .execute(&mut *tx)
        .await
        .expect("a row");
        tokio::time::sleep(wait).await;
        if held.rows_affected() == 1 {
            db::hosts::slots::slot_free(&mut tx, "n1").await.expect("freed");
        }
        tx.commit().await.expect("commit");
    }
}

#[test]
fn f17_a_wrong_count_is_mended_while_agents_come_and_go() {
    run(async {
        let world = World::new().await;
        closed_host(&world).await;
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
            let coming = agents.iter().map(|agent| come_and_go(&world, *agent, 5));
            let coming = futures_util::future::join_all(coming);
            let counting = async {
                tokio::time::sleep(Duration::from_micros(500 * (round % 10))).await;
                let synced = node_sync(&world.pool, Uuid::nil()).await;
                synced.expect("counted").changes.len()
            };
            let (_, mended) = tokio::join!(coming, counting);
            assert_eq!(mended, 1);
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
