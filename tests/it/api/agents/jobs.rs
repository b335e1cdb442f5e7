//! `GET /api/v1/milady/agents/{agentId}/jobs`

use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::Request;
use tests::world::minutes;
use tests::{World, check_field_errors, check_problem, run};
use uuid::Uuid;

fn ids(page: &Value) -> Vec<Value> {
    let jobs = page["data"].as_array().expect("jobs");
    jobs.iter().map(|job| job["id"].clone()).collect()
}

#[test]
fn jobs_of_an_agent_are_listed_newest_first_as_each_is_shown_alone() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "pending").await;
        let other = world.agent(organization, "pending").await;
        world.start(organization, other).await;
        let path = agent_path(agent, "/jobs");
        let empty = world.get(&key, &path).await;
        assert_eq!(empty.json(), json!({"success": true, "data": []}));
        let first = world.start(organization, agent).await.json();
        let first: Uuid = serde_json::from_value(first["data"]["jobId"].clone()).expect("a job");
        for minute in [1, 4, 8] {
            world.run_job(first).await;
            world.set_clock(minutes(minute)).await;
        }
        let second = world.start(organization, agent).await.json()["data"]["jobId"].clone();
        let page = world.get(&key, &path).await.json();
        assert_eq!(ids(&page), [second, json!(first)]);
        assert_eq!(page["data"][1]["status"], json!("failed"));
        for job in page["data"].as_array().expect("jobs") {
            let id = job["id"].as_str().expect("an id");
            let alone = world.get(&key, &format!("/api/v1/jobs/{id}")).await.json();
            assert_eq!(alone["data"], *job);
        }
        let tag = world.get(&key, &path).await;
        let tag = tag.header("etag").expect("a tag");
        let again = Request::new("GET", &path).key(&key);
        let again = world.call(again.header("if-none-match", tag)).await;
        assert_eq!(again.status(), 304);
    });
}

#[test]
fn pages_hold_each_job_once_even_if_jobs_share_a_creation_time() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "pending").await;
        sqlx::query(
            "INSERT INTO jobs (type, class, status, organization_id, agent_id, data, created_at)
            SELECT 'milady_provision', 'start', 'failed', $1::uuid, $2::uuid, '{}'::jsonb,
                timestamp '2026-02-01' + n / 3 * interval '1 hour' FROM generate_series(1, 7) AS n
            UNION ALL SELECT 'image_generation', NULL, 'failed', $1, $2, '{}'::jsonb, '2026-02-01'",
        )
        .bind(organization)
        .bind(agent)
        .execute(&world.pool)
        .await
        .expect("jobs");
        let path = agent_path(agent, "/jobs");
        let all = ids(&world.get(&key, &path).await.json());
        assert_eq!(all.len(), 7);
        let (mut joined, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = world.get(&key, &format!("{path}?limit=2{cursor}")).await;
            joined.extend(ids(&page.json()));
            let page = page.json();
            let Some(next) = page["nextCursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(joined, all);
        for (query, field) in [("limit=0", "limit"), ("cursor=x", "cursor")] {
            let refused = world.get(&key, &format!("{path}?{query}")).await;
            assert_eq!(refused.status(), 400, "{query}");
            assert!(refused.text().contains(field), "{query}");
        }
    });
}

#[test]
fn jobs_of_an_unknown_or_foreign_agent_are_404() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let (_, foreign_key) = world.tenant("5").await;
        let agent = world.agent(organization, "pending").await;
        world.start(organization, agent).await;
        let path = agent_path(agent, "/jobs");
        let foreign = world.get(&foreign_key, &path).await;
        check_problem(&foreign, 404, "Agent not found");
        let unknown = agent_path(Uuid::new_v4(), "/jobs");
        check_problem(&world.get(&key, &unknown).await, 404, "Agent not found");
        assert_eq!(world.call(Request::new("GET", &path)).await.status(), 401);
        check_field_errors(
            &world.get(&key, "/api/v1/milady/agents/42/jobs").await,
            "agentId must be a UUID",
            &[("agentId", "must be a UUID")],
        );
    });
}
