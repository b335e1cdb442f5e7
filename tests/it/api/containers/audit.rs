//! `POST /api/v1/admin/docker-containers/audit`

use serde_json::json;
use tests::suite::Request;
use tests::{World, run};

use super::super::agents::unreachable;
use super::{AUDIT, operator};

#[test]
fn without_hosts_nothing_is_found() {
    run(async {
        let world = World::new().await;
        let key = operator(&world).await;
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

/// F19: of what was not read nothing is said to be missing.
#[test]
fn f19_nothing_is_missing_on_a_host_that_was_not_read_and_a_disabled_one_is_not_asked() {
    run(async {
        let world = World::new().await;
        let key = operator(&world).await;
        let organization = world.organization("5").await;
        unreachable(&world, organization).await;
        world
            .execute(
                "INSERT INTO docker_nodes (node_id, hostname, ssh_port, enabled)
                VALUES ('off', '127.0.0.1', 9, false)",
            )
            .await;
        // Its host is registered no more.
        let lost = world.agent(organization, "running").await;
        world
            .set(lost, "node_id = 'gone', container_name = 'c'")
            .await;
        let answer = world.call(Request::new("POST", AUDIT).key(&key)).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let data = &answer.json()["data"];
        assert_eq!(
            data["nodes"],
            json!([{"nodeId": "n1", "read": false, "error": "The host cannot be reached",
                "ghosts": [], "orphans": []}])
        );
        for total in ["nodesChecked", "totalGhostContainers", "totalOrphanRecords"] {
            assert_eq!(data[total], json!(0), "{total}");
        }
    });
}
