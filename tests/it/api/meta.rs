//! `GET /api/openapi.json`, and requests that no route takes.

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
