//! `GET /api/v1/admin/docker-nodes/{nodeId}`

use expect_test::expect;
use serde_json::json;
use tests::{World, check, run};

use super::{NODES, agent_with, register_closed_host, status_and_error};

#[test]
fn a_host_is_shown_with_the_agents_whose_rows_name_it() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        let organization = world.organization("10").await;
        agent_with(&world, organization, "stopped", "node_id = 'n1'").await;
        agent_with(
            &world,
            organization,
            "error",
            "node_id = 'n1', container_name = 'c', bridge_port = 20000, web_ui_port = 20001,
            headscale_ip = '100.64.0.7', docker_image = 'milady/agent:1', error_count = 2,
            error_message = 'ssh: connect to host 10.0.0.7 port 22: refused'",
        )
        .await;
        agent_with(
            &world,
            organization,
            "running",
            "node_id = 'n2', container_name = 'd'",
        )
        .await;
        let shown = world.get(&key, &format!("{NODES}/n1")).await;
        check(
            &shown,
            expect![[r#"
                200 application/json
                {
                  "data": {
                    "allocatedCount": 0,
                    "availableSlots": 8,
                    "capacity": 8,
                    "containers": [
                      {
                        "agentName": "agent",
                        "bridgePort": 20000,
                        "containerKind": "custom",
                        "containerName": "c",
                        "createdAt": "2026-03-01T00:00:00.000Z",
                        "dockerImage": "milady/agent:1",
                        "errorCount": 2,
                        "errorMessage": "ssh: connect to host [hidden] port [hidden] refused",
                        "headscaleIp": "100.64.0.7",
                        "id": "<1>",
                        "lastHeartbeatAt": null,
                        "organizationId": "<2>",
                        "organizationName": "Test",
                        "sandboxId": null,
                        "status": "error",
                        "stopReason": null,
                        "updatedAt": "2026-03-01T00:00:00.000Z",
                        "userId": "<3>",
                        "webUiPort": 20001
                      },
                      {
                        "agentName": "agent",
                        "bridgePort": null,
                        "containerKind": "managed",
                        "containerName": null,
                        "createdAt": "2026-03-01T00:00:00.000Z",
                        "dockerImage": null,
                        "errorCount": 0,
                        "errorMessage": null,
                        "headscaleIp": null,
                        "id": "<4>",
                        "lastHeartbeatAt": null,
                        "organizationId": "<2>",
                        "organizationName": "Test",
                        "sandboxId": null,
                        "status": "stopped",
                        "stopReason": null,
                        "updatedAt": "2026-03-01T00:00:00.000Z",
                        "userId": "<3>",
                        "webUiPort": null
                      }
                    ],
                    "createdAt": "2026-03-01T00:00:00.000Z",
                    "enabled": true,
                    "hostKeyFingerprint": null,
                    "hostKeyPinned": false,
                    "hostname": "127.0.0.1",
                    "id": "<5>",
                    "lastHealthCheck": null,
                    "metadata": {},
                    "nodeId": "n1",
                    "service": "in_service",
                    "sshPort": 9,
                    "sshUser": "root",
                    "status": "unknown",
                    "unreadSince": null,
                    "updatedAt": "2026-03-01T00:00:00.000Z",
                    "withdrawalDoneAt": null,
                    "withdrawnAt": null
                  },
                  "success": true
                }
            "#]],
        );
        let tag = shown.header("etag").expect("a tag");
        let request = tests::suite::Request::new("GET", &format!("{NODES}/n1")).key(&key);
        let repeated = world.call(request.header("if-none-match", tag)).await;
        assert_eq!(repeated.status(), 304);
    });
}

#[test]
fn an_unregistered_host_is_404() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        world
            .execute("INSERT INTO docker_nodes (node_id, hostname) VALUES ('odd name/ä', 'h')")
            .await;
        let names = [
            "none",
            "N1",
            "sync",
            "n1%00",
            "%00",
            "n1%20",
            "..",
            "%25",
            "%27%20OR%201=1--",
        ];
        for name in names {
            let answer = world.get(&key, &format!("{NODES}/{name}")).await;
            assert_eq!(
                status_and_error(&answer),
                (404, "Node not found".to_owned()),
                "{name}"
            );
        }
        let long = world
            .get(&key, &format!("{NODES}/{}", "n".repeat(4_000)))
            .await;
        assert_eq!(long.status(), 404);
        // A name that an older deployment gave.
        let odd = world
            .get(&key, &format!("{NODES}/odd%20name%2F%C3%A4"))
            .await;
        assert_eq!(odd.json()["data"]["nodeId"], json!("odd name/ä"), "{odd:?}");
    });
}
