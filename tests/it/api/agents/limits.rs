//! Limits on what an organization has, and on the starts of an agent and of all agents within an hour. Other limits are
//! tested in `stream_limits`, `snapshot_limits` and `jobs::limits`.

use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::Request;
use tests::world::minutes;
use tests::{World, check_field_errors, check_limit, run};
use uuid::Uuid;

use super::retry_after;

const AGENTS: &str = "/api/v1/milady/agents";
const STARTS: &str = "Starts of an agent are limited to 10 an hour; please try again later";

fn create(key: &str) -> Request {
    let body = json!({"agentName": "a"});
    Request::new("POST", AGENTS).key(key).json(&body)
}

async fn end_jobs(world: &World) {
    world
        .execute("UPDATE jobs SET status = 'failed' WHERE status = 'pending'")
        .await;
}

#[test]
fn f49_an_organizations_201st_agent_is_refused_until_another_one_is_gone() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let (_, others_key) = world.tenant("50").await;
        sqlx::query(
            "INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status)
            SELECT $1, id, 'agent ' || n, CASE WHEN n % 2 = 0 THEN 'pending' ELSE 'error' END
            FROM users, generate_series(1, 199) n WHERE organization_id = $1",
        )
        .bind(organization)
        .execute(&world.pool)
        .await
        .expect("agents");
        let last = || create(&key).header("idempotency-key", "last");
        let created = world.call(last()).await;
        assert_eq!(created.status(), 201, "{created:?}");
        let refused = world.call(create(&key)).await;
        let text = "Agents are limited to 200 per organization; delete one first";
        check_limit(&refused, 409, text, ("agents", 200, 200));
        assert_eq!(retry_after(&refused), None);
        // What was accepted is no further agent, and neither is another organization's.
        let repeated = world.call(last()).await;
        assert_eq!((repeated.status(), repeated.json()), (201, created.json()));
        assert_eq!(world.call(create(&others_key)).await.status(), 201);
        let id = created.json()["data"]["id"].clone();
        let agent: Uuid = serde_json::from_value(id).expect("an id");
        // What is there already can be stopped and deleted.
        let suspend = Request::new("PATCH", &agent_path(agent, "")).key(&key);
        let suspended = suspend.json(&json!({"action": "suspend"}));
        assert_eq!(world.call(suspended).await.status(), 200);
        let delete = Request::new("DELETE", &agent_path(agent, "")).key(&key);
        assert_eq!(world.call(delete).await.status(), 200);
        assert_eq!(world.call(create(&key)).await.status(), 201);
        assert_eq!(world.call(create(&key)).await.status(), 409);
    });
}

#[test]
fn f49_an_operators_limit_replaces_the_default() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        world.set_limit(organization, "agents", 1).await;
        assert_eq!(world.call(create(&key)).await.status(), 201);
        assert_eq!(world.call(create(&key)).await.status(), 409);
        world.set_limit(organization, "agents", 3).await;
        assert_eq!(world.call(create(&key)).await.status(), 201);
        // Below what there is: it stays, and nothing is added.
        world.set_limit(organization, "agents", 0).await;
        let refused = world.call(create(&key)).await;
        let text = "Agents are limited to 0 per organization";
        check_limit(&refused, 409, text, ("agents", 2, 0));
        assert_eq!(
            world.count("SELECT count(*) FROM milady_sandboxes").await,
            2
        );
    });
}

#[test]
fn f49_simultaneous_requests_create_no_more_agents_than_allowed() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        world.set_limit(organization, "agents", 5).await;
        for _ in 0..3 {
            world.agent(organization, "pending").await;
        }
        let requests = (0..20).map(|_| world.call_on_new_instance(create(&key)));
        let answers = futures_util::future::join_all(requests).await;
        let with = |status| answers.iter().filter(|one| one.status() == status).count();
        assert_eq!((with(201), with(409)), (2, 18), "{answers:?}");
        assert_eq!(
            world.count("SELECT count(*) FROM milady_sandboxes").await,
            5
        );
    });
}

