//! `GET|POST|DELETE /api/v1/session`

use expect_test::expect;
use serde_json::json;
use tests::privy;
use tests::suite::{ORIGIN, PRIVY_APP_ID, Request, epoch};
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
                "credential": "session",
                "expiresAt": "2026-03-01T12:00:00.000Z",
                "organizationId": "<1>",
                "organizationName": "Test",
                "permissions": [
                  "read",
                  "agents",
                  "billing"
                ],
                "role": "owner",
                "serverTime": "2026-03-01T00:00:00.000Z",
                "superAdmin": false,
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

fn show(cookie: &str) -> Request {
    Request::new("GET", SESSION).header("cookie", cookie)
}

#[test]
fn session_shows_its_caller_until_it_is_over() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let response = world.call(begin(&key)).await;
        let header = response.header("set-cookie").expect("a cookie").to_owned();
        let cookie = header.split(';').next().expect("the cookie");
        world.set_clock(hours(1)).await;
        // A page reads it without an `Origin`.
        let shown = world.call(show(cookie)).await;
        let mut expected = response.json();
        expected["data"]["serverTime"] = json!("2026-03-01T01:00:00.000Z");
        assert_eq!((shown.status(), shown.json()), (200, expected));
        world.make_admin(organization, "super_admin").await;
        let shown = world.call(show(cookie)).await.json();
        assert_eq!(shown["data"]["superAdmin"], json!(true));
        world.set_clock(hours(12)).await;
        check_problem(
            &world.call(show(cookie)).await,
            401,
            "A valid credential is required",
        );
    });
}

#[test]
fn other_credentials_show_their_caller_too() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        let (moderators, moderators_key) = world.tenant("5").await;
        world.make_admin(moderators, "moderator").await;
        let by_key = world.get(&key, SESSION).await.json();
        assert_eq!(by_key["data"]["organizationId"], json!(organization));
        assert_eq!(by_key["data"]["expiresAt"], json!(null));
        assert_eq!(by_key["data"]["credential"], json!("key"));
        let moderator = world.get(&moderators_key, SESSION).await.json();
        assert_eq!(moderator["data"]["superAdmin"], json!(false));
        world
            .execute("UPDATE users SET privy_user_id = 'did:privy:x' WHERE wallet_address IS NULL")
            .await;
        let expiry = epoch().timestamp() + 3600;
        let claims =
            json!({"iss": "privy.io", "aud": PRIVY_APP_ID, "sub": "did:privy:x", "exp": expiry});
        let token = privy::provider().sign(&claims, None);
        let request = Request::new("GET", SESSION);
        let by_token = request.header("authorization", &format!("Bearer {token}"));
        let by_token = world.call(by_token).await.json();
        assert_eq!(
            by_token["data"]["expiresAt"],
            json!("2026-03-01T01:00:00.000Z")
        );
        assert_eq!(by_token["data"]["userId"], by_key["data"]["userId"]);
        assert_eq!(by_token["data"]["credential"], json!("token"));
        let all = json!(["read", "agents", "billing", "admin"]);
        assert_eq!(by_token["data"]["permissions"], all);
        assert_eq!(world.call(Request::new("GET", SESSION)).await.status(), 401);
        world.execute("UPDATE users SET is_active = false").await;
        check_problem(
            &world.get(&key, SESSION).await,
            403,
            "This account is not active",
        );
    });
}

#[test]
fn session_shows_the_role_and_the_permissions_of_now() {
    run(async {
        let world = World::new().await;
        let (organization, key) = world.tenant("5").await;
        world.make_admin(organization, "super_admin").await;
        // Somebody older owns the organization, so that the user owns it only by their role.
        sqlx::query(
            "INSERT INTO users (name, organization_id, role, created_at)
            VALUES ('Elder', $1, 'owner', '2020-01-01')",
        )
        .bind(organization)
        .execute(&world.pool)
        .await
        .expect("a user");
        let response = world.call(begin(&key)).await;
        let header = response.header("set-cookie").expect("a cookie").to_owned();
        let cookie = header.split(';').next().expect("the cookie");
        for (sql, role, permissions, super_admin) in [
            (
                "UPDATE users SET role = 'admin' WHERE name IS DISTINCT FROM 'Elder'",
                "owner",
                json!(["read", "agents", "billing", "admin"]),
                true,
            ),
            (
                "UPDATE users SET role = 'anything else' WHERE name IS DISTINCT FROM 'Elder';
                UPDATE api_keys SET permissions = '[]'",
                "member",
                json!(["read", "agents", "billing"]),
                false,
            ),
            (
                "UPDATE users SET role = 'viewer' WHERE name IS DISTINCT FROM 'Elder';
                UPDATE api_keys SET permissions = '[\"admin\"]'",
                "viewer",
                json!(["read", "admin"]),
                true,
            ),
            // What this product says of a role comes before what the other application's column says.
            (
                "INSERT INTO cloud.member_roles (organization_id, user_id, role, changed_at)
                    SELECT organization_id, id, 'member', now() FROM users WHERE name IS DISTINCT FROM 'Elder';
                UPDATE api_keys SET permissions = '[\"read\"]'",
                "member",
                json!(["read"]),
                false,
            ),
        ] {
            world.execute(sql).await;
            let shown = world.call(show(cookie)).await.json();
            let data = &shown["data"];
            assert_eq!(data["role"], json!(role), "{sql}");
            assert_eq!(data["permissions"], permissions, "{sql}");
            assert_eq!(data["superAdmin"], json!(super_admin), "{sql}");
        }
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
