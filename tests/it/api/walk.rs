//! All routes of `template.yaml`: without a credential, as another tenant, with the wrong role, with a body that is too
//! large, without the database, and the headers of their answers. A route that is not in the table fails the test.

mod organizations;

use dev::template::Template;
use serde_json::{Value, json};
use shared::api::older_paths;
use shared::api::problem::PROBLEM_JSON;
use tests::suite::{ORIGIN, Request};
use tests::{World, run};
use uuid::Uuid;

/// A request that is valid except for its caller, and the expected statuses.
struct Case {
    route: &'static str,
    body: Value,
    /// Without a credential.
    anonymous: u64,
    /// As a user of another organization.
    foreign: u64,
    /// As an admin with a lesser role, for routes of super admins.
    moderator: Option<u64>,
}

const fn case(route: &'static str, anonymous: u64, foreign: u64) -> Case {
    Case {
        route,
        body: Value::Null,
        anonymous,
        foreign,
        moderator: None,
    }
}

/// A route of super admins. It refuses other users with 403, whether or not they have a wallet.
fn admin_case(route: &'static str, body: Value) -> Case {
    Case {
        body,
        moderator: Some(403),
        ..case(route, 401, 403)
    }
}

fn cases() -> Vec<Case> {
    let mut cases = vec![
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
        case("GET /api/v1/milady/agents/{agentId}/jobs", 401, 404),
        case("GET /api/v1/milady/agents/{agentId}/backups", 401, 404),
        case(
            "GET /api/v1/milady/agents/{agentId}/backups/{backupId}/download",
            401,
            404,
        ),
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
        case("GET /api/compat/agents/{agentId}/logs", 401, 404),
        case("GET /api/v1/milady/agents/{agentId}/figures", 401, 404),
        case("GET /api/v1/milady/config", 401, 200),
        case("GET /api/v1/limits", 401, 200),
        case("GET /api/v1/settings", 401, 200),
        case("GET /api/v1/notices", 401, 200),
        Case {
            body: json!({"automaticResume": true}),
            ..case("PATCH /api/v1/settings", 401, 200)
        },
        Case {
            body: json!({"kind": "webhook"}),
            ..case("POST /api/v1/settings/webhook/test", 401, 404)
        },
        admin_case("GET /api/v1/admin/mails", Value::Null),
        admin_case("POST /api/v1/admin/mails/{mailId}/retry", Value::Null),
        case("GET /api/v1/jobs/{jobId}", 401, 404),
        case("GET /api/v1/credits/balance", 401, 200),
        case("GET /api/v1/credits/transactions", 401, 200),
        case(
            "GET /api/v1/credits/transactions/{transactionId}/charges",
            401,
            404,
        ),
        case("GET /api/v1/credits/usage", 401, 200),
        case("GET /api/v1/credits/series", 401, 200),
        admin_case(
            "PATCH /api/v1/admin/agents/{agentId}/billing",
            json!({"exempt": true}),
        ),
        admin_case("POST /api/v1/admin/agents/{agentId}/move", Value::Null),
        admin_case(
            "POST /api/v1/admin/agents/{agentId}/suspend",
            json!({"reason": "r"}),
        ),
        admin_case("GET /api/v1/admin/docker-nodes", Value::Null),
        admin_case(
            "POST /api/v1/admin/docker-nodes",
            json!({"nodeId": "n1", "hostname": "no-such-host.invalid"}),
        ),
        admin_case("GET /api/v1/admin/docker-nodes/{nodeId}", Value::Null),
        admin_case(
            "GET /api/v1/admin/docker-nodes/{nodeId}/figures",
            Value::Null,
        ),
        admin_case(
            "PATCH /api/v1/admin/docker-nodes/{nodeId}",
            json!({"enabled": false}),
        ),
        admin_case("DELETE /api/v1/admin/docker-nodes/{nodeId}", Value::Null),
        admin_case(
            "POST /api/v1/admin/docker-nodes/{nodeId}/health-check",
            Value::Null,
        ),
        admin_case(
            "POST /api/v1/admin/docker-nodes/{nodeId}/lost",
            json!({"nodeId": "n1"}),
        ),
        admin_case(
            "DELETE /api/v1/admin/docker-nodes/{nodeId}/lost",
            Value::Null,
        ),
        admin_case("GET /api/v1/admin/docker-nodes/{nodeId}/drain", Value::Null),
        admin_case(
            "POST /api/v1/admin/docker-nodes/{nodeId}/drain",
            Value::Null,
        ),
        admin_case(
            "DELETE /api/v1/admin/docker-nodes/{nodeId}/drain",
            Value::Null,
        ),
        admin_case("POST /api/v1/admin/docker-nodes/sync", Value::Null),
        admin_case(
            "POST /api/v1/admin/docker-nodes/probe",
            json!({"hostname": "no-such-host.invalid"}),
        ),
        admin_case("GET /api/v1/admin/docker-containers", Value::Null),
        admin_case(
            "GET /api/v1/admin/docker-containers/{containerId}/logs",
            Value::Null,
        ),
        admin_case("POST /api/v1/admin/docker-containers/audit", Value::Null),
        admin_case("GET /api/v1/admin/infrastructure", Value::Null),
        admin_case("GET /api/v1/admin/billing/findings", Value::Null),
        admin_case("GET /api/v1/admin/billing/runs", Value::Null),
        admin_case("GET /api/v1/admin/audit", Value::Null),
        admin_case(
            "POST /api/v1/admin/infrastructure/containers/actions",
            json!({"action": "inspect", "nodeId": "n1", "containerName": format!("milady-{}", Uuid::nil())}),
        ),
        admin_case("GET /api/v1/admin/headscale", Value::Null),
        admin_case("GET /api/v1/admin/image-roll-out", Value::Null),
        admin_case(
            "POST /api/v1/admin/image-roll-out",
            json!({"digest": format!("sha256:{}", "2".repeat(64))}),
        ),
        admin_case(
            "PATCH /api/v1/admin/image-roll-out",
            json!({"paused": true}),
        ),
        admin_case("DELETE /api/v1/admin/image-roll-out", Value::Null),
        // The key of a user is not the cron secret.
        case("GET /api/cron/milady-billing", 401, 401),
        case("POST /api/cron/milady-billing", 401, 401),
        // These need no credential of a user.
        Case {
            body: json!({"apiKey": "x"}),
            ..case("POST /api/v1/session", 401, 401)
        },
        case("DELETE /api/v1/session", 200, 200),
        case("GET /api/v1/session", 401, 200),
        Case {
            body: json!({"token": "x"}),
            ..case("POST /api/auth/pair", 401, 401)
        },
        case("GET /api/openapi.json", 200, 200),
        case("ANY /api", 404, 404),
        case("ANY /api/{proxy+}", 404, 404),
    ];
    cases.extend(organizations::cases());
    cases
}

