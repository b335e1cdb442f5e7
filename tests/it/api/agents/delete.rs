//! `DELETE /api/v1/milady/agents/{agentId}`

use expect_test::expect;
use serde_json::json;
use tests::calls::agent_path;
use tests::suite::{Request, Response};
use tests::world::hours;
use tests::{World, audit, check, check_problem, run};
use uuid::Uuid;

async fn delete(world: &World, key: &str, agent: Uuid) -> Response {
    world
        .call(Request::new("DELETE", &agent_path(agent, "")).key(key))
        .await
}

#[test]
fn an_agent_without_anything_on_a_host_is_deleted_at_once() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        for status in ["pending", "stopped", "error"] {
            let agent = world.agent(organization, status).await;
            world.backup(agent, "manual").await;
            let answer = delete(&world, &key, agent).await;
            if status == "pending" {
                check(
                    &answer,
                    expect![[r#"
                    200 application/json
                    {
                      "success": true
                    }
                "#]],
                );
            }
            assert_eq!(answer.status(), 200, "{status}");
            assert!(!world.agent_exists(agent).await, "{status}");
            assert_eq!(delete(&world, &key, agent).await.status(), 404);
        }
        assert_eq!(
            world
                .count("SELECT count(*) FROM milady_sandbox_backups")
                .await,
            0
        );
    });
}

#[test]
fn a_job_removes_what_is_on_a_host_and_nothing_is_charged_meanwhile() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let running = world.agent(organization, "running").await;
        let stopped = world.agent(organization, "stopped").await;
        world
            .set_columns(stopped, "node_id = 'n1', database_uri = 'postgres://x'")
            .await;
        world.backup(stopped, "auto").await;
        world.set_clock(hours(1)).await;
        let first = delete(&world, &key, running).await;
        check(
            &first,
            expect![[r#"
                202 application/json
                {
                  "data": {
                    "agentId": "<1>",
                    "jobId": "<2>",
                    "status": "pending"
                  },
                  "message": "The agent will be deleted as soon as its host answers",
                  "polling": {
                    "endpoint": "/api/v1/jobs/<2>",
                    "expectedDurationMs": 90000,
                    "intervalMs": 1000
                  },
                  "success": true
                }
            "#]],
        );
        let repeated = delete(&world, &key, running).await;
        assert_eq!(first.json(), repeated.json());
        assert_eq!(delete(&world, &key, stopped).await.status(), 202);
        for agent in [running, stopped] {
            let data = world.get(&key, &agent_path(agent, "")).await.json()["data"].clone();
            assert_eq!(data["pendingAction"], "delete");
            assert_eq!(world.jobs_of(agent).await.len(), 1);
        }
        // One hour of each agent is charged, and nothing after the request.
        world.run_billing(9).await;
        assert_eq!(
            world.charged(organization).await,
            rust_decimal::dec!(0.0225)
        );
        audit::check(&world.pool).await;
    });
}

#[test]
fn a_deletion_supersedes_a_suspension() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "running").await;
        assert_eq!(
            world
                .post(&key, &agent_path(agent, "/suspend"))
                .await
                .status(),
            202
        );
        assert_eq!(delete(&world, &key, agent).await.status(), 202);
        let mut jobs = world.jobs_of(agent).await;
        jobs.sort_by_key(|job| job["type"].to_string());
        assert_eq!(
            jobs,
            [
                json!({"type": "milady_delete", "status": "pending", "attempts": 0, "error": null}),
                json!({"type": "milady_suspend", "status": "failed", "attempts": 1,
                    "error": "Superseded by the agent's deletion"}),
            ]
        );
    });
}

#[test]
fn a_deletion_is_refused_while_a_worker_has_a_start_job_and_accepted_without_one() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "pending").await;
        assert_eq!(world.start(organization, agent).await.status(), 202);
        world
            .execute("UPDATE jobs SET status = 'in_progress', attempts = 1")
            .await;
        check_problem(
            &delete(&world, &key, agent).await,
            409,
            "Agent provisioning is in progress",
        );
        let orphaned = world.agent(organization, "provisioning").await;
        assert_eq!(delete(&world, &key, orphaned).await.status(), 202);
    });
}

#[test]
fn a_deletion_ends_a_start_that_waits_for_a_worker() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "pending").await;
        assert_eq!(world.start(organization, agent).await.status(), 202);
        let answer = delete(&world, &key, agent).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert!(!world.agent_exists(agent).await);
        let superseded = json!({"type": "milady_provision", "status": "failed", "attempts": 1,
            "error": "Superseded by a stop"});
        assert_eq!(world.jobs_of(agent).await, [superseded]);
    });
}

#[test]
fn an_agent_of_another_organization_cannot_be_deleted() {
    run(async {
        let world = World::new().await;
        let (organization, _) = world.tenant("5").await;
        let (_, stranger) = world.tenant("5").await;
        let agent = world.agent(organization, "stopped").await;
        check_problem(
            &delete(&world, &stranger, agent).await,
            404,
            "Agent not found",
        );
        assert!(world.agent_exists(agent).await);
    });
}
