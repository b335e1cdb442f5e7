//! All routes of template.yaml, one after the other: without a credential, as another tenant, with the
//! wrong role. A route that is not in the table fails the test.

use dev::template::Template;
use serde_json::{Value, json};
use tests::suite::{ORIGIN, Request};
use tests::{World, run};
use uuid::Uuid;

/// What a route needs to get past everything but the question who asks.
struct Case {
    route: &'static str,
    body: Value,
    /// Without a credential.
    nobody: u64,
    /// As the owner of another organization.
    stranger: u64,
    /// As an admin of a lesser role, for what is an operator's.
    lesser: Option<u64>,
}

const fn case(route: &'static str, nobody: u64, stranger: u64) -> Case {
    Case {
        route,
        body: Value::Null,
        nobody,
        stranger,
        lesser: None,
    }
}

/// A route of super admins: a stranger has no wallet, another admin not the role.
fn operators(route: &'static str, body: Value) -> Case {
    Case {
        body,
        lesser: Some(403),
        ..case(route, 401, 401)
    }
}

fn cases() -> Vec<Case> {
    vec![
        case("GET /api/v1/milady/agents", 401, 200),
        Case {
            body: json!({"agentName": "a"}),
            ..case("POST /api/v1/milady/agents", 401, 201)
        },
        case("GET /api/v1/milady/agents/{agentId}", 401, 404),
        Case {
            body: json!({"action": "suspend"}),
            ..case("PATCH /api/v1/milady/agents/{agentId}", 401, 404)
        },
        case("DELETE /api/v1/milady/agents/{agentId}", 401, 404),
        case("POST /api/v1/milady/agents/{agentId}/provision", 401, 404),
        case("POST /api/v1/milady/agents/{agentId}/resume", 401, 404),
        case("POST /api/v1/milady/agents/{agentId}/suspend", 401, 404),
        case("POST /api/v1/milady/agents/{agentId}/restore", 401, 404),
        case(
            "POST /api/v1/milady/agents/{agentId}/pairing-token",
            401,
            404,
        ),
        case("GET /api/v1/milady/agents/{agentId}/backups", 401, 404),
        case("POST /api/v1/milady/agents/{agentId}/snapshot", 401, 404),
        Case {
            body: json!({"jsonrpc": "2.0", "id": 1, "method": "status.get"}),
            ..case("POST /api/v1/milady/agents/{agentId}/bridge", 401, 404)
        },
        Case {
            body: json!({"jsonrpc": "2.0", "id": 1, "method": "message.send",
                "params": {"text": "Hello"}}),
            ..case("POST /api/v1/milady/agents/{agentId}/stream", 401, 404)
        },
        case("GET /api/v1/milady/agents/{agentId}/logs", 401, 404),
        case("GET /api/v1/jobs/{jobId}", 401, 404),
        case("GET /api/v1/credits/balance", 401, 200),
        case("GET /api/v1/credits/transactions", 401, 200),
        operators(
            "POST /api/v1/admin/credits",
            json!({"organizationId": Uuid::nil(), "amount": 1, "reason": "r"}),
        ),
        operators("GET /api/v1/admin/docker-nodes", Value::Null),
        operators(
            "POST /api/v1/admin/docker-nodes",
            json!({"nodeId": "n1", "hostname": "no-such-host.invalid"}),
        ),
        operators("GET /api/v1/admin/docker-nodes/{nodeId}", Value::Null),
        operators(
            "PATCH /api/v1/admin/docker-nodes/{nodeId}",
            json!({"enabled": false}),
        ),
        operators("DELETE /api/v1/admin/docker-nodes/{nodeId}", Value::Null),
        operators(
            "POST /api/v1/admin/docker-nodes/{nodeId}/health-check",
            Value::Null,
        ),
        operators("POST /api/v1/admin/docker-nodes/sync", Value::Null),
        operators("GET /api/v1/admin/docker-containers", Value::Null),
        operators(
            "GET /api/v1/admin/docker-containers/{containerId}/logs",
            Value::Null,
        ),
        operators("POST /api/v1/admin/docker-containers/audit", Value::Null),
        operators("GET /api/v1/admin/infrastructure", Value::Null),
        operators(
            "POST /api/v1/admin/infrastructure/containers/actions",
            json!({"action": "inspect", "nodeId": "n1", "containerName": format!("milady-{}", Uuid::nil())}),
        ),
        operators("GET /api/v1/admin/headscale", Value::Null),
        // The cron secret is no user's.
        case("GET /api/cron/milady-billing", 401, 401),
        case("POST /api/cron/milady-billing", 401, 401),
        // These are for everybody, and decide by what is in the request.
        Case {
            body: json!({"apiKey": "x"}),
            ..case("POST /api/v1/session", 401, 401)
        },
        case("DELETE /api/v1/session", 200, 200),
        Case {
            body: json!({"token": "x"}),
            ..case("POST /api/auth/pair", 401, 401)
        },
        case("GET /api/openapi.json", 200, 200),
        case("ANY $default", 404, 404),
    ]
}

fn request(case: &Case, agent: Uuid, job: Uuid) -> Request {
    let (method, path) = case.route.split_once(' ').expect("a route");
    let path = path
        .replace("{agentId}", &agent.to_string())
        .replace("{jobId}", &job.to_string())
        .replace("{nodeId}", "n1")
        .replace("{containerId}", &agent.to_string());
    let (method, path) = if path == "$default" {
        ("GET", "/nowhere")
    } else {
        (method, path.as_str())
    };
    let request = Request::new(method, path)
        .header("origin", ORIGIN)
        .header("idempotency-key", "walk");
    if case.body.is_null() {
        request
    } else {
        request.json(&case.body)
    }
}

