//! Who is calling: API keys, the identity provider's tokens, cookies, and where a browser calls from.

use axum::routing::get;
use serde_json::{Value, json};
use tests::privy::{self, Signer};
use tests::suite::{ORIGIN, PRIVY_APP_ID, Request, epoch};
use tests::{World, run};
use uuid::Uuid;

const LIST: &str = "/api/v1/milady/agents";

fn claims(subject: &str) -> Value {
    let now = epoch().timestamp();
    json!({"iss": "privy.io", "aud": PRIVY_APP_ID, "sub": subject, "iat": now, "exp": now + 3600})
}

async fn known_to_privy(world: &World) -> (Uuid, String) {
    let organization = world.organization("5").await;
    let subject = format!("did:privy:{}", organization.simple());
    sqlx::query("UPDATE users SET privy_user_id = $2 WHERE organization_id = $1")
        .bind(organization)
        .bind(&subject)
        .execute(&world.pool)
        .await
        .expect("a user");
    (organization, subject)
}

fn bearer(token: &str) -> Request {
    Request::new("GET", LIST).header("authorization", &format!("Bearer {token}"))
}

#[test]
fn a_token_of_the_provider_stands_for_its_user() {
    run(async {
        let world = World::new().await;
        let (organization, subject) = known_to_privy(&world).await;
        let agent = world.agent(organization, "running").await;
        let token = privy::provider().sign(&claims(&subject), None);
        let by_header = world.call(bearer(&token)).await;
        assert_eq!(
            (by_header.status(), &by_header.json()["data"][0]["id"]),
            (200, &json!(agent))
        );
        let cookie = format!("theme=dark; privy-token={token}; x=y");
        let by_cookie = world
            .call(Request::new("GET", LIST).header("cookie", &cookie))
            .await;
        assert_eq!(by_cookie.status(), 200);
        world.execute("UPDATE users SET is_active = false").await;
        assert_eq!(world.call(bearer(&token)).await.status(), 403);
    });
}

#[test]
fn a_token_that_is_not_quite_right_is_401() {
    run(async {
        let world = World::new().await;
        let (_, subject) = known_to_privy(&world).await;
        let good = claims(&subject);
        let with = |field: &str, value: Value| {
            let mut claims = good.clone();
            match value {
                Value::Null => claims.as_object_mut().expect("claims").remove(field),
                value => claims
                    .as_object_mut()
                    .expect("claims")
                    .insert(field.to_owned(), value),
            };
            claims
        };
        let now = epoch().timestamp();
        for (what, claims, status) in [
            ("good", good.clone(), 200),
            ("expired", with("exp", json!(now - 61)), 401),
            (
                "expired within the leeway",
                with("exp", json!(now - 59)),
                200,
            ),
            ("without expiry", with("exp", json!(null)), 401),
            ("not yet valid", with("nbf", json!(now + 61)), 401),
            ("of another issuer", with("iss", json!("evil.example")), 401),
            ("without issuer", with("iss", json!(null)), 401),
            ("for another application", with("aud", json!("other")), 401),
            ("without audience", with("aud", json!(null)), 401),
            ("without subject", with("sub", json!(null)), 401),
            (
                "of nobody here",
                with("sub", json!("did:privy:nobody")),
                401,
            ),
        ] {
            let token = privy::provider().sign(&claims, None);
            assert_eq!(world.call(bearer(&token)).await.status(), status, "{what}");
        }
        let token = privy::provider().sign(&good, None);
        let (head, rest) = token.split_once('.').expect("a token");
        let unsigned = format!(
            "eyJhbGciOiJub25lIn0.{}.",
            rest.split('.').next().expect("claims")
        );
        let symmetric = jsonwebtoken::encode(
            &jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256),
            &good,
            &jsonwebtoken::EncodingKey::from_secret(privy::public_pem().as_bytes()),
        );
        for forged in [
            Signer::new().sign(&good, None),
            unsigned,
            symmetric.expect("a token"),
            format!("{head}.{}", rest.to_uppercase()),
            format!("{token}x"),
            "a.b.c".to_owned(),
            String::new(),
        ] {
            assert_eq!(world.call(bearer(&forged)).await.status(), 401, "{forged}");
        }
        let without = world.function("agent-list").without("PRIVY_APP_ID");
        assert_eq!(world.call_on(&without, bearer(&token)).await.status(), 401);
    });
}

