//! `GET /api/v1/jobs/{jobId}`

use chrono::TimeDelta;
use expect_test::expect;
use serde_json::json;
use tests::calls::agent_path;
use tests::suite::Request;
use tests::world::minutes;
use tests::{World, check, check_field_errors, check_problem, run};
use uuid::Uuid;

#[test]
fn job_shows_its_progress_until_it_ends() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "pending").await;
        let queued = world
            .post(&key, &agent_path(agent, "/provision"))
            .await
            .json();
        let endpoint = queued["polling"]["endpoint"]
            .as_str()
            .expect("an endpoint")
            .to_owned();
        let job: Uuid = queued["data"]["jobId"]
            .as_str()
            .expect("a job")
            .parse()
            .expect("an id");
        check(
            &world.get(&key, &endpoint).await,
            expect![[r#"
            200 application/json
            {
              "data": {
                "attempts": 0,
                "completedAt": null,
                "createdAt": "2026-03-01T00:00:00.000Z",
                "error": null,
                "estimatedCompletionAt": "2026-03-01T00:01:30.000Z",
                "id": "<1>",
                "maxAttempts": 3,
                "result": null,
                "scheduledFor": "2026-03-01T00:00:00.000Z",
                "startedAt": null,
                "status": "pending",
                "steps": [],
                "type": "milady_provision",
                "updatedAt": "2026-03-01T00:00:00.000Z"
              },
              "polling": {
                "intervalMs": 1000,
                "shouldContinue": true
              },
              "success": true
            }
        "#]],
        );
        assert_eq!(world.run_job(job).await["outcome"], "again");
        check(
            &world.get(&key, &endpoint).await,
            expect![[r#"
                200 application/json
                {
                  "data": {
                    "attempts": 1,
                    "completedAt": null,
                    "createdAt": "2026-03-01T00:00:00.000Z",
                    "error": "No host is registered",
                    "estimatedCompletionAt": "2026-03-01T00:01:30.000Z",
                    "id": "<1>",
                    "maxAttempts": 3,
                    "result": null,
                    "scheduledFor": "2026-03-01T00:00:30.000Z",
                    "startedAt": "2026-03-01T00:00:00.000Z",
                    "status": "pending",
                    "steps": [
                      {
                        "at": "2026-03-01T00:00:00.000Z",
                        "name": "credit",
                        "status": "done"
                      },
                      {
                        "at": "2026-03-01T00:00:00.000Z",
                        "name": "database",
                        "status": "done"
                      },
                      {
                        "at": "2026-03-01T00:00:00.000Z",
                        "name": "place",
                        "status": "failed"
                      }
                    ],
                    "type": "milady_provision",
                    "updatedAt": "2026-03-01T00:00:00.000Z"
                  },
                  "polling": {
                    "intervalMs": 1000,
                    "shouldContinue": true
                  },
                  "success": true
                }
            "#]],
        );
        for minute in [1, 4] {
            world.set_clock(minutes(minute)).await;
            world.run_job(job).await;
        }
        check(
            &world.get(&key, &endpoint).await,
            expect![[r#"
                200 application/json
                {
                  "data": {
                    "attempts": 3,
                    "completedAt": "2026-03-01T00:04:00.000Z",
                    "createdAt": "2026-03-01T00:00:00.000Z",
                    "error": "No host is registered",
                    "estimatedCompletionAt": "2026-03-01T00:01:30.000Z",
                    "id": "<1>",
                    "maxAttempts": 3,
                    "result": null,
                    "scheduledFor": "2026-03-01T00:03:00.000Z",
                    "startedAt": "2026-03-01T00:00:00.000Z",
                    "status": "failed",
                    "steps": [
                      {
                        "at": "2026-03-01T00:04:00.000Z",
                        "name": "credit",
                        "status": "done"
                      },
                      {
                        "at": "2026-03-01T00:04:00.000Z",
                        "name": "place",
                        "status": "failed"
                      }
                    ],
                    "type": "milady_provision",
                    "updatedAt": "2026-03-01T00:04:00.000Z"
                  },
                  "polling": {
                    "shouldContinue": false
                  },
                  "success": true
                }
            "#]],
        );
        let data = world.get(&key, &agent_path(agent, "")).await.json()["data"].clone();
        assert_eq!(
            (data["status"].as_str(), data["errorMessage"].as_str()),
            (Some("error"), Some("No host is registered"))
        );
    });
}

#[test]
fn unknown_foreign_and_other_jobs_are_404_and_an_invalid_id_is_400() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let (_, foreign_key) = world.tenant("5").await;
        let agent = world.agent(organization, "pending").await;
        let queued = world.start(organization, agent).await.json();
        let endpoint = queued["polling"]["endpoint"].as_str().expect("an endpoint");
        check_problem(
            &world.get(&foreign_key, endpoint).await,
            404,
            "Job not found",
        );
        let job_of_another_application: Uuid = sqlx::query_scalar(
            "INSERT INTO jobs (type, organization_id, data, error)
            VALUES ('image_generation', $1, '{}', 'raw error') RETURNING id",
        )
        .bind(organization)
        .fetch_one(&world.pool)
        .await
        .expect("a job");
        for id in [job_of_another_application, Uuid::new_v4()] {
            assert_eq!(
                world
                    .get(&key, &format!("/api/v1/jobs/{id}"))
                    .await
                    .status(),
                404
            );
        }
        check_field_errors(
            &world.get(&key, "/api/v1/jobs/not-a-uuid").await,
            "jobId must be a UUID",
            &[("jobId", "must be a UUID")],
        );
    });
}

#[test]
fn new_job_is_asked_for_each_second_and_an_older_one_less_often() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "pending").await;
        let queued = world.start(organization, agent).await.json();
        assert_eq!(queued["polling"]["intervalMs"], json!(1000));
        let endpoint = queued["polling"]["endpoint"].as_str().expect("an endpoint");
        let first = world.get(&key, endpoint).await;
        let tag = first.header("etag").expect("a tag").to_owned();
        let ask = async |seconds| {
            world
                .set_clock(minutes(0) + TimeDelta::seconds(seconds))
                .await;
            let request = Request::new("GET", endpoint).key(&key);
            world.call(request.header("if-none-match", &tag)).await
        };
        assert_eq!(ask(14).await.status(), 304);
        let older = ask(15).await;
        assert_eq!(older.json()["polling"]["intervalMs"], json!(5000));
    });
}
