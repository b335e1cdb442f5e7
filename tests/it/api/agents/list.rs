//! `GET /api/v1/milady/agents`

use expect_test::expect;
use serde_json::{Value, json};
use tests::suite::Request;
use tests::world::minutes;
use tests::{World, check, run};

const LIST: &str = "/api/v1/milady/agents";

#[test]
fn agents_are_listed_newest_first_with_every_column_of_the_dashboard() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let older = world.agent(organization, "running").await;
        world
            .set_columns(
                older,
                "agent_config = '{\"tokenContractAddress\": \"0xabc\", \"chain\": \"base\", \"tokenName\": \"Cat\", \"tokenTicker\": \"CAT\"}',
                hourly_rate = NULL, total_billed = 1.234567, docker_image = 'milady/agent:1',
                database_status = 'ready', last_heartbeat_at = billing_clock()",
            )
            .await;
        world.set_clock(minutes(1)).await;
        let newer = world.agent(organization, "pending").await;
        world
            .set_columns(
                newer,
                "error_message = 'No host is registered', agent_config = '[1]'",
            )
            .await;
        assert_eq!(world.start(organization, newer).await.status(), 202);
        check(
            &world.get(&key, LIST).await,
            expect![[r#"
                200 application/json
                {
                  "asOf": "2026-03-01T00:01:00.000Z",
                  "data": [
                    {
                      "agentName": "agent",
                      "billingStatus": "active",
                      "containerKind": "managed",
                      "createdAt": "2026-03-01T00:01:00.000Z",
                      "databaseStatus": "none",
                      "dockerImage": null,
                      "errorMessage": "No host is registered",
                      "hourlyRate": 0.02,
                      "id": "<1>",
                      "lastBackupAt": null,
                      "lastHeartbeatAt": null,
                      "pendingAction": "provision",
                      "pendingJobId": "<2>",
                      "scheduledShutdownAt": null,
                      "silentSince": null,
                      "status": "pending",
                      "stopReason": null,
                      "token_address": null,
                      "token_chain": null,
                      "token_name": null,
                      "token_ticker": null,
                      "totalBilled": 0.0,
                      "updatedAt": "2026-03-01T00:01:00.000Z"
                    },
                    {
                      "agentName": "agent",
                      "billingStatus": "active",
                      "containerKind": "custom",
                      "createdAt": "2026-03-01T00:00:00.000Z",
                      "databaseStatus": "ready",
                      "dockerImage": "milady/agent:1",
                      "errorMessage": null,
                      "hourlyRate": 0.02,
                      "id": "<3>",
                      "lastBackupAt": null,
                      "lastHeartbeatAt": "2026-03-01T00:00:00.000Z",
                      "pendingAction": null,
                      "pendingJobId": null,
                      "scheduledShutdownAt": null,
                      "silentSince": null,
                      "status": "running",
                      "stopReason": null,
                      "token_address": "0xabc",
                      "token_chain": "base",
                      "token_name": "Cat",
                      "token_ticker": "CAT",
                      "totalBilled": 1.234567,
                      "updatedAt": "2026-03-01T00:00:00.000Z"
                    }
                  ],
                  "success": true,
                  "total": 2
                }
            "#]],
        );
    });
}

#[test]
fn an_organization_without_agents_has_an_empty_list() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("10").await;
        let other_organization = world.organization("10").await;
        world.agent(other_organization, "running").await;
        check(
            &world.get(&key, LIST).await,
            expect![[r#"
                200 application/json
                {
                  "asOf": "2026-03-01T00:00:00.000Z",
                  "data": [],
                  "success": true,
                  "total": 0
                }
            "#]],
        );
    });
}

#[test]
fn pages_join_into_the_whole_list_even_if_agents_share_a_creation_time() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        for minute in [0, 1, 1, 1, 2, 2, 3] {
            world.set_clock(minutes(minute)).await;
            world.agent(organization, "pending").await;
        }
        let ids = |answer: &Value| -> Vec<Value> {
            let rows = answer["data"].as_array().expect("rows");
            rows.iter().map(|row| row["id"].clone()).collect()
        };
        let whole_list = world.get(&key, LIST).await.json();
        assert_eq!(
            (ids(&whole_list).len(), whole_list.get("nextCursor")),
            (7, None)
        );
        let (mut joined, mut cursor) = (Vec::new(), String::new());
        for _ in 0..4 {
            let page = world
                .get(&key, &format!("{LIST}?limit=2{cursor}"))
                .await
                .json();
            joined.extend(ids(&page));
            cursor = match page["nextCursor"].as_str() {
                Some(next) => format!("&cursor={next}"),
                None => String::new(),
            };
        }
        assert_eq!((joined, cursor), (ids(&whole_list), String::new()));
    });
}

#[test]
fn an_unchanged_list_is_304_and_a_changed_list_is_sent() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let agent = world.agent(organization, "stopped").await;
        let first = world.get(&key, LIST).await;
        let tag = first.header("etag").expect("a tag").to_owned();
        assert_eq!(first.header("cache-control"), Some("private, no-cache"));
        let conditional_get = || {
            Request::new("GET", LIST)
                .key(&key)
                .header("if-none-match", &tag)
        };
        let same = world.call(conditional_get()).await;
        assert_eq!((same.status(), same.text()), (304, ""));
        assert_eq!(same.header("etag"), Some(tag.as_str()));
        world.set_columns(agent, "status = 'error'").await;
        assert_eq!(world.call(conditional_get()).await.status(), 200);
    });
}

#[test]
fn invalid_parameters_are_reported() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("10").await;
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=201", "limit"),
            ("limit=x", "limit"),
            ("cursor=x", "cursor"),
            ("cursor=%00", "cursor"),
            ("changedSince=yesterday", "changedSince"),
            ("changedSince=2026-03-01&status=running", "changedSince"),
            ("status=unknown", "status"),
        ] {
            let answer = world.get(&key, &format!("{LIST}?{query}")).await;
            assert_eq!(answer.status(), 400, "{query}");
            assert_eq!(
                answer.json()["details"][0]["field"],
                json!(field),
                "{query}"
            );
        }
    });
}

#[test]
fn status_words_of_a_newer_version_are_shown_as_unknown() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        world
            .execute(
                "ALTER TABLE milady_sandboxes DROP CONSTRAINT milady_sandboxes_status_check,
                DROP CONSTRAINT milady_sandboxes_database_status_check,
                DROP CONSTRAINT cloud_milady_sandboxes_rate_check",
            )
            .await;
        let agent = world.agent(organization, "sleeping").await;
        world
            .set_columns(
                agent,
                "database_status = 'dreaming', total_billed = 'NaN', hourly_rate = 'NaN', stop_reason = 'boredom'",
            )
            .await;
        let row = world.get(&key, LIST).await.json()["data"][0].clone();
        assert_eq!(
            [
                &row["status"],
                &row["databaseStatus"],
                &row["totalBilled"],
                &row["hourlyRate"],
                &row["stopReason"]
            ],
            [
                &json!("unknown"),
                &json!("unknown"),
                &json!(0.0),
                &json!(0.02),
                &json!(null)
            ]
        );
        let path = format!("{LIST}/{agent}/provision");
        let refused = world.post(&key, &path).await;
        assert_eq!(refused.status(), 409);
        assert!(refused.text().contains("does not know"), "{refused:?}");
    });
}