fn request(case: &Case, agent: Uuid, job: Uuid) -> Request {
    let (method, path) = case.route.split_once(' ').expect("a route");
    let path = path
        .replace("{agentId}", &agent.to_string())
        .replace("{jobId}", &job.to_string())
        .replace("{backupId}", &Uuid::nil().to_string())
        .replace("{nodeId}", "n1")
        .replace("{organizationId}", &Uuid::nil().to_string())
        .replace("{transactionId}", "019ca700-3e80-8000-8000-000000000001")
        .replace("{mailId}", &Uuid::nil().to_string())
        .replace("{keyId}", &Uuid::nil().to_string())
        .replace("{containerId}", &agent.to_string());
    let path = path.replace("{proxy+}", "nowhere");
    let (method, path) = (if method == "ANY" { "GET" } else { method }, path.as_str());
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
fn every_route_refuses_unauthorized_callers() {
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
        let (_, foreign_key) = world.tenant("50").await;
        let (moderators, moderator_key) = world.tenant("50").await;
        world.make_admin(moderators, "moderator").await;
        let jobs_before = world.count("SELECT count(*) FROM jobs").await;
        for case in cases() {
            let case_request = || request(&case, agent, job);
            let anonymous = world
                .call(case_request().header("accept", PROBLEM_JSON))
                .await;
            assert_eq!(
                anonymous.status(),
                case.anonymous,
                "{} {}",
                case.route,
                anonymous.text()
            );
            let foreign = world.call(case_request().key(&foreign_key)).await;
            assert_eq!(
                foreign.status(),
                case.foreign,
                "{} {}",
                case.route,
                foreign.text()
            );
            if let Some(status) = case.moderator {
                assert_eq!(
                    world
                        .call(case_request().key(&moderator_key))
                        .await
                        .status(),
                    status,
                    "{}",
                    case.route
                );
            }
            for (response, error_type) in [(anonymous, PROBLEM_JSON), (foreign, "application/json")]
            {
                assert!(response.header("x-request-id").is_some(), "{}", case.route);
                if response.status() >= 400 {
                    let content_type = response.header("content-type");
                    assert_eq!(content_type, Some(error_type), "{}", case.route);
                    let body = response.json();
                    assert_eq!(body["success"], json!(false), "{}", case.route);
                    assert_eq!(body["error"], body["detail"], "{}", case.route);
                }
                assert!(
                    !response.text().contains(&agent.to_string()),
                    "{}",
                    case.route
                );
            }
        }
        assert_eq!(world.count("SELECT count(*) FROM jobs").await, jobs_before);
        assert_eq!(world.agent_row(agent).await.status, "running");
    });
}

#[test]
fn table_holds_every_route_of_the_template() {
    let template = Template::load().expect("template.yaml");
    let mut routes: Vec<String> = template
        .functions
        .iter()
        .flat_map(|function| &function.routes)
        // Everything outside `/api` is the dashboard's. Older paths have tests of their own.
        .filter(|route| route.path != "$default")
        .filter(|route| older_paths::current(&route.path) == route.path)
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    let mut listed: Vec<String> = cases().iter().map(|case| case.route.to_owned()).collect();
    routes.sort();
    listed.sort();
    assert_eq!(listed, routes);
}

