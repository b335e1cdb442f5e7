//! `POST|DELETE /api/v1/admin/docker-nodes/{nodeId}/lost`

use expect_test::expect;
use serde_json::{Value, json};
use tests::suite::{Request, Response};
use tests::world::minutes;
use tests::{World, check, check_field_errors, run};

use super::{NODES, agent_with, audit_entries, host_rows, register_closed_host, remove};

async fn declare(world: &World, key: &str, node: &str, typed: &Value) -> Response {
    let path = format!("{NODES}/{node}/lost");
    world.post_json(key, &path, &json!({"nodeId": typed})).await
}

async fn restore_service(world: &World, key: &str, node: &str) -> Response {
    let request = Request::new("DELETE", &format!("{NODES}/{node}/lost"));
    world.call(request.key(key)).await
}

/// The host `n1` as it is after ten minutes of failed inspections.
async fn world_with_unread_host() -> World {
    let world = World::new().await;
    world.set_clock(minutes(0)).await;
    register_closed_host(&world).await;
    world
        .execute(
            "INSERT INTO unread_hosts VALUES ('n1', billing_clock() - interval '1 minute', billing_clock(),
                billing_clock() + interval '10 minutes')",
        )
        .await;
    world.set_clock(minutes(11)).await;
    world
}

#[test]
fn a_host_is_declared_lost_and_taken_back_into_service() {
    run(async {
        let world = world_with_unread_host().await;
        let key = world.super_admin().await;
        check(
            &declare(&world, &key, "n1", &json!("n1")).await,
            expect![[r#"
            200 application/json
            {
              "data": {
                "declaredAt": "2026-03-01T00:11:00.000Z",
                "freedAgents": 0,
                "nodeId": "n1",
                "service": "lost"
              },
              "success": true
            }
        "#]],
        );
        let repeated = declare(&world, &key, "n1", &json!("n1")).await;
        assert_eq!(
            super::status_and_error(&repeated),
            (409, "The host is declared lost already".to_owned())
        );
        let early = restore_service(&world, &key, "n1").await;
        assert_eq!(
            super::status_and_error(&early),
            (409, "The host has not answered again".to_owned())
        );
        assert_eq!(host_rows(&world).await[0]["enabled"], json!(false));
        world
            .execute("UPDATE host_withdrawals SET done_at = billing_clock()")
            .await;
        check(
            &restore_service(&world, &key, "n1").await,
            expect![[r#"
            200 application/json
            {
              "data": {
                "nodeId": "n1",
                "service": "in_service"
              },
              "success": true
            }
        "#]],
        );
        assert_eq!(host_rows(&world).await[0]["enabled"], json!(true));
        let actions = audit_entries(&world).await;
        let actions: Vec<&Value> = actions.iter().map(|entry| &entry["action"]).collect();
        assert_eq!(actions, [&json!("node.lost"), &json!("node.return")]);
    });
}

#[test]
fn an_unknown_host_another_name_and_a_host_that_is_read_are_refused() {
    run(async {
        let world = world_with_unread_host().await;
        let key = world.super_admin().await;
        for typed in [json!("n2"), json!(""), json!("N1")] {
            let refused = declare(&world, &key, "n1", &typed).await;
            let rule = "must be the name of the host";
            check_field_errors(&refused, &format!("nodeId {rule}"), &[("nodeId", rule)]);
        }
        let refused = declare(&world, &key, "n1", &Value::Null).await;
        check_field_errors(&refused, "nodeId is required", &[("nodeId", "is required")]);
        assert_eq!(
            declare(&world, &key, "n2", &json!("n2")).await.status(),
            404
        );
        assert_eq!(restore_service(&world, &key, "n2").await.status(), 404);
        let not_lost = restore_service(&world, &key, "n1").await;
        assert_eq!(
            super::status_and_error(&not_lost),
            (409, "The host is not declared lost".to_owned())
        );
        world.execute("DELETE FROM unread_hosts").await;
        let refused = declare(&world, &key, "n1", &json!("n1")).await;
        assert_eq!(
            super::status_and_error(&refused),
            (
                409,
                "The host was read by its last inspection, so it is not lost".to_owned()
            )
        );
        assert_eq!(audit_entries(&world).await, Vec::<Value>::new());
    });
}

#[test]
fn a_start_that_is_under_way_ends_before_its_agent_is_freed_and_a_lost_host_is_removed() {
    run(async {
        let world = world_with_unread_host().await;
        let key = world.super_admin().await;
        let organization = world.organization("10").await;
        let place = "node_id = 'n1', container_name = 'c'";
        let starting = agent_with(&world, organization, "provisioning", place).await;
        sqlx::query(
            "INSERT INTO jobs (type, class, organization_id, agent_id, data, status)
            VALUES ('milady_provision', 'start', $1, $2, '{}', 'in_progress')",
        )
        .bind(organization)
        .bind(starting)
        .execute(&world.pool)
        .await
        .expect("a job");
        let declared = declare(&world, &key, "n1", &json!("n1")).await;
        assert_eq!(declared.json()["data"]["freedAgents"], json!(0));
        assert_eq!(remove(&world, &key, "n1").await.status(), 409);
        let sweep = async || {
            shared::app::node::lost::lost_hosts_continue(&world.database)
                .await
                .expect("a sweep")
        };
        // If the start ends on another host, nothing else says that the copy on the lost one knows the secrets.
        let known =
            "SELECT count(*) FROM lost_agents WHERE node_id = 'n1' AND NOT database_rotated";
        assert_eq!(world.count(known).await, 1);
        // The start has made the first of them new.
        world
            .execute("UPDATE lost_agents SET database_rotated = true")
            .await;
        assert_eq!(sweep().await, 0);
        assert_eq!(world.count(known).await, 0);
        world.execute("UPDATE jobs SET status = 'failed'").await;
        assert_eq!(sweep().await, 1);
        let status: String =
            sqlx::query_scalar("SELECT status FROM milady_sandboxes WHERE id = $1")
                .bind(starting)
                .fetch_one(&world.pool)
                .await
                .expect("an agent");
        assert_eq!(status, "stopped");
        assert_eq!(remove(&world, &key, "n1").await.status(), 200);
        let left =
            "SELECT (SELECT count(*) FROM unread_hosts) + (SELECT count(*) FROM host_withdrawals)";
        assert_eq!(world.count(left).await, 0);
    });
}

#[test]
fn a_host_is_taken_back_into_service_after_its_agents_are_locked() {
    run(async {
        let world = world_with_unread_host().await;
        let key = world.super_admin().await;
        let organization = world.organization("10").await;
        let place = "node_id = 'n1', container_name = 'c'";
        agent_with(&world, organization, "running", place).await;
        let declared = declare(&world, &key, "n1", &json!("n1")).await;
        assert_eq!(declared.json()["data"]["freedAgents"], json!(1));
        world
            .execute("UPDATE host_withdrawals SET done_at = billing_clock()")
            .await;
        // Somebody holds the agent and takes the host next, as a start does.
        let mut other = world.pool.begin().await.expect("begin");
        sqlx::query("SELECT FROM milady_sandboxes FOR NO KEY UPDATE")
            .execute(&mut *other)
            .await
            .expect("the agent");
        let (returned, ()) = tokio::join!(restore_service(&world, &key, "n1"), async {
            world.wait_until_a_session_is_blocked().await;
            sqlx::query("SELECT FROM docker_nodes FOR NO KEY UPDATE NOWAIT")
                .execute(&mut *other)
                .await
                .expect("the host");
            other.rollback().await.expect("rollback");
        });
        assert_eq!(returned.status(), 200, "{returned:?}");
        let unsaved = "SELECT count(*) FROM milady_sandboxes WHERE unsaved_since IS NOT NULL";
        assert_eq!(world.count(unsaved).await, 1);
    });
}
