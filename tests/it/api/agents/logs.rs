//! `GET /api/v1/milady/agents/{agentId}/logs` and `GET /api/compat/agents/{agentId}/logs`

use tests::calls::agent_path;
use tests::suite::Request;
use tests::{World, check_problem, run};
use uuid::Uuid;

use super::{agent_on_unreachable_host, call_without_leak};

const PATHS: [&str; 2] = [
    "/api/v1/milady/agents/{agentId}/logs",
    "/api/compat/agents/{agentId}/logs",
];

#[test]
fn only_callers_of_the_agents_organization_read_its_log() {
    run(async {
        let world = World::new().await;
        let (organization, _) = world.tenant("5").await;
        let (_, stranger) = world.tenant("5").await;
        let agent = world.agent(organization, "running").await;
        for path in PATHS {
            let of = |id: &str| path.replace("{agentId}", id);
            let id = agent.to_string();
            let nobody = world.call(Request::new("GET", &of(&id))).await;
            assert_eq!(nobody.status(), 401, "{path}");
            for id in [id, Uuid::new_v4().to_string()] {
                let answer = world.get(&stranger, &of(&id)).await;
                check_problem(&answer, 404, "Agent not found");
            }
            let malformed = world.get(&stranger, &of("17")).await;
            assert_eq!(malformed.json()["details"][0]["field"], "agentId");
            assert_eq!(malformed.status(), 400, "{path}");
        }
    });
}

#[test]
fn invalid_log_parameters_are_refused_with_the_reason() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = world.agent(organization, "pending").await;
        for (query, field) in [
            ("tail=0", "tail"),
            ("tail=5001", "tail"),
            ("tail=-1", "tail"),
            ("tail=x", "tail"),
            ("tail=1.5", "tail"),
            ("tail=99999999999999999999", "tail"),
            ("since=nonsense", "since"),
            ("since=-1h", "since"),
            ("since=1w", "since"),
            ("since=h", "since"),
            ("since=2026-13-01T00:00:00Z", "since"),
            ("since=99999999999999999999s", "since"),
        ] {
            let path = agent_path(agent, &format!("/logs?{query}"));
            let answer = world.get(&key, &path).await;
            assert_eq!(answer.status(), 400, "{query} {}", answer.text());
            assert_eq!(answer.json()["details"][0]["field"], field, "{query}");
        }
        // Valid parameters get as far as the container, which does not exist.
        for query in [
            "tail=1",
            "tail=5000",
            "since=1h",
            "since=2026-03-01T00:00:00Z",
            "tail=7&since=90s",
        ] {
            let path = agent_path(agent, &format!("/logs?{query}"));
            assert_eq!(world.get(&key, &path).await.status(), 409, "{query}");
        }
    });
}

#[test]
fn an_agent_without_a_container_has_no_log() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        for columns in [
            "status = 'pending'",
            "status = 'stopped', last_backup_at = now(), node_id = 'n1'",
            "status = 'running', container_name = 'c'",
            // Its host was removed.
            "status = 'running', node_id = 'gone', container_name = 'c'",
        ] {
            let agent = world.agent(organization, "pending").await;
            world.set_columns(agent, columns).await;
            for path in PATHS {
                let path = path.replace("{agentId}", &agent.to_string());
                let answer = world.get(&key, &path).await;
                assert_eq!(
                    (answer.status(), answer.json()["error"].as_str()),
                    (409, Some("Agent has no container")),
                    "{path} {columns}"
                );
            }
        }
    });
}

#[test]
fn an_unreachable_host_is_reported_without_its_address() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = agent_on_unreachable_host(&world, organization).await;
        // Logs can be read in every state: the log of an agent that failed may hold the reason.
        for status in ["running", "error"] {
            world.set_status(agent, status).await;
            let request = Request::new("GET", &agent_path(agent, "/logs")).key(&key);
            let answer = call_without_leak(&world, "agent-logs", &request).await;
            check_problem(&answer, 503, "The host cannot be reached");
            assert_eq!(answer.header("retry-after"), Some("30"));
        }
    });
}
