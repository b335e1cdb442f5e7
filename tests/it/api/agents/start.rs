//! `POST /api/v1/milady/agents/{agentId}/provision` and `/resume`

use expect_test::expect;
use serde_json::json;
use tests::calls::agent_path;
use tests::suite::Request;
use tests::world::hours;
use tests::{World, check, check_problem, run, wait_until};
use uuid::Uuid;

#[test]
fn a_start_is_enqueued_once_and_reported_until_it_ends() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        for verb in ["/provision", "/resume"] {
            let agent = world.agent(organization, "pending").await;
            let path = agent_path(agent, verb);
            let first = world.post(&key, &path).await;
            let repeated = world.post(&key, &path).await;
            assert_eq!(
                first.json()["data"]["jobId"],
                repeated.json()["data"]["jobId"]
            );
            assert_eq!(world.jobs_of(agent).await.len(), 1);
            if verb == "/provision" {
                check(
                    &first,
                    expect![[r#"
                        202 application/json
                        {
                          "alreadyInProgress": false,
                          "created": true,
                          "data": {
                            "agentId": "<1>",
                            "estimatedCompletionAt": "2026-03-01T00:01:30.000Z",
                            "jobId": "<2>",
                            "status": "pending"
                          },
                          "message": "Agent provisioning has been queued",
                          "polling": {
                            "endpoint": "/api/v1/jobs/<2>",
                            "expectedDurationMs": 90000,
                            "intervalMs": 1000
                          },
                          "success": true
                        }
                    "#]],
                );
                check(
                    &repeated,
                    expect![[r#"
                        409 application/json
                        {
                          "alreadyInProgress": true,
                          "created": false,
                          "data": {
                            "agentId": "<1>",
                            "estimatedCompletionAt": "2026-03-01T00:01:30.000Z",
                            "jobId": "<2>",
                            "status": "pending"
                          },
                          "message": "Agent provisioning is already in progress",
                          "polling": {
                            "endpoint": "/api/v1/jobs/<2>",
                            "expectedDurationMs": 90000,
                            "intervalMs": 1000
                          },
                          "success": true
                        }
                    "#]],
                );
            } else {
                check(
                    &first,
                    expect![[r#"
                        202 application/json
                        {
                          "alreadyInProgress": false,
                          "created": true,
                          "data": {
                            "action": "resume",
                            "agentId": "<1>",
                            "estimatedCompletionAt": "2026-03-01T00:01:30.000Z",
                            "jobId": "<2>",
                            "message": "Agent resume has been queued",
                            "status": "pending"
                          },
                          "message": "Agent resume has been queued",
                          "polling": {
                            "endpoint": "/api/v1/jobs/<2>",
                            "expectedDurationMs": 90000,
                            "intervalMs": 1000
                          },
                          "success": true
                        }
                    "#]],
                );
                check(
                    &repeated,
                    expect![[r#"
                        409 application/json
                        {
                          "alreadyInProgress": true,
                          "created": false,
                          "data": {
                            "action": "resume",
                            "agentId": "<1>",
                            "estimatedCompletionAt": "2026-03-01T00:01:30.000Z",
                            "jobId": "<2>",
                            "message": "Agent provisioning is already in progress",
                            "status": "pending"
                          },
                          "message": "Agent provisioning is already in progress",
                          "polling": {
                            "endpoint": "/api/v1/jobs/<2>",
                            "expectedDurationMs": 90000,
                            "intervalMs": 1000
                          },
                          "success": true
                        }
                    "#]],
                );
            }
        }
    });
}

#[test]
fn starting_a_running_agent_succeeds_at_once() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("0").await;
        let agent = world.agent(organization, "running").await;
        world
            .set_columns(agent, "bridge_url = 'http://10.0.0.1:1'")
            .await;
        check(
            &world.post(&key, &agent_path(agent, "/provision")).await,
            expect![[r#"
                200 application/json
                {
                  "data": {
                    "agentName": "agent",
                    "bridgeUrl": "https://<1>.agents.example",
                    "healthUrl": "https://<1>.agents.example",
                    "id": "<1>",
                    "status": "running"
                  },
                  "success": true
                }
            "#]],
        );
        check(
            &world.post(&key, &agent_path(agent, "/resume")).await,
            expect![[r#"
                200 application/json
                {
                  "data": {
                    "action": "resume",
                    "agentId": "<1>",
                    "bridgeUrl": "https://<1>.agents.example",
                    "healthUrl": "https://<1>.agents.example",
                    "jobId": null,
                    "message": "Agent is already running",
                    "status": "running"
                  },
                  "success": true
                }
            "#]],
        );
        assert_eq!(world.jobs_of(agent).await.len(), 0);
    });
}

#[test]
fn each_state_allows_a_start_or_refuses_it_with_a_reason() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        for (status, answer, reason) in [
            ("pending", 202, ""),
            ("stopped", 202, ""),
            ("error", 202, ""),
            // Its start job is gone, so the start can be requested again (F13).
            ("provisioning", 202, ""),
            ("disconnected", 409, "The agent's host cannot be reached"),
        ] {
            for verb in ["/provision", "/resume"] {
                let agent = world.agent(organization, status).await;
                let started = world.post(&key, &agent_path(agent, verb)).await;
                assert_eq!(started.status(), answer, "{status} {verb}");
                assert!(
                    started.text().contains(reason),
                    "{status} {verb} {started:?}"
                );
            }
        }
    });
}

#[test]
fn too_little_credit_is_402() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("4.99").await;
        let agent = world.agent(organization, "stopped").await;
        check(
            &world.post(&key, &agent_path(agent, "/provision")).await,
            expect![[r#"
                402 application/json
                {
                  "currentBalance": 4.99,
                  "error": "Insufficient credits: $5 required, $4.99 available",
                  "requiredBalance": 5.0,
                  "success": false
                }
            "#]],
        );
        check(
            &world.post(&key, &agent_path(agent, "/resume")).await,
            expect![[r#"
                402 application/json
                {
                  "currentBalance": 4.99,
                  "error": "Insufficient credits: $5 required, $4.99 available",
                  "requiredBalance": 5.0,
                  "success": false
                }
            "#]],
        );
        assert_eq!(world.jobs_of(agent).await.len(), 0);
    });
}

#[test]
fn a_start_cancels_a_stop_that_no_worker_has_begun() {
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
        world.set_clock(hours(1)).await;
        check(
            &world.post(&key, &agent_path(agent, "/resume")).await,
            expect![[r#"
                200 application/json
                {
                  "data": {
                    "action": "resume",
                    "agentId": "<1>",
                    "bridgeUrl": null,
                    "healthUrl": null,
                    "jobId": null,
                    "message": "Agent is already running",
                    "status": "running"
                  },
                  "success": true
                }
            "#]],
        );
        assert_eq!(
            world.jobs_of(agent).await,
            [
                json!({"type": "milady_suspend", "status": "failed", "attempts": 1,
                "error": "Superseded by a start"})
            ]
        );
        // The time until the start was not charged; all time from now on is.
        let report = world.run_billing(2).await;
        assert_eq!(report.tally.slices, 1);
        assert_eq!(world.charged(organization).await, rust_decimal::dec!(0.02));
    });
}

#[test]
fn a_start_does_not_cancel_a_stop_that_a_worker_has_begun() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "running").await;
        // The container's host is not known, so the stop job is retried for ever.
        world.set_columns(agent, "sandbox_id = 's'").await;
        let stop = world.post(&key, &agent_path(agent, "/suspend")).await;
        let job: Uuid = stop.json()["data"]["jobId"]
            .as_str()
            .expect("a job")
            .parse()
            .expect("an id");
        assert_eq!(world.run_job(job).await["outcome"], "again");
        check(
            &world.post(&key, &agent_path(agent, "/resume")).await,
            expect![[r#"
                409 application/json
                {
                  "alreadyInProgress": true,
                  "created": false,
                  "data": {
                    "action": "resume",
                    "agentId": "<1>",
                    "estimatedCompletionAt": null,
                    "jobId": "<2>",
                    "message": "Agent is being suspended",
                    "status": "pending"
                  },
                  "message": "Agent is being suspended",
                  "polling": {
                    "endpoint": "/api/v1/jobs/<2>",
                    "expectedDurationMs": 90000,
                    "intervalMs": 1000
                  },
                  "success": true
                }
            "#]],
        );
        let gone = world.agent(organization, "running").await;
        let path = agent_path(gone, "");
        assert_eq!(
            world
                .call(Request::new("DELETE", &path).key(&key))
                .await
                .status(),
            202
        );
        check(
            &world.post(&key, &agent_path(gone, "/provision")).await,
            expect![[r#"
                409 application/json
                {
                  "alreadyInProgress": true,
                  "created": false,
                  "data": {
                    "agentId": "<1>",
                    "estimatedCompletionAt": null,
                    "jobId": "<2>",
                    "status": "pending"
                  },
                  "message": "Agent is being deleted",
                  "polling": {
                    "endpoint": "/api/v1/jobs/<2>",
                    "expectedDurationMs": 90000,
                    "intervalMs": 1000
                  },
                  "success": true
                }
            "#]],
        );
    });
}

#[test]
fn a_webhook_must_lead_to_a_public_https_address() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "pending").await;
        let ask = async |url: &str| {
            let request = Request::new("POST", &agent_path(agent, "/provision")).key(&key);
            world.call(request.header("x-webhook-url", url)).await
        };
        for url in [
            "http://hooks.example.com/",
            "https://localhost/",
            "https://10.0.0.1/",
            "https://hooks.example.com:8443/",
            "https://[::1]/",
            "https://u:p@hooks.example.com/",
            "nonsense",
            "",
            "javascript:alert(1)",
            "https://169.254.169.254/latest/meta-data",
        ] {
            let refused = ask(url).await;
            assert_eq!(refused.status(), 400, "{url}");
            assert_eq!(
                refused.json()["details"][0]["field"],
                "X-Webhook-URL",
                "{url}"
            );
        }
        assert_eq!(world.jobs_of(agent).await.len(), 0);
        let taken = ask("https://hooks.example.com/agents").await;
        check(
            &taken,
            expect![[r#"
                202 application/json
                {
                  "alreadyInProgress": false,
                  "created": true,
                  "data": {
                    "agentId": "<1>",
                    "estimatedCompletionAt": "2026-03-01T00:01:30.000Z",
                    "jobId": "<2>",
                    "status": "pending",
                    "webhookSecret": "<3>"
                  },
                  "message": "Agent provisioning has been queued",
                  "polling": {
                    "endpoint": "/api/v1/jobs/<2>",
                    "expectedDurationMs": 90000,
                    "intervalMs": 1000
                  },
                  "success": true
                }
            "#]],
        );
        // Only the request that sets the webhook gets the secret.
        assert!(
            ask("https://hooks.example.com/agents").await.json()["data"]
                .get("webhookSecret")
                .is_none()
        );
    });
}

#[test]
fn sync_waits_for_the_job_and_returns_its_result() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "pending").await;
        let bad = world
            .post(&key, &agent_path(agent, "/provision?sync=yes"))
            .await;
        assert_eq!(
            (bad.status(), &bad.json()["details"][0]["field"]),
            (400, &json!("sync"))
        );
        let request = Request::new("POST", &agent_path(agent, "/provision?sync=true")).key(&key);
        let waiting = world.call(request);
        let finishing = wait_until("a job can be completed", async || {
            let done = sqlx::query(
                "UPDATE jobs SET status = 'completed' WHERE agent_id = $1 AND status = 'pending'",
            )
            .bind(agent)
            .execute(&world.pool)
            .await
            .expect("a job");
            done.rows_affected() == 1
        });
        let (answer, ()) = tokio::join!(waiting, finishing);
        assert_eq!(
            (answer.status(), &answer.json()["data"]["id"]),
            (200, &json!(agent))
        );
    });
}

#[test]
fn an_agent_of_another_organization_is_404() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("5").await;
        let other_organization = world.organization("5").await;
        let foreign_agent = world.agent(other_organization, "stopped").await;
        for verb in ["/provision", "/resume"] {
            for agent in [foreign_agent, Uuid::new_v4()] {
                let answer = world.post(&key, &agent_path(agent, verb)).await;
                check_problem(&answer, 404, "Agent not found");
            }
        }
        assert_eq!(world.jobs_of(foreign_agent).await.len(), 0);
    });
}
