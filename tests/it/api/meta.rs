//! `GET /api/openapi.json`, and requests that no route takes.

use std::collections::BTreeSet;

use dev::template::Template;
use expect_test::expect;
use serde_json::Value;
use tests::suite::Request;
use tests::{World, check, run};

async fn document(world: &World) -> Value {
    world
        .call(Request::new("GET", "/api/openapi.json"))
        .await
        .json()
}

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

/// The API description, the template and the functions' folders list the same routes.
#[test]
fn api_description_lists_exactly_the_routes_of_the_template() {
    run(async {
        let world = World::new().await;
        let described: BTreeSet<(String, String, String)> = document(&world).await["paths"]
            .as_object()
            .expect("paths")
            .iter()
            .flat_map(|(path, operations)| {
                let operations = operations.as_object().expect("operations").iter();
                operations
                    .filter(|(method, _)| {
                        ["get", "post", "patch", "delete", "put"].contains(&method.as_str())
                    })
                    .map(|(method, operation)| {
                        let function = operation["x-function"].as_str().expect("a function");
                        (method.to_uppercase(), path.clone(), function.to_owned())
                    })
                    .collect::<Vec<_>>()
            })
            .collect();
        let template = Template::load().expect("template.yaml");
        let routed: BTreeSet<(String, String, String)> = template
            .functions
            .iter()
            .flat_map(|function| {
                let routes = function
                    .routes
                    .iter()
                    .filter(|route| route.path != "$default");
                routes.map(|route| {
                    (
                        route.method.clone(),
                        route.path.clone(),
                        function.name.clone(),
                    )
                })
            })
            .collect();
        assert_eq!(described, routed);
        let mut declared: Vec<String> = template.functions.iter().map(|f| f.name.clone()).collect();
        declared.sort();
        assert_eq!(declared, dev::build::function_names().expect("functions"));
    });
}

#[test]
fn unknown_route_is_404() {
    run(async {
        let world = World::new().await;
        check(
            &world.call(Request::new("GET", "/api/v1/nothing")).await,
            expect![[r#"
                404 application/problem+json
                {
                  "detail": "There is no such route",
                  "error": "There is no such route",
                  "instance": "<1>",
                  "status": 404,
                  "success": false,
                  "title": "Not Found",
                  "type": "about:blank"
                }
            "#]],
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
