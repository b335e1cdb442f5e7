//! The paths by which clients of the earlier deployment call the routes.

use serde_json::{Value, json};
use shared::api::route::Route;
use shared::api::{older_paths, routes};
use tests::suite::{Request, Response};
use tests::{World, run};
use uuid::Uuid;

/// A valid request to one of the route's paths.
fn request(route: &Route, path: &str, agent: Uuid, key: &str) -> Request {
    let path = path
        .replace("{agentId}", &agent.to_string())
        .replace("{backupId}", &Uuid::nil().to_string());
    let request = Request::new(route.method, &path).key(key);
    let request = request.header("idempotency-key", "older");
    match &route.body {
        None => request,
        Some(body) => request.json(&serde_json::from_str(body.example).expect("JSON")),
    }
}

/// Status and body, without the id of the request.
fn answer(response: &Response) -> (u64, Value) {
    let mut body = response.json();
    if let Some(members) = body.as_object_mut() {
        members.remove("instance");
    }
    (response.status(), body)
}

#[test]
fn a_route_answers_the_same_at_its_older_path() {
    run(async {
        let world = World::new().await;
        let (owner, _) = world.tenant("50").await;
        let agent = world.agent(owner, "stopped").await;
        let (_, key) = world.tenant("50").await;
        let mut statuses = Vec::new();
        for route in routes::all() {
            let Some(older_path) = older_paths::older(route.path) else {
                continue;
            };
            let current = world.call(request(route, route.path, agent, &key)).await;
            let older = world.call(request(route, &older_path, agent, &key)).await;
            assert_eq!(answer(&older), answer(&current), "{older_path}");
            statuses.push(current.status());
        }
        statuses.sort_unstable();
        // The list, the balance, the new agent; nobody else's agent is found at any path below it.
        let count = |status: u64| statuses.iter().filter(|one| **one == status).count();
        assert_eq!((count(200), count(201)), (2, 1), "{statuses:?}");
        assert_eq!(count(404), statuses.len() - 3, "{statuses:?}");
        assert!(statuses.len() >= 17, "{statuses:?}");
        // The second request to create an agent had the key of the first.
        let agents = world.count("SELECT count(*) FROM milady_sandboxes").await;
        assert_eq!(agents, 2);
    });
}

#[test]
fn older_paths_list_the_agents_and_name_the_balance() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("12.5").await;
        let agent = world.agent(organization, "stopped").await;
        let list = world.get(&key, "/api/v1/milaidy/agents").await.json();
        assert_eq!(list["data"][0]["id"], json!(agent), "{list}");
        let shown = world
            .get(&key, &format!("/api/v1/milaidy/agents/{agent}"))
            .await;
        assert_eq!(shown.json()["data"]["id"], json!(agent), "{shown:?}");
        let balance = world.get(&key, "/api/credits/balance").await.json();
        assert_eq!(
            (&balance["success"], &balance["balance"]),
            (&json!(true), &json!(12.5))
        );
        for path in [
            "/api/v1/milaidy/config",
            "/api/v1/milaidy/agents/",
            // The README says that these are not taken over.
            "/api/auth/cli-session",
            "/api/compat/agents",
            "/api/credits/transactions?hours=24",
            "/api/v1/credits/summary",
            "/api/v1/billing/settings",
            "/api/sessions/current",
            "/api/v1/containers",
            "/api/v1/user",
        ] {
            assert_eq!(world.get(&key, path).await.status(), 404, "{path}");
        }
    });
}

#[test]
fn a_request_repeated_at_the_other_path_of_its_route_is_the_same_request() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let agent = world.agent(organization, "pending").await;
        let start = |prefix: &str, agent: Uuid| {
            let path = format!("/api/v1/{prefix}/agents/{agent}/provision");
            let request = Request::new("POST", &path).key(&key);
            world.call(request.header("idempotency-key", "once"))
        };
        let first = start("milaidy", agent).await;
        let repeated = start("milady", agent).await;
        assert_eq!(first.status(), 202, "{first:?}");
        assert_eq!(answer(&repeated), answer(&first));
        let other = world.agent(organization, "pending").await;
        assert_eq!(start("milaidy", other).await.status(), 422);
        assert_eq!(world.jobs_of(agent).await.len(), 1);
    });
}
