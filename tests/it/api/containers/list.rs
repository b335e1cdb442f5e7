//! `GET /api/v1/admin/docker-containers`

use chrono::TimeDelta;
use expect_test::expect;
use serde_json::{Value, json};
use tests::suite::Request;
use tests::world::hours;
use tests::{World, check, check_field_errors, run};
use uuid::Uuid;

use super::LIST;

fn ids(page: &Value) -> Vec<Uuid> {
    let rows = page["data"]["containers"].as_array().expect("a list");
    rows.iter()
        .map(|row| serde_json::from_value(row["id"].clone()).expect("an id"))
        .collect()
}

/// Agents of two organizations, created a minute apart, newest last.
async fn agents(world: &World) -> Vec<Uuid> {
    let (one, other) = (world.organization("5").await, world.organization("5").await);
    let mut agents = Vec::new();
    for (n, (organization, status, columns)) in [
        (one, "running", "node_id = 'n1', container_name = 'c1'"),
        (other, "running", "node_id = 'n2', container_name = 'c2'"),
        (one, "error", "node_id = 'n1', error_message = 'broken'"),
        (other, "pending", "node_id = NULL"),
        (one, "stopped", "node_id = 'n1'"),
    ]
    .into_iter()
    .enumerate()
    {
        let minutes = TimeDelta::minutes(i64::try_from(n).expect("few"));
        world.set_clock(hours(0) + minutes).await;
        let agent = world.agent(organization, status).await;
        world.set_columns(agent, columns).await;
        agents.push(agent);
    }
    agents
}

#[test]
fn a_row_is_listed_with_its_addresses_and_without_its_secrets() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let organization = world.organization("5").await;
        let agent = world.agent(organization, "running").await;
        world
            .set_columns(
                agent,
                "sandbox_id = 's-1', node_id = 'n1', container_name = 'milady-x', bridge_port = 20001,
                web_ui_port = 20002, headscale_ip = '100.64.0.7', docker_image = 'milady/agent:1',
                bridge_url = 'http://host.example:20001', health_url = 'http://host.example:20002',
                last_heartbeat_at = '2026-03-01T00:00:30Z', error_count = 2,
                error_message = 'dial 10.0.0.7:22 as root@host.example failed',
                environment_vars = '{\"SECRET\": \"canary\"}', agent_config = '{\"x\": \"canary\"}',
                database_uri = 'postgres://canary:canary@db/x'",
            )
            .await;
        check(
            &world.get(&key, LIST).await,
            expect![[r#"
                200 application/json
                {
                  "data": {
                    "containers": [
                      {
                        "agentName": "agent",
                        "bridgePort": 20001,
                        "bridgeUrl": "http://host.example:20001",
                        "containerKind": "custom",
                        "containerName": "milady-x",
                        "createdAt": "2026-03-01T00:00:00.000Z",
                        "dockerImage": "milady/agent:1",
                        "errorCount": 2,
                        "errorMessage": "dial [hidden] as [hidden] failed",
                        "headscaleIp": "100.64.0.7",
                        "healthUrl": "http://host.example:20002",
                        "id": "<1>",
                        "lastHeartbeatAt": "2026-03-01T00:00:30.000Z",
                        "nodeId": "n1",
                        "organizationId": "<2>",
                        "organizationName": "Test",
                        "sandboxId": "s-1",
                        "status": "running",
                        "stopReason": null,
                        "updatedAt": "2026-03-01T00:00:00.000Z",
                        "userId": "<3>",
                        "webUiPort": 20002
                      }
                    ],
                    "filters": {
                      "nodeId": null,
                      "status": null
                    },
                    "returned": 1,
                    "total": 1
                  },
                  "success": true
                }
            "#]],
        );
    });
}

#[test]
fn filters_limit_and_cursor_select_the_rows_of_a_page() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let agents = agents(&world).await;
        // The fourth has no host.
        let newest = [4, 2, 1, 0].map(|n| agents[n]);
        for (query, expected, filters) in [
            (
                "",
                vec![4, 2, 1, 0],
                json!({"status": null, "nodeId": null}),
            ),
            (
                "?status=running",
                vec![1, 0],
                json!({"status": "running", "nodeId": null}),
            ),
            (
                "?nodeId=n1",
                vec![4, 2, 0],
                json!({"status": null, "nodeId": "n1"}),
            ),
            (
                "?nodeId=n1&status=error",
                vec![2],
                json!({"status": "error", "nodeId": "n1"}),
            ),
            (
                "?nodeId=n1'%20OR%20'1'='1",
                vec![],
                json!({"status": null, "nodeId": "n1' OR '1'='1"}),
            ),
            (
                "?status=disconnected&limit=500",
                vec![],
                json!({"status": "disconnected", "nodeId": null}),
            ),
        ] {
            let answer = world.get(&key, &format!("{LIST}{query}")).await;
            assert_eq!(answer.status(), 200, "{query} {answer:?}");
            let page = answer.json();
            let expected: Vec<Uuid> = expected.into_iter().map(|n| agents[n]).collect();
            assert_eq!(ids(&page), expected, "{query}");
            let data = &page["data"];
            assert_eq!(data["total"], json!(expected.len()), "{query}");
            assert_eq!(data["returned"], json!(expected.len()), "{query}");
            assert_eq!(data["filters"], filters, "{query}");
            assert_eq!(page["nextCursor"], Value::Null, "{query}");
        }

        // The pages together hold each agent once.
        let (mut listed, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("{LIST}?limit=2{cursor}");
            let page = world.get(&key, &path).await.json();
            assert_eq!(page["data"]["total"], json!(4));
            let page_ids = ids(&page);
            assert_eq!(page["data"]["returned"], json!(page_ids.len()));
            listed.extend(page_ids);
            let Some(next) = page["nextCursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(listed, newest);

        let first = world.get(&key, LIST).await;
        let tag = first.header("etag").expect("a tag").to_owned();
        let conditional_get = Request::new("GET", LIST).header("if-none-match", &tag);
        assert_eq!(
            world.call(conditional_get.clone().key(&key)).await.status(),
            304
        );
        world.set_status(agents[0], "error").await;
        assert_eq!(world.call(conditional_get.key(&key)).await.status(), 200);
    });
}

#[test]
fn an_invalid_parameter_is_refused_with_the_reason() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        check_field_errors(
            &world.get(&key, &format!("{LIST}?status=sleeping")).await,
            "Invalid status filter: sleeping",
            &[(
                "status",
                "must be pending, provisioning, running, stopped, disconnected or error",
            )],
        );
        for (query, field) in [
            ("status=", "status"),
            ("status=unknown", "status"),
            ("status=RUNNING", "status"),
            ("status=running%00", "status"),
            ("nodeId=", "nodeId"),
            ("nodeId=n%00", "nodeId"),
            (
                "nodeId=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                "nodeId",
            ),
            ("limit=0", "limit"),
            ("limit=501", "limit"),
            ("limit=-1", "limit"),
            ("limit=x", "limit"),
            ("cursor=x", "cursor"),
        ] {
            let answer = world.get(&key, &format!("{LIST}?{query}")).await;
            assert_eq!(answer.status(), 400, "{query} {answer:?}");
            assert_eq!(answer.json()["details"][0]["field"], field, "{query}");
        }
        let long = format!("{LIST}?status={}", "x".repeat(5_000));
        let answer = world.get(&key, &long).await;
        assert_eq!(answer.status(), 400);
        assert!(answer.text().len() < 1_000, "{answer:?}");
    });
}
