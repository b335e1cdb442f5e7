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
            ("GET", "/"),
            ("POST", "/api/v1/milady/agents/x/explode"),
            ("GET", "/api/v1/milady/agents/"),
            ("GET", "/%2e%2e/%2e%2e/etc/passwd"),
            ("GET", "//evil.example/"),
        ] {
            assert_eq!(
                world.call(Request::new(method, path)).await.status(),
                404,
                "{method} {path}"
            );
        }
    });
}