#[test]
fn f49_an_agents_settings_are_limited_as_a_whole() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("50").await;
        let post = async |variables: Value| {
            let body = json!({"agentName": "a", "environmentVars": variables});
            world.post_json(&key, AGENTS, &body).await
        };
        let half = |length| json!({"AB": "x".repeat(32_766), "CD": "x".repeat(length)});
        assert_eq!(post(half(32_766)).await.status(), 201);
        let rule = "names and values must have at most 65,536 bytes together";
        check_field_errors(
            &post(half(32_767)).await,
            &format!("environmentVars {rule}"),
            &[("environmentVars", rule)],
        );
        // Bytes count, not characters.
        let wide = json!({"A": "ü".repeat(32_768)});
        assert_eq!(post(wide).await.status(), 400);
        let braces = r#"{"a":""}"#.len();
        for (bytes, status) in [(65_536, 201), (65_537, 400)] {
            let config = json!({"a": "x".repeat(bytes - braces)});
            let body = json!({"agentName": "a", "agentConfig": config});
            let response = world.post_json(&key, AGENTS, &body).await;
            assert_eq!(response.status(), status, "{bytes}");
        }
    });
}

#[test]
fn f49_starts_beyond_those_that_may_wait_are_refused_on_every_route() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        world.set_limit(organization, "active_starts", 2).await;
        let agents = [
            world.agent(organization, "pending").await,
            world.agent(organization, "pending").await,
        ];
        for agent in agents {
            let path = agent_path(agent, "/provision");
            assert_eq!(world.post(&key, &path).await.status(), 202);
        }
        let third = world.agent(organization, "stopped").await;
        world.backup(third, "auto").await;
        let text =
            "Starts that wait or run are limited to 2 per organization; please try again later";
        for route in ["/provision", "/resume", "/restore", "/resume?sync=true"] {
            let refused = world.post(&key, &agent_path(third, route)).await;
            check_limit(&refused, 429, text, ("activeStarts", 2, 2));
            assert_eq!(retry_after(&refused), Some("90"), "{route}");
        }
        // A start that is under way already is no further one, and its 409 has a body of its own.
        let repeated = world.post(&key, &agent_path(agents[0], "/provision")).await;
        let body = repeated.json();
        assert_eq!(repeated.status(), 409, "{repeated:?}");
        assert_eq!(body["alreadyInProgress"], json!(true));
        assert_eq!(body.get("limit"), None);
        let (others, others_key) = world.tenant("50").await;
        let path = agent_path(world.agent(others, "pending").await, "/provision");
        assert_eq!(world.post(&others_key, &path).await.status(), 202);
        world
            .execute("UPDATE jobs SET status = 'completed' WHERE status = 'pending'")
            .await;
        let path = agent_path(third, "/resume");
        assert_eq!(world.post(&key, &path).await.status(), 202);
        end_jobs(&world).await;
        world.set_limit(organization, "active_starts", 0).await;
        let refused = world.post(&key, &path).await;
        let text = "Starts that wait or run are limited to 0 per organization";
        check_limit(&refused, 409, text, ("activeStarts", 0, 0));
        assert_eq!(retry_after(&refused), None);
    });
}

#[test]
fn f49_a_51st_start_of_an_organization_is_refused() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        sqlx::query(
            "WITH started AS (
                INSERT INTO milady_sandboxes (organization_id, user_id, agent_name, status)
                SELECT $1, id, 'agent ' || n, 'pending' FROM users, generate_series(1, 50) n
                WHERE organization_id = $1 RETURNING id)
            INSERT INTO jobs (type, class, organization_id, agent_id, data, status)
            SELECT 'milady_provision', 'start', $1, id, jsonb_build_object('agentId', id), 'pending' FROM started",
        )
        .bind(organization)
        .execute(&world.pool)
        .await
        .expect("jobs");
        let agent = world.agent(organization, "pending").await;
        let refused = world.post(&key, &agent_path(agent, "/provision")).await;
        let text =
            "Starts that wait or run are limited to 50 per organization; please try again later";
        check_limit(&refused, 429, text, ("activeStarts", 50, 50));
    });
}

