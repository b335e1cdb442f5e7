//! `GET /api/v1/admin/docker-nodes`

use expect_test::expect;
use serde_json::{Value, json};
use tests::suite::Request;
use tests::{World, check, run};

use super::NODES;

#[test]
fn hosts_are_listed_by_name_with_every_field_except_secrets() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        world
            .execute(
                r#"INSERT INTO docker_nodes (node_id, hostname, ssh_port, ssh_user, capacity,
                    allocated_count, enabled, status, last_health_check, host_key_fingerprint, metadata,
                    created_at, updated_at)
                VALUES ('b', '192.0.2.7', 2222, 'milady', 4, 5, false, 'degraded', billing_clock(), 'x',
                    '{"region": "eu", "dockerSocket": "/run/docker.sock", "apiToken": "canary",
                        "deep": [{"password": "canary", "rack": 4}]}',
                    billing_clock(), billing_clock()),
                ('B', 'node.example.com', 22, 'root', 8, 3, true, 'unknown', NULL, NULL, '{}',
                    billing_clock(), billing_clock())"#,
            )
            .await;
        let list = world.get(&key, NODES).await;
        check(
            &list,
            expect![[r#"
                200 application/json
                {
                  "data": {
                    "nodes": [
                      {
                        "allocatedCount": 3,
                        "availableSlots": 5,
                        "capacity": 8,
                        "createdAt": "2026-03-01T00:00:00.000Z",
                        "enabled": true,
                        "hostKeyPinned": false,
                        "hostname": "node.example.com",
                        "id": "<1>",
                        "lastHealthCheck": null,
                        "metadata": {},
                        "nodeId": "B",
                        "service": "in_service",
                        "sshPort": 22,
                        "sshUser": "root",
                        "status": "unknown",
                        "updatedAt": "2026-03-01T00:00:00.000Z"
                      },
                      {
                        "allocatedCount": 5,
                        "availableSlots": 0,
                        "capacity": 4,
                        "createdAt": "2026-03-01T00:00:00.000Z",
                        "enabled": false,
                        "hostKeyPinned": true,
                        "hostname": "192.0.2.7",
                        "id": "<2>",
                        "lastHealthCheck": "2026-03-01T00:00:00.000Z",
                        "metadata": {
                          "deep": [
                            {
                              "rack": 4
                            }
                          ],
                          "dockerSocket": "/run/docker.sock",
                          "region": "eu"
                        },
                        "nodeId": "b",
                        "service": "in_service",
                        "sshPort": 2222,
                        "sshUser": "milady",
                        "status": "degraded",
                        "updatedAt": "2026-03-01T00:00:00.000Z"
                      }
                    ],
                    "total": 2
                  },
                  "success": true
                }
            "#]],
        );
        let tag = list.header("etag").expect("a tag");
        let conditional_get = Request::new("GET", NODES)
            .key(&key)
            .header("if-none-match", tag);
        assert_eq!(world.call(conditional_get).await.status(), 304);
    });
}

#[test]
fn a_status_word_of_a_newer_version_is_shown_as_unknown() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        world
            .execute("ALTER TABLE docker_nodes DROP CONSTRAINT docker_nodes_status_check")
            .await;
        world
            .execute("INSERT INTO docker_nodes (node_id, hostname, status) VALUES ('a', 'h', 'draining')")
            .await;
        let list = world.get(&key, NODES).await.json();
        assert_eq!(list["data"]["nodes"][0]["status"], json!("unknown"));
    });
}

#[test]
fn hosts_are_listed_in_pages() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let empty = world.get(&key, NODES).await.json();
        assert_eq!(empty["data"], json!({"nodes": [], "total": 0}));
        world
            .execute(
                "INSERT INTO docker_nodes (node_id, hostname)
                SELECT 'n-' || lpad(n::text, 3, '0'), 'h' FROM generate_series(1, 203) n",
            )
            .await;
        let mut listed = Vec::new();
        let mut target = NODES.to_owned();
        for (limit, expected) in [("", 200), ("&limit=2", 2), ("&limit=2", 1)] {
            let separator = if target.contains('?') { "" } else { "?" };
            let page = world
                .get(&key, &format!("{target}{separator}{limit}"))
                .await;
            let page = page.json();
            assert_eq!(page["data"]["total"], json!(203));
            let nodes = page["data"]["nodes"].as_array().expect("hosts").clone();
            assert_eq!(nodes.len(), expected);
            listed.extend(nodes.into_iter().map(|node| node["nodeId"].clone()));
            let cursor = page["nextCursor"].as_str().unwrap_or("none");
            target = format!("{NODES}?cursor={cursor}");
        }
        assert!(target.ends_with("none"));
        let expected: Vec<Value> = (1..=203).map(|n| json!(format!("n-{n:03}"))).collect();
        assert_eq!(listed, expected);
        for query in [
            "limit=0",
            "limit=201",
            "limit=x",
            "cursor=",
            "cursor=%20",
            "cursor=AA",
        ] {
            let refused = world.get(&key, &format!("{NODES}?{query}")).await;
            assert_eq!(refused.status(), 400, "{query}");
        }
    });
}
