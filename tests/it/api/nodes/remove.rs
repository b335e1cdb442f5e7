//! `DELETE /api/v1/admin/docker-nodes/{nodeId}`

use expect_test::expect;
use serde_json::{Value, json};
use shared::db::hosts::slots::slot_take;
use tests::{World, check, run};

use super::{agent_on, closed_host, error, logged, operator, remove, stored};

#[test]
fn a_host_without_agents_is_removed() {
    run(async {
        let world = World::new().await;
        let key = operator(&world).await;
        closed_host(&world).await;
        check(
            &remove(&world, &key, "n1").await,
            expect![[r#"
            200 application/json
            {
              "data": {
                "deleted": true,
                "nodeId": "n1"
              },
              "success": true
            }
        "#]],
        );
        assert_eq!(stored(&world).await, Vec::<Value>::new());
        assert_eq!(
            logged(&world).await,
            [json!({"action": "node.remove", "subject": "n1", "details": {}, "result": "removed"})]
        );
        let again = remove(&world, &key, "n1").await;
        assert_eq!(error(&again), (404, "Node not found".to_owned()));
        assert_eq!(logged(&world).await.len(), 1);
    });
}

const CONTAINER: &str = "node_id = 'n1', container_name = 'c'";

#[test]
fn a_host_with_a_container_on_it_stays() {
    run(async {
        let world = World::new().await;
        let key = operator(&world).await;
        closed_host(&world).await;
        let organization = world.organization("10").await;
        for (status, columns) in [
            ("running", CONTAINER),
            ("provisioning", CONTAINER),
            ("disconnected", CONTAINER),
            // It may have left one behind.
            ("error", CONTAINER),
            // Where an older web app did not say what it is called.
            ("running", "node_id = 'n1'"),
        ] {
            let agent = agent_on(&world, organization, status, columns).await;
            let refused = remove(&world, &key, "n1").await;
            let sentence = "Cannot remove node 'n1': 1 active container(s) still running. \
                Stop or migrate them first.";
            assert_eq!(error(&refused), (409, sentence.to_owned()), "{status}");
            world.delete(agent).await;
        }
        agent_on(&world, organization, "running", CONTAINER).await;
        agent_on(
            &world,
            organization,
            "error",
            "node_id = 'n1', container_name = 'd', unsaved_since = billing_clock()",
        )
        .await;
        let (_, said) = error(&remove(&world, &key, "n1").await);
        assert!(said.contains(": 2 active container(s)"), "{said}");
        assert_eq!(stored(&world).await.len(), 1);
        assert_eq!(logged(&world).await, Vec::<Value>::new());
    });
}

#[test]
fn a_host_that_holds_the_only_copy_of_a_state_stays() {
    run(async {
        let world = World::new().await;
        let key = operator(&world).await;
        closed_host(&world).await;
        let organization = world.organization("10").await;
        let unsaved = "node_id = 'n1', unsaved_since = billing_clock()";
        agent_on(&world, organization, "stopped", unsaved).await;
        agent_on(&world, organization, "error", unsaved).await;
        let refused = remove(&world, &key, "n1").await;
        let sentence = "Cannot remove node 'n1': it holds the only copy of the state of 2 stopped \
            agent(s). Start, restore or delete them first.";
        assert_eq!(error(&refused), (409, sentence.to_owned()));
        world
            .execute("UPDATE milady_sandboxes SET unsaved_since = NULL")
            .await;
        assert_eq!(remove(&world, &key, "n1").await.status(), 200);
    });
}

#[test]
fn agents_that_are_saved_or_elsewhere_are_no_obstacle() {
    run(async {
        let world = World::new().await;
        let key = operator(&world).await;
        closed_host(&world).await;
        let organization = world.organization("10").await;
        let stopped = agent_on(&world, organization, "stopped", "node_id = 'n1'").await;
        // An older web app left the name.
        agent_on(
            &world,
            organization,
            "stopped",
            "node_id = 'n1', container_name = 'c'",
        )
        .await;
        agent_on(&world, organization, "pending", "node_id = 'n1'").await;
        agent_on(&world, organization, "error", "node_id = 'n1'").await;
        agent_on(
            &world,
            organization,
            "running",
            "node_id = 'n2', container_name = 'd', former_nodes = '{n1}'",
        )
        .await;
        assert_eq!(remove(&world, &key, "n1").await.status(), 200);
        // Its row goes on naming the host: a start takes its backup elsewhere.
        let node: Option<String> =
            sqlx::query_scalar("SELECT node_id FROM milady_sandboxes WHERE id = $1")
                .bind(stopped)
                .fetch_one(&world.pool)
                .await
                .expect("an agent");
        assert_eq!(node.as_deref(), Some("n1"));
    });
}

#[test]
fn f17_an_agent_that_is_being_placed_is_seen() {
    run(async {
        let world = World::new().await;
        let key = operator(&world).await;
        closed_host(&world).await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "provisioning").await;
        let mut placing = world.pool.begin().await.expect("begin");
        assert!(slot_take(&mut placing, "n1").await.expect("a slot"));
        let removing = remove(&world, &key, "n1");
        let going_on = async {
            world.until_somebody_waits().await;
            sqlx::query(
                "UPDATE milady_sandboxes SET node_id = 'n1', container_name = 'c' WHERE id = $1",
            )
            .bind(agent)
            .execute(&mut *placing)
            .await
            .expect("a place");
            placing.commit().await.expect("commit");
        };
        let (refused, ()) = tokio::join!(removing, going_on);
        assert_eq!(refused.status(), 409, "{refused:?}");
        world.delete(agent).await;
        assert_eq!(remove(&world, &key, "n1").await.status(), 200);
        let mut conn = world.pool.acquire().await.expect("a connection");
        assert!(!slot_take(&mut conn, "n1").await.expect("an answer"));
    });
}