#[test]
fn inactive_account_gets_403_on_every_route_of_a_user() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let agent = world.agent(organization, "running").await;
        world
            .execute("UPDATE organizations SET is_active = false")
            .await;
        for case in cases()
            .iter()
            .filter(|case| case.anonymous == 401 && case.foreign != 401)
        {
            let response = world.call(request(case, agent, agent).key(&key)).await;
            assert_eq!(response.status(), 403, "{} {}", case.route, response.text());
        }
    });
}

#[test]
fn body_over_a_megabyte_is_413_on_every_route() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("50").await;
        let agent = world.agent(organization, "running").await;
        for case in cases() {
            let too_large = request(&case, agent, agent)
                .key(&key)
                .body(vec![b' '; 1_048_577]);
            assert_eq!(world.call(too_large).await.status(), 413, "{}", case.route);
        }
    });
}

#[test]
fn unreachable_database_is_503_with_retry_after() {
    run(async {
        let world = World::new().await;
        let key = format!("eliza_{}", "d".repeat(64));
        let unreachable = "postgres://nobody:canary@127.0.0.1:9/nowhere";
        let cases = cases();
        let responses = cases.iter().map(async |case| {
            let bearer = format!("Bearer {}", tests::suite::CRON_SECRET);
            let request = request(case, Uuid::nil(), Uuid::nil());
            let request = if case.route.contains("cron") {
                request.header("authorization", &bearer)
            } else {
                request.key(&key)
            };
            // Only a key of the right form makes the route query the database.
            let request = if case.route == "POST /api/v1/session" {
                request.body(json!({"apiKey": key}).to_string())
            } else {
                request
            };
            let function = world
                .function_for(&request)
                .with("RUNTIME_DATABASE_URL", unreachable);
            (case, world.call_function(&function, request).await)
        });
        for (case, response) in futures_util::future::join_all(responses).await {
            if [200, 404].contains(&case.anonymous) {
                assert_eq!(response.status(), case.anonymous, "{}", case.route);
                continue;
            }
            assert_eq!(response.status(), 503, "{} {}", case.route, response.text());
            assert_eq!(response.header("retry-after"), Some("5"), "{}", case.route);
            assert!(!response.0.to_string().contains("canary"), "{}", case.route);
        }
    });
}

#[test]
fn handler_is_cancelled_before_the_invocation_ends() {
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
        let dev::runtime::Outcome::Success(response) = outcome else {
            panic!("no response: {outcome:?}")
        };
        assert_eq!(response["statusCode"], json!(503));
        holder.rollback().await.expect("rollback");
        // The cancelled statement does not block the warm instance.
        let second = instance.invoke(world.event(&request), limit).await;
        let dev::runtime::Outcome::Success(response) = second else {
            panic!("no response: {second:?}")
        };
        assert_eq!(response["statusCode"], json!(200));
    });
}

#[test]
fn every_answer_has_the_headers_that_protect_browsers() {
    run(async {
        let world = World::new().await;
        let (organization, _) = world.tenant("50").await;
        let agent = world.agent(organization, "running").await;
        let (_, key) = world.tenant("50").await;
        let mut requests: Vec<(&str, Request)> = Vec::new();
        for case in &cases() {
            let request = || request(case, agent, agent);
            requests.push((case.route, request()));
            requests.push((case.route, request().key(&key)));
            requests.push((case.route, request().key(&key).body("{")));
        }
        for path in ["/", "/nowhere", "/assets/none.js"] {
            requests.push((path, Request::new("GET", path)));
        }
        for (route, request) in requests {
            let response = world.call(request).await;
            let case = format!("{route} {}", response.status());
            let header = |name: &str| response.header(name).unwrap_or_default();
            assert_eq!(header("x-content-type-options"), "nosniff", "{case}");
            assert_eq!(header("referrer-policy"), "no-referrer", "{case}");
            let transport = header("strict-transport-security");
            assert!(transport.starts_with("max-age=63072000"), "{case}");
            let policy = header("content-security-policy");
            assert!(policy.starts_with("default-src 'none'"), "{case}");
            assert!(policy.contains("frame-ancestors 'none'"), "{case}");
            let caching = header("cache-control");
            // Only the dashboard's files, which are the same for everybody, may be stored by others.
            let is_private = ["no-store", "private, no-cache"].contains(&caching);
            assert!(is_private || !route.contains("/api"), "{case}: {caching}");
            // The gateway alone says which origins may call.
            let origins = response.header("access-control-allow-origin");
            assert_eq!(origins, None, "{case}");
        }
    });
}

#[test]
fn cross_origin_calls_are_only_for_the_origins_of_the_parameter() {
    let template = Template::load().expect("template.yaml");
    let cors = template.cors.expect("the API's cross-origin settings");
    assert!(cors.credentials);
    assert!(
        !cors.origins.iter().any(|origin| origin.contains('*')),
        "{cors:?}"
    );
    // The API's own and those of the URL that streams.
    let path = dev::build::workspace().join("template.yaml");
    let text = std::fs::read_to_string(path).expect("template.yaml");
    let origins: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("AllowOrigins:"))
        .collect();
    assert_eq!(origins, ["AllowOrigins: !Ref AllowedOrigins"; 2]);
}