#[test]
fn a_key_set_is_fetched_by_the_id_that_a_token_names() {
    run(async {
        let world = World::new().await;
        let (_, subject) = known_to_privy(&world).await;
        let signer = Signer::new();
        let set = json!({"keys": [Signer::new().jwk("other"), signer.jwk("current")]});
        let keys = axum::Router::new().route("/jwks.json", get(async move || set.to_string()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!(
            "http://{}/jwks.json",
            listener.local_addr().expect("an address")
        );
        let server = tokio::spawn(async move { axum::serve(listener, keys).await });
        let function = world
            .function("agent-list")
            .without("PRIVY_VERIFICATION_KEY")
            .with("PRIVY_JWKS_URL", &url);
        let instance = function.start().await;
        let ask = async |token: String| {
            let none = std::collections::BTreeMap::new();
            tests::Function::http_on(
                &instance,
                "GET /api/v1/milady/agents",
                &none,
                &bearer(&token),
            )
            .await
            .status()
        };
        assert_eq!(
            ask(signer.sign(&claims(&subject), Some("current"))).await,
            200
        );
        assert_eq!(
            ask(signer.sign(&claims(&subject), Some("other"))).await,
            401
        );
        assert_eq!(
            ask(signer.sign(&claims(&subject), Some("unknown"))).await,
            401
        );
        assert_eq!(ask(signer.sign(&claims(&subject), None)).await, 401);
        // The provider is away: a warm function knows its keys, a new one asks to come again.
        server.abort();
        let _ = server.await;
        assert_eq!(
            ask(signer.sign(&claims(&subject), Some("current"))).await,
            200
        );
        let token = signer.sign(&claims(&subject), Some("current"));
        let cold = world.call_on(&function, bearer(&token)).await;
        assert_eq!(
            (cold.status(), cold.header("retry-after")),
            (503, Some("5"))
        );
    });
}

#[test]
fn the_first_credential_counts_and_a_bad_one_is_not_passed_over() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("5").await;
        let bad = format!("eliza_{}", "0".repeat(64));
        for (request, status) in [
            (
                Request::new("GET", LIST)
                    .key(&bad)
                    .header("authorization", &format!("Bearer {key}")),
                401,
            ),
            (
                Request::new("GET", LIST)
                    .key(&key)
                    .header("authorization", "Bearer nonsense"),
                200,
            ),
            (
                Request::new("GET", LIST).header("authorization", &format!("bearer {key}")),
                200,
            ),
            (
                Request::new("GET", LIST).header("authorization", &format!("Basic {key}")),
                401,
            ),
            (Request::new("GET", LIST).header("authorization", &key), 401),
            (Request::new("GET", LIST).key(&format!(" {key} ")), 200),
            (Request::new("GET", LIST).key(&format!("{key}\u{e9}")), 401),
            (Request::new("GET", LIST).key(&key.to_uppercase()), 401),
        ] {
            assert_eq!(world.call(request).await.status(), status);
        }
    });
}

#[test]
fn a_change_by_cookie_needs_an_origin_of_ours_and_reading_does_not() {
    run(async {
        let world = World::new().await;
        let (organization, subject) = known_to_privy(&world).await;
        let agent = world.agent(organization, "stopped").await;
        let cookie = format!(
            "privy-token={}",
            privy::provider().sign(&claims(&subject), None)
        );
        let path = tests::calls::agent_path(agent, "/suspend");
        for (origin, status) in [
            (None, 403),
            (Some("https://evil.example"), 403),
            (Some("null"), 403),
            (Some("https://dashboard.example.evil.example"), 403),
            (Some("http://dashboard.example"), 403),
            (Some(ORIGIN), 200),
        ] {
            let request = Request::new("POST", &path).header("cookie", &cookie);
            let request = origin
                .into_iter()
                .fold(request, |request, origin| request.header("origin", origin));
            assert_eq!(world.call(request).await.status(), status, "{origin:?}");
        }
        assert_eq!(
            world
                .call(Request::new("GET", LIST).header("cookie", &cookie))
                .await
                .status(),
            200
        );
        // A key is no cookie: other programs send no origin.
        let key = world.key(organization).await;
        assert_eq!(world.post(&key, &path).await.status(), 200);
    });
}