#[test]
fn every_route_knows_who_may_not() {
    run(async {
        let world = World::new().await;
        let (owner, _) = world.tenant("50").await;
        let agent = world.agent(owner, "running").await;
        world.backup(agent, "auto").await;
        let started = world.agent(owner, "pending").await;
        let queued = world.start(owner, started).await.json();
        let job: Uuid = queued["data"]["jobId"]
            .as_str()
            .expect("a job")
            .parse()
            .expect("an id");
        let (_, stranger) = world.tenant("50").await;
        let (lesser, lesser_key) = world.tenant("50").await;
        world.make_admin(lesser, "moderator").await;
        let before = world.count("SELECT count(*) FROM jobs").await;
        for case in cases() {
            let asked = || request(&case, agent, job);
            let nobody = world.call(asked()).await;
            assert_eq!(
                nobody.status(),
                case.nobody,
                "{} {}",
                case.route,
                nobody.text()
            );
            let foreign = world.call(asked().key(&stranger)).await;
            assert_eq!(
                foreign.status(),
                case.stranger,
                "{} {}",
                case.route,
                foreign.text()
            );
            if let Some(status) = case.lesser {
                assert_eq!(
                    world.call(asked().key(&lesser_key)).await.status(),
                    status,
                    "{}",
                    case.route
                );
            }
            for answer in [nobody, foreign] {
                assert!(answer.header("x-request-id").is_some(), "{}", case.route);
                let problem = answer.header("content-type") == Some("application/problem+json");
                assert_eq!(problem, answer.status() >= 400, "{}", case.route);
                assert!(
                    !answer.text().contains(&agent.to_string()),
                    "{}",
                    case.route
                );
            }
        }
        assert_eq!(world.count("SELECT count(*) FROM jobs").await, before);
        assert_eq!(world.agent_row(agent).await.status, "running");
    });
}

#[test]
fn every_route_is_in_the_walk() {
    let template = Template::load().expect("template.yaml");
    let mut routes: Vec<String> = template
        .functions
        .iter()
        .flat_map(|function| &function.routes)
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    let mut walked: Vec<String> = cases().iter().map(|case| case.route.to_owned()).collect();
    routes.sort();
    walked.sort();
    assert_eq!(walked, routes);
}

#[test]
fn an_inactive_account_is_403_on_every_route_of_a_user() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let agent = world.agent(organization, "running").await;
        world
            .execute("UPDATE organizations SET is_active = false")
            .await;
        for case in cases()
            .iter()
            .filter(|case| case.nobody == 401 && case.stranger != 401)
        {
            let answer = world.call(request(case, agent, agent).key(&key)).await;
            assert_eq!(answer.status(), 403, "{} {}", case.route, answer.text());
        }
    });
}

#[test]
fn a_body_over_a_megabyte_is_413_on_every_route() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let agent = world.agent(organization, "running").await;
        for case in cases() {
            let long = request(&case, agent, agent)
                .key(&key)
                .body(vec![b' '; 1_048_577]);
            assert_eq!(world.call(long).await.status(), 413, "{}", case.route);
        }
    });
}

#[test]
fn a_database_that_is_away_is_a_503_that_says_when_to_come_again() {
    run(async {
        let world = World::new().await;
        let key = format!("eliza_{}", "d".repeat(64));
        let away = "postgres://nobody:canary@127.0.0.1:9/nowhere";
        let cases = cases();
        let asked = cases.iter().map(async |case| {
            let bearer = format!("Bearer {}", tests::suite::CRON_SECRET);
            let request = request(case, Uuid::nil(), Uuid::nil());
            let request = if case.route.contains("cron") {
                request.header("authorization", &bearer)
            } else {
                request.key(&key)
            };
            // A session is begun with a key of the right form.
            let request = if case.route == "POST /api/v1/session" {
                request.body(json!({"apiKey": key}).to_string())
            } else {
                request
            };
            let function = world.function_of(&request).with("DATABASE_URL", away);
            (case, world.call_on(&function, request).await)
        });
        for (case, answer) in futures_util::future::join_all(asked).await {
            if [200, 404].contains(&case.nobody) {
                assert_eq!(answer.status(), case.nobody, "{}", case.route);
                continue;
            }
            assert_eq!(answer.status(), 503, "{} {}", case.route, answer.text());
            assert_eq!(answer.header("retry-after"), Some("5"), "{}", case.route);
            assert!(!answer.0.to_string().contains("canary"), "{}", case.route);
        }
    });
}

#[test]
fn an_answer_comes_before_the_invocation_ends() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("50").await;
        let mut holder = world.pool.begin().await.expect("begin");
        sqlx::query("LOCK TABLE milady_sandboxes IN ACCESS EXCLUSIVE MODE")
            .execute(&mut *holder)
            .await
            .expect("a lock");
        let request = Request::new("GET", "/api/v1/milady/agents").key(&key);
        let instance = world.function("agent-list").start().await;
        let limit = std::time::Duration::from_secs(2);
        let outcome = instance.invoke(world.event(&request), limit).await;
        let dev::runtime::Outcome::Success(answer) = outcome else {
            panic!("no answer: {outcome:?}")
        };
        assert_eq!(answer["statusCode"], json!(503));
        holder.rollback().await.expect("rollback");
        // The statement that was given up does not hold the warm instance up.
        let again = instance.invoke(world.event(&request), limit).await;
        let dev::runtime::Outcome::Success(answer) = again else {
            panic!("no answer: {again:?}")
        };
        assert_eq!(answer["statusCode"], json!(200));
    });
}