#[test]
fn f63_an_agents_eleventh_start_within_an_hour_is_refused() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let agent = world.agent(organization, "pending").await;
        let path = agent_path(agent, "/provision");
        for minute in 0..10 {
            world.set_clock(minutes(minute)).await;
            assert_eq!(world.post(&key, &path).await.status(), 202, "{minute}");
            // The first request is repeated while its job is active: that is no start.
            assert_eq!(world.post(&key, &path).await.status(), 409, "{minute}");
            end_jobs(&world).await;
        }
        let reached = ("startsPerAgentAndHour", 10, 10);
        let refused = world.post(&key, &path).await;
        check_limit(&refused, 429, STARTS, reached);
        // The first start was nine minutes ago.
        assert_eq!(retry_after(&refused), Some("3060"));
        world.backup(agent, "auto").await;
        world.set_columns(agent, "status = 'stopped'").await;
        for route in ["/restore", "/resume"] {
            let refused = world.post(&key, &agent_path(agent, route)).await;
            check_limit(&refused, 429, STARTS, reached);
        }
        let another = world.agent(organization, "pending").await;
        let response = world.post(&key, &agent_path(another, "/provision")).await;
        assert_eq!(response.status(), 202, "{response:?}");
        world.set_clock(minutes(60)).await;
        assert_eq!(world.post(&key, &path).await.status(), 202);
    });
}

#[test]
fn f49_the_starts_of_deleted_agents_count_for_their_organization() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let (_, others_key) = world.tenant("50").await;
        for column in ["agents", "starts_per_agent_and_hour"] {
            world.set_limit(organization, column, 2).await;
        }
        let start_new_agent = async |key: &str| {
            let created = world.call(create(key)).await;
            assert_eq!(created.status(), 201, "{created:?}");
            let id = created.json()["data"]["id"].clone();
            let agent: Uuid = serde_json::from_value(id).expect("an id");
            let response = world.post(key, &agent_path(agent, "/provision")).await;
            let delete = Request::new("DELETE", &agent_path(agent, "")).key(key);
            assert_eq!(world.call(delete).await.status(), 200);
            response
        };
        for minute in 0..4 {
            world.set_clock(minutes(minute)).await;
            assert_eq!(start_new_agent(&key).await.status(), 202, "{minute}");
        }
        let refused = start_new_agent(&key).await;
        let text = "Starts of all agents are limited to 4 an hour; please try again later";
        check_limit(&refused, 429, text, ("startsPerHour", 4, 4));
        // The first start was three minutes ago.
        assert_eq!(retry_after(&refused), Some("3420"));
        assert_eq!(start_new_agent(&others_key).await.status(), 202);
        world.set_clock(minutes(60)).await;
        assert_eq!(start_new_agent(&key).await.status(), 202);
    });
}

#[test]
fn f49_an_operators_limit_on_starts_holds_for_each_agent() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let agent = world.agent(organization, "pending").await;
        let path = agent_path(agent, "/provision");
        let column = "starts_per_agent_and_hour";
        for minute in 0..2 {
            world.set_clock(minutes(minute)).await;
            assert_eq!(world.post(&key, &path).await.status(), 202);
            end_jobs(&world).await;
        }
        world.set_limit(organization, column, 1).await;
        let refused = world.post(&key, &path).await;
        let text = "Starts of an agent are limited to 1 an hour; please try again later";
        check_limit(&refused, 429, text, ("startsPerAgentAndHour", 2, 1));
        // Both starts must be an hour old.
        assert_eq!(retry_after(&refused), Some("3600"));
        world.set_limit(organization, column, 0).await;
        let refused = world.post(&key, &path).await;
        let text = "Starts of an agent are limited to 0 an hour";
        check_limit(&refused, 409, text, ("startsPerAgentAndHour", 2, 0));
        world.set_limit(organization, column, 3).await;
        assert_eq!(world.post(&key, &path).await.status(), 202);
    });
}

#[test]
fn f49_a_stop_that_a_start_cancels_counts_as_a_start() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let agent = world.agent(organization, "running").await;
        world
            .set_limit(organization, "starts_per_agent_and_hour", 3)
            .await;
        let request = async |action: &str| {
            let path = format!("/api/v1/milady/agents/{agent}/{action}");
            world.post(&key, &path).await.status()
        };
        for _ in 0..3 {
            assert_eq!(request("suspend").await, 202);
            assert_eq!(request("resume").await, 200);
        }
        assert_eq!(request("suspend").await, 202);
        assert_eq!(request("resume").await, 429);
    });
}
