//! `GET /api/openapi.json`, and what no route takes

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
fn the_description_is_served_to_everybody() {
    run(async {
        let world = World::new().await;
        let answer = world.call(Request::new("GET", "/api/openapi.json")).await;
        assert_eq!(
            (answer.status(), answer.header("content-type")),
            (200, Some("application/json"))
        );
        assert_eq!(answer.json()["openapi"], "3.1.0");
        let tag = answer.header("etag").expect("a tag");
        let again = Request::new("GET", "/api/openapi.json").header("if-none-match", tag);
        assert_eq!(world.call(again).await.status(), 304);
    });
}

/// Routes, function folders, the template and the description say the same.
#[test]
fn the_description_has_exactly_the_routes_there_are() {
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
        assert_eq!(declared, dev::build::names().expect("functions"));
    });
}

#[test]
fn what_no_route_takes_is_a_404_that_says_so() {
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
