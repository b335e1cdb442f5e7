//! `POST|DELETE /api/v1/session`

use expect_test::expect;
use serde_json::json;
use tests::suite::{ORIGIN, Request};
use tests::world::{hours, minutes};
use tests::{World, check, check_problem, run};

const SESSION: &str = "/api/v1/session";
const LIST: &str = "/api/v1/milady/agents";

fn begin(key: &str) -> Request {
    Request::new("POST", SESSION)
        .header("origin", ORIGIN)
        .json(&json!({"apiKey": key}))
}

fn list(cookie: &str) -> Request {
    Request::new("GET", LIST).header("cookie", cookie)
}

#[test]
fn session_cookie_authenticates_for_twelve_hours() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("5").await;
        let response = world.call(begin(&key)).await;
        check(
            &response,
            expect![[r#"
            200 application/json
            {
              "data": {
                "expiresAt": "2026-03-01T12:00:00.000Z",
                "organizationId": "<1>",
                "userId": "<2>"
              },
              "success": true
            }
        "#]],
        );
        let header = response.header("set-cookie").expect("a cookie");
        let (cookie, attributes) = header.split_once("; ").expect("attributes");
        assert_eq!(
            attributes,
            "Path=/; Max-Age=43200; HttpOnly; Secure; SameSite=Strict"
        );
        assert!(cookie.starts_with("__Host-milady=") && !cookie.contains(&key[6..]));
        assert_eq!(world.call(list(cookie)).await.status(), 200);
        world.set_clock(minutes(12 * 60 - 1)).await;
        assert_eq!(world.call(list(cookie)).await.status(), 200);
        world.set_clock(hours(12)).await;
        assert_eq!(world.call(list(cookie)).await.status(), 401);
    });
}

#[test]
fn session_ends_with_its_key_and_with_its_account() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("5").await;
        let response = world.call(begin(&key)).await;
        let cookie = response
            .header("set-cookie")
            .expect("a cookie")
            .split(';')
            .next()
            .expect("the cookie")
            .to_owned();
        for (sql, status) in [
            ("UPDATE api_keys SET is_active = false", 401),
            (
                "UPDATE api_keys SET is_active = true, expires_at = '2026-02-28'",
                401,
            ),
            (
                "UPDATE api_keys SET expires_at = NULL; UPDATE users SET is_active = false",
                403,
            ),
            (
                "UPDATE users SET is_active = true; UPDATE organizations SET is_active = false",
                403,
            ),
            ("UPDATE organizations SET is_active = true", 200),
            ("DELETE FROM api_keys", 401),
        ] {
            world.execute(sql).await;
            assert_eq!(world.call(list(&cookie)).await.status(), status, "{sql}");
        }
        let mut forged = cookie.clone();
        forged.pop();
        for cookie in [
            forged.as_str(),
            "__Host-milady=",
            "__Host-milady=a.b.c",
            "milady=x",
        ] {
            assert_eq!(world.call(list(cookie)).await.status(), 401, "{cookie}");
        }
    });
}

#[test]
fn ending_a_session_clears_the_cookie() {
    run(async {
        let world = World::new().await;
        let response = world
            .call(Request::new("DELETE", SESSION).header("origin", ORIGIN))
            .await;
        assert_eq!(
            (response.status(), response.text()),
            (200, r#"{"success":true}"#)
        );
        assert_eq!(
            response.header("set-cookie"),
            Some("__Host-milady=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict")
        );
    });
}

#[test]
fn refusals_to_begin_a_session() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("5").await;
        let unknown = format!("eliza_{}", "0".repeat(64));
        check_problem(
            &world.call(begin(&unknown)).await,
            401,
            "A valid credential is required",
        );
        for body in [
            json!({}),
            json!({"apiKey": 1}),
            json!({"apiKey": ""}),
            json!([]),
        ] {
            let request = Request::new("POST", SESSION)
                .header("origin", ORIGIN)
                .json(&body);
            assert_eq!(world.call(request).await.status(), 400, "{body}");
        }
        for method in ["POST", "DELETE"] {
            for origin in [None, Some("https://evil.example")] {
                let request = Request::new(method, SESSION).json(&json!({"apiKey": key}));
                let request = origin
                    .into_iter()
                    .fold(request, |r, origin| r.header("origin", origin));
                assert_eq!(
                    world.call(request).await.status(),
                    403,
                    "{method} {origin:?}"
                );
            }
        }
        check_problem(
            &world.call(Request::new("DELETE", SESSION)).await,
            403,
            "This origin is not allowed",
        );
        for secret in ["", "shorter-than-thirty-two-bytes"] {
            let function = world.function("session").with("SESSION_SECRET", secret);
            let response = world.call_function(&function, begin(&key)).await;
            assert_eq!(
                (response.status(), response.header("retry-after")),
                (503, Some("600"))
            );
        }
        world.execute("UPDATE users SET is_active = false").await;
        assert_eq!(world.call(begin(&key)).await.status(), 403);
    });
}
