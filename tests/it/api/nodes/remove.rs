//! `DELETE /api/v1/admin/docker-nodes/{nodeId}`

use expect_test::expect;
use serde_json::{Value, json};
use shared::db::hosts::slots::slot_take;
use tests::{World, check, run};

use super::{agent_with, audit_entries, host_rows, register_closed_host, remove, status_and_error};

#[test]
fn a_host_without_agents_is_removed() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
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
        assert_eq!(host_rows(&world).await, Vec::<Value>::new());
        assert_eq!(
            audit_entries(&world).await,
            [json!({"action": "node.remove", "subject": "n1", "details": {}, "result": "removed"})]
        );
        let repeated = remove(&world, &key, "n1").await;
        assert_eq!(
            status_and_error(&repeated),
            (404, "Node not found".to_owned())
        );
        assert_eq!(audit_entries(&world).await.len(), 1);
    });
}

const CONTAINER: &str = "node_id = 'n1', container_name = 'c'";

#[test]
fn a_host_with_a_container_cannot_be_removed() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        let organization = world.organization("10").await;
        for (status, columns) in [
            ("running", CONTAINER),
            ("provisioning", CONTAINER),
            ("disconnected", CONTAINER),
            // A failed start may have left a container behind.
            ("error", CONTAINER),
            // An older web app did not write the container's name.
            ("running", "node_id = 'n1'"),
        ] {
            let agent = agent_with(&world, organization, status, columns).await;
            let refused = remove(&world, &key, "n1").await;
            let sentence = "Cannot remove node 'n1': 1 agent(s) run there or may have a container there. \
                Drain it first, or have them suspended or deleted; if the host is lost for good, declare it lost first.";
            assert_eq!(
                status_and_error(&refused),
                (409, sentence.to_owned()),
                "{status}"
            );
            world.delete(agent).await;
            world.execute("DELETE FROM tombstones").await;
        }
        agent_with(&world, organization, "running", CONTAINER).await;
        agent_with(
            &world,
            organization,
            "error",
            "node_id = 'n1', container_name = 'd', unsaved_since = billing_clock()",
        )
        .await;
        let (_, error) = status_and_error(&remove(&world, &key, "n1").await);
        assert!(error.contains(": 2 agent(s)"), "{error}");
        assert_eq!(host_rows(&world).await.len(), 1);
        assert_eq!(audit_entries(&world).await, Vec::<Value>::new());
    });
}

#[test]
fn a_host_with_the_only_copy_of_a_state_cannot_be_removed() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        let organization = world.organization("10").await;
        let unsaved = "node_id = 'n1', unsaved_since = billing_clock()";
        agent_with(&world, organization, "stopped", unsaved).await;
        agent_with(&world, organization, "error", unsaved).await;
        let refused = remove(&world, &key, "n1").await;
        let sentence = "Cannot remove node 'n1': it holds the only copy of the state of 2 stopped \
            agent(s). Their owners must start and suspend them again, which saves the state, restore a backup, \
            or delete them first.";
        assert_eq!(status_and_error(&refused), (409, sentence.to_owned()));
        world
            .execute("UPDATE milady_sandboxes SET unsaved_since = NULL")
            .await;
        assert_eq!(remove(&world, &key, "n1").await.status(), 200);
    });
}

#[test]
fn agents_that_are_saved_or_on_other_hosts_do_not_prevent_removal() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        let organization = world.organization("10").await;
        let stopped = agent_with(&world, organization, "stopped", "node_id = 'n1'").await;
        // An older web app did not clear the container's name.
        agent_with(
            &world,
            organization,
            "stopped",
            "node_id = 'n1', container_name = 'c'",
        )
        .await;
        agent_with(&world, organization, "pending", "node_id = 'n1'").await;
        agent_with(&world, organization, "error", "node_id = 'n1'").await;
        agent_with(
            &world,
            organization,
            "running",
            "node_id = 'n2', container_name = 'd', former_nodes = '{n1}'",
        )
        .await;
        assert_eq!(remove(&world, &key, "n1").await.status(), 200);
        // Its row still names the host: the next start restores its backup on another host.
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
fn f17_a_host_on_which_an_agent_is_being_placed_cannot_be_removed() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "provisioning").await;
        let mut placing = world.database.begin().await.expect("begin");
        assert!(slot_take(&mut placing, "n1").await.expect("a slot"));
        let removing = remove(&world, &key, "n1");
        let going_on = async {
            world.wait_until_a_session_is_blocked().await;
            sqlx::query(
                "UPDATE public.milady_sandboxes SET node_id = 'n1', container_name = 'c' WHERE id = $1",
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
        world.execute("DELETE FROM tombstones").await;
        assert_eq!(remove(&world, &key, "n1").await.status(), 200);
        let mut conn = world.database.statements();
        assert!(!slot_take(&mut conn, "n1").await.expect("an answer"));
    });
}
