//! `POST /api/v1/milady/agents/{agentId}/pairing-token` and `POST /api/auth/pair`

use expect_test::expect;
use serde_json::json;
use tests::calls::agent_path;
use tests::suite::{Request, Response};
use tests::{World, check, check_problem, run};
use uuid::Uuid;

async fn agent_with_key(world: &World, organization: Uuid) -> Uuid {
    let agent = world.agent(organization, "running").await;
    world
        .set_columns(
            agent,
            "environment_vars = '{\"MILADY_API_TOKEN\": \"the-agents-key\"}'",
        )
        .await;
    agent
}

async fn token(world: &World, key: &str, agent: Uuid) -> String {
    let answer = world.post(key, &agent_path(agent, "/pairing-token")).await;
    answer.json()["data"]["token"]
        .as_str()
        .expect("a token")
        .to_owned()
}

fn redeem(token: &str, origin: &str) -> Request {
    Request::new("POST", "/api/auth/pair")
        .header("origin", origin)
        .json(&json!({"token": token}))
}

fn home(agent: Uuid) -> String {
    format!("https://{agent}.agents.example")
}

#[test]
fn a_token_is_redeemed_once_and_only_at_the_agents_origin() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = agent_with_key(&world, organization).await;
        let made = world.post(&key, &agent_path(agent, "/pairing-token")).await;
        check(
            &made,
            expect![[r#"
            200 application/json
            {
              "data": {
                "expiresIn": 60,
                "redirectUrl": "https://<1>.agents.example/pair?token=<2>",
                "token": "<2>"
              },
              "success": true
            }
        "#]],
        );
        assert_eq!(made.header("cache-control"), Some("no-store"));
        let token = made.json()["data"]["token"]
            .as_str()
            .expect("a token")
            .to_owned();
        assert_eq!(
            made.json()["data"]["redirectUrl"],
            json!(format!("{}/pair?token={token}", home(agent)))
        );
        let stored = world
            .count("SELECT count(*) FROM milady_pairing_tokens t WHERE t::text LIKE '%' || 'pair?token' || '%'")
            .await;
        assert_eq!(stored, 0);
        check(
            &world.call(redeem(&token, &home(agent))).await,
            expect![[r#"
                200 application/json
                {
                  "agentName": "agent",
                  "apiKey": "the-agents-key",
                  "message": "Paired",
                  "success": true
                }
            "#]],
        );
        check_problem(
            &world.call(redeem(&token, &home(agent))).await,
            401,
            "This pairing token cannot be used",
        );
    });
}

#[test]
fn one_of_several_simultaneous_redemptions_succeeds() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = agent_with_key(&world, organization).await;
        let token = token(&world, &key, agent).await;
        let attempts = (0..8).map(|_| world.call_on_new_instance(redeem(&token, &home(agent))));
        let answers: Vec<Response> = futures_util::future::join_all(attempts).await;
        let mut statuses: Vec<u64> = answers.iter().map(Response::status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 401, 401, 401, 401, 401, 401, 401]);
    });
}

#[test]
fn every_token_that_cannot_be_redeemed_gets_the_same_401() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let agent = agent_with_key(&world, organization).await;
        let other_agent = agent_with_key(&world, organization).await;
        let good_token = token(&world, &key, agent).await;
        for request in [
            redeem(&good_token, &home(other_agent)),
            redeem(&good_token, "https://evil.example"),
            Request::new("POST", "/api/auth/pair").json(&json!({"token": good_token})),
            redeem("unknown", &home(agent)),
            redeem("' OR 1=1 --", &home(agent)),
        ] {
            let answer = world.call(request).await;
            check_problem(&answer, 401, "This pairing token cannot be used");
        }
        // None of these attempts has redeemed the token.
        world
            .set_clock(tests::world::hours(0) + chrono::TimeDelta::seconds(59))
            .await;
        assert_eq!(
            world.call(redeem(&good_token, &home(agent))).await.status(),
            200
        );
        let late_token = token(&world, &key, agent).await;
        world
            .set_clock(tests::world::hours(0) + chrono::TimeDelta::seconds(120))
            .await;
        assert_eq!(
            world.call(redeem(&late_token, &home(agent))).await.status(),
            401
        );
        let stopped = token(&world, &key, agent).await;
        world.set_status(agent, "stopped").await;
        assert_eq!(
            world.call(redeem(&stopped, &home(agent))).await.status(),
            401
        );
    });
}

#[test]
fn an_agent_that_does_not_run_or_has_no_address_gets_no_token() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let stopped = world.agent(organization, "stopped").await;
        check_problem(
            &world
                .post(&key, &agent_path(stopped, "/pairing-token"))
                .await,
            409,
            "Agent is not running",
        );
        let keyless = world.agent(organization, "running").await;
        assert_eq!(
            world
                .post(&key, &agent_path(keyless, "/pairing-token"))
                .await
                .status(),
            409
        );
        let (_, stranger) = world.tenant("5").await;
        assert_eq!(
            world
                .post(&stranger, &agent_path(keyless, "/pairing-token"))
                .await
                .status(),
            404
        );
        let nowhere = world
            .function("agent-pairing-token")
            .without("AGENT_BASE_DOMAIN");
        let request = Request::new("POST", &agent_path(keyless, "/pairing-token")).key(&key);
        check_problem(
            &world.call_function(&nowhere, request).await,
            503,
            "Agents have no public address",
        );
    });
}

#[test]
fn invalid_bodies_are_400() {
    run(async {
        let world = World::new().await;
        for body in [
            json!({}),
            json!({"token": 1}),
            json!({"token": ""}),
            json!({"token": "x".repeat(201)}),
            json!(null),
        ] {
            let request =
                Request::new("POST", "/api/auth/pair").header("origin", "https://a.example");
            assert_eq!(
                world.call(request.json(&body)).await.status(),
                400,
                "{body}"
            );
        }
    });
}
