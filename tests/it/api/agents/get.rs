//! `GET /api/v1/milady/agents/{agentId}`

use expect_test::expect;
use tests::calls::agent_path;
use tests::suite::Request;
use tests::{World, check, check_field_errors, check_problem, run};
use uuid::Uuid;

#[test]
fn an_agent_is_shown_with_its_public_address_and_without_its_hosts() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        let agent = world.agent(organization, "running").await;
        world
            .set_columns(
                agent,
                "bridge_url = 'http://10.9.8.7:18790', health_url = 'http://10.9.8.7:20000/health',
                node_id = 'node-secret', container_name = 'milady-x', bridge_port = 18790,
                headscale_ip = '100.64.0.9', error_count = 2",
            )
            .await;
        let answer = world.get(&key, &agent_path(agent, "")).await;
        for secret in ["10.9.8.7", "node-secret", "18790", "100.64"] {
            assert!(!answer.0.to_string().contains(secret), "{secret}");
        }
        check(
            &answer,
            expect![[r#"
                200 application/json
                {
                  "data": {
                    "agentName": "agent",
                    "backupError": null,
                    "billingStatus": "active",
                    "bridgeUrl": "https://<1>.agents.example",
                    "containerKind": "managed",
                    "createdAt": "2026-03-01T00:00:00.000Z",
                    "databaseStatus": "none",
                    "dockerImage": null,
                    "environmentNames": [],
                    "errorCount": 2,
                    "errorMessage": null,
                    "healthUrl": "https://<1>.agents.example",
                    "hourlyRate": 0.02,
                    "id": "<1>",
                    "lastBackupAt": null,
                    "lastDeath": null,
                    "lastHeartbeatAt": null,
                    "pendingAction": null,
                    "pendingJobId": null,
                    "scheduledShutdownAt": null,
                    "silentSince": null,
                    "status": "running",
                    "stopNote": null,
                    "stopReason": null,
                    "token_address": null,
                    "token_chain": null,
                    "token_name": null,
                    "token_ticker": null,
                    "totalBilled": 0.0,
                    "updatedAt": "2026-03-01T00:00:00.000Z"
                  },
                  "success": true
                }
            "#]],
        );
        let tag = answer.header("etag").expect("a tag");
        let conditional_get = Request::new("GET", &agent_path(agent, "")).key(&key);
        let same = world
            .call(conditional_get.header("if-none-match", tag))
            .await;
        assert_eq!((same.status(), same.text()), (304, ""));
    });
}

#[test]
fn super_admins_see_the_host_and_an_agent_that_does_not_run_has_no_address() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("10").await;
        world.make_admin(organization, "super_admin").await;
        let agent = world.agent(organization, "stopped").await;
        let get = async || world.get(&key, &agent_path(agent, "")).await.json()["data"].clone();
        assert!(get().await["nodeId"].is_null());
        assert!(
            get()
                .await
                .as_object()
                .expect("fields")
                .contains_key("nodeId")
        );
        world
            .set_columns(agent, "node_id = 'n1', bridge_url = 'http://h:1'")
            .await;
        let data = get().await;
        assert_eq!(data["nodeId"], "n1");
        assert!(data["bridgeUrl"].is_null() && data["healthUrl"].is_null());
    });
}

#[test]
fn an_unknown_or_foreign_agent_is_404_and_an_invalid_id_is_400() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("10").await;
        let other_organization = world.organization("10").await;
        let foreign_agent = world.agent(other_organization, "running").await;
        let foreign = world.get(&key, &agent_path(foreign_agent, "")).await;
        let missing = world.get(&key, &agent_path(Uuid::new_v4(), "")).await;
        assert_eq!(
            tests::response_text::response_text(&foreign),
            tests::response_text::response_text(&missing)
        );
        check_problem(&foreign, 404, "Agent not found");
        check_field_errors(
            &world.get(&key, "/api/v1/milady/agents/42").await,
            "agentId must be a UUID",
            &[("agentId", "must be a UUID")],
        );
    });
}
