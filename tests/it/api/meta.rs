//! `GET /api/openapi.json`, and requests that no route takes.

use shared::api::problem::PROBLEM_JSON;
use shared::api::routes;
use tests::suite::Request;
use tests::{World, check_problem, run};

#[test]
fn api_description_needs_no_credential() {
    run(async {
        let world = World::new().await;
        let response = world.call(Request::new("GET", "/api/openapi.json")).await;
        assert_eq!(
            (response.status(), response.header("content-type")),
            (200, Some("application/json"))
        );
        assert_eq!(response.json()["openapi"], "3.1.0");
        let tag = response.header("etag").expect("a tag");
        let conditional = Request::new("GET", "/api/openapi.json").header("if-none-match", tag);
        assert_eq!(world.call(conditional).await.status(), 304);
    });
}

/// From this the dashboard knows which actions a caller may use.
#[test]
fn api_description_says_of_each_operation_whom_it_serves() {
    run(async {
        let world = World::new().await;
        let document = world
            .call(Request::new("GET", "/api/openapi.json"))
            .await
            .json();
        for route in routes::all() {
            let operation = &document["paths"][route.path][route.method.to_lowercase()];
            assert_eq!(
                operation["x-caller"],
                route.caller.as_str(),
                "{} {}",
                route.method,
                route.path
            );
        }
    });
}

#[test]
fn unknown_route_is_404() {
    run(async {
        let world = World::new().await;
        check_problem(
            &world.call(Request::new("GET", "/api/v1/nothing")).await,
            404,
            "There is no such route",
        );
        for (method, path) in [
            ("PUT", "/api/v1/milady/agents"),
            ("DELETE", "/api/v1/milady/agents"),
            ("GET", "/api"),
            ("GET", "/api/"),
            ("POST", "/api/v1/milady/agents/x/explode"),
            ("GET", "/api/v1/milady/agents/"),
            ("GET", "/api/%2e%2e/%2e%2e/etc/passwd"),
            ("GET", "/api/assets/app.js"),
        ] {
            assert_eq!(
                world.call(Request::new(method, path)).await.status(),
                404,
                "{method} {path}"
            );
        }
    });
}

#[test]
fn an_error_is_a_problem_document_only_for_a_client_that_names_them() {
    run(async {
        let world = World::new().await;
        for (accept, content_type) in [
            ("", "application/json"),
            ("*/*", "application/json"),
            ("application/json, text/event-stream", "application/json"),
            ("application/*", "application/json"),
            ("application/problem+json;q=0", "application/json"),
            ("application/problem+json", PROBLEM_JSON),
            ("text/html, Application/Problem+JSON; q=0.1", PROBLEM_JSON),
        ] {
            for (path, status) in [
                ("/api/v1/nothing", 404),
                ("/api/v1/milady/agents", 401),
                ("/api/cron/milady-billing", 401),
            ] {
                let request = Request::new("GET", path).header("accept", accept);
                let response = world.call(request).await;
                assert_eq!(response.status(), status, "{path}");
                assert_eq!(
                    response.header("content-type"),
                    Some(content_type),
                    "{path} {accept}"
                );
                let body = response.json();
                let members: Vec<&str> = body
                    .as_object()
                    .expect("an object")
                    .keys()
                    .map(String::as_str)
                    .collect();
                let expected = [
                    "detail", "error", "instance", "status", "success", "title", "type",
                ];
                assert_eq!(members, expected, "{path}");
            }
        }
    });
}

#[test]
fn paths_outside_the_api_are_the_dashboards() {
    run(async {
        let world = World::new().await;
        // 503 where the dashboard is not built.
        let page = world.call(Request::new("GET", "/agents")).await;
        assert!([200, 503].contains(&page.status()), "{}", page.status());
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        for path in [
            "/",
            "/agents",
            "/assets/none.js",
            "/%2e%2e/%2e%2e/etc/passwd",
            "//evil.example/",
        ] {
            let response = world.call(Request::new("GET", path)).await;
            let policy = response
                .header("content-security-policy")
                .expect("a policy");
            assert!(policy.starts_with("default-src 'none'"), "{path}");
            assert_eq!(response.header("x-frame-options"), Some("DENY"), "{path}");
            assert_ne!(response.status(), 500, "{path}");
        }
        assert_eq!(
            world.call(Request::new("POST", "/agents")).await.status(),
            405
        );
    });
}
