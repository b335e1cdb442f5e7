//! `POST /api/v1/admin/docker-containers/audit`

use serde_json::json;
use tests::suite::Request;
use tests::{World, run};

use super::super::agents::agent_on_unreachable_host;
use super::AUDIT;

#[test]
fn an_audit_without_hosts_is_empty() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let answer = world.post(&key, AUDIT).await;
        assert_eq!(answer.status(), 200);
        let expected = json!({"success": true, "data": {
            "nodesChecked": 0, "ghostContainers": [], "orphanRecords": [],
            "totalGhostContainers": 0, "totalOrphanRecords": 0, "nodes": [],
            "auditedAt": answer.json()["data"]["auditedAt"],
        }});
        assert_eq!(answer.json(), expected);
    });
}

#[test]
fn f19_nothing_is_missing_on_a_host_that_was_not_read_and_disabled_hosts_are_not_read() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("5").await;
        agent_on_unreachable_host(&world, organization).await;
        world
            .execute(
                "INSERT INTO docker_nodes (node_id, hostname, ssh_port, enabled)
                VALUES ('off', '127.0.0.1', 9, false)",
            )
            .await;
        // Its host was removed.
        let agent_on_removed_host = world.agent(organization, "running").await;
        world
            .set_columns(
                agent_on_removed_host,
                "node_id = 'gone', container_name = 'c'",
            )
            .await;
        let answer = world.call(Request::new("POST", AUDIT).key(&key)).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let data = &answer.json()["data"];
        assert_eq!(
            data["nodes"],
            json!([{"nodeId": "n1", "hostname": "127.0.0.1", "read": false,
                "error": "The host cannot be reached",
                "ghostContainers": [], "ghosts": [], "orphanRecords": []}])
        );
        for total in ["nodesChecked", "totalGhostContainers", "totalOrphanRecords"] {
            assert_eq!(data[total], json!(0), "{total}");
        }
    });
}
