//! Authentication: API keys, tokens of the identity provider, cookies, and the origins of browsers.

use serde_json::{Value, json};
use tests::privy::{self, Signer};
use tests::suite::{ORIGIN, PRIVY_APP_ID, Request, epoch};
use tests::{World, run};
use uuid::Uuid;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const LIST: &str = "/api/v1/milady/agents";

fn claims(subject: &str) -> Value {
    let now = epoch().timestamp();
    json!({"iss": "privy.io", "aud": PRIVY_APP_ID, "sub": subject, "iat": now, "exp": now + 3600})
}

/// A tenant whose user has a Privy account, and the account's id.
async fn tenant_with_privy(world: &World) -> (Uuid, String) {
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
fn provider_token_authenticates_its_user() {
    run(async {
        let world = World::new().await;
        let (organization, subject) = tenant_with_privy(&world).await;
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
fn invalid_token_is_401() {
    run(async {
        let world = World::new().await;
        let (_, subject) = tenant_with_privy(&world).await;
        let valid = claims(&subject);
        let with = |field: &str, value: Value| {
            let mut claims = valid.clone();
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
        for (case, claims, status) in [
            ("valid", valid.clone(), 200),
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
                "of an unknown user",
                with("sub", json!("did:privy:nobody")),
                401,
            ),
        ] {
            let token = privy::provider().sign(&claims, None);
            assert_eq!(world.call(bearer(&token)).await.status(), status, "{case}");
        }
        let token = privy::provider().sign(&valid, None);
        let (head, rest) = token.split_once('.').expect("a token");
        let unsigned = format!(
            "eyJhbGciOiJub25lIn0.{}.",
            rest.split('.').next().expect("claims")
        );
        let symmetric = jsonwebtoken::encode(
            &jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256),
            &valid,
            &jsonwebtoken::EncodingKey::from_secret(privy::public_pem().as_bytes()),
        );
        for forged in [
            Signer::new().sign(&valid, None),
            unsigned,
            symmetric.expect("a token"),
            format!("{head}.{}", rest.to_uppercase()),
            format!("{token}x"),
            "a.b.c".to_owned(),
            String::new(),
        ] {
            assert_eq!(world.call(bearer(&forged)).await.status(), 401, "{forged}");
        }
        let without_privy = world.function("agent-list").without("PRIVY_APP_ID");
        assert_eq!(
            world
                .call_function(&without_privy, bearer(&token))
                .await
                .status(),
            401
        );
    });
}

/// Stops a server and waits until nothing listens on its port.
async fn stop(server: MockServer) {
    let address = *server.address();
    drop(server);
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn token_is_checked_with_the_key_it_names() {
    run(async {
        let world = World::new().await;
        let (_, subject) = tenant_with_privy(&world).await;
        let signer = Signer::new();
        let key_set = json!({"keys": [Signer::new().jwk("other"), signer.jwk("current")]});
        // `MockServer::start` takes a server from a pool, which keeps listening when it is dropped.
        let provider = MockServer::builder().start().await;
        Mock::given(method("GET"))
            .and(path("/jwks.json"))
            .respond_with(ResponseTemplate::new(200).set_body_json(key_set))
            .mount(&provider)
            .await;
        let url = format!("{}/jwks.json", provider.uri());
        let function = world
            .function("agent-list")
            .without("PRIVY_VERIFICATION_KEY")
            .with("PRIVY_JWKS_URL", &url);
        let instance = function.start().await;
        let status_for = async |token: String| {
            let no_parameters = std::collections::BTreeMap::new();
            tests::Function::http_on(
                &instance,
                "GET /api/v1/milady/agents",
                &no_parameters,
                &bearer(&token),
            )
            .await
            .status()
        };
        assert_eq!(
            status_for(signer.sign(&claims(&subject), Some("current"))).await,
            200
        );
        assert_eq!(
            status_for(signer.sign(&claims(&subject), Some("other"))).await,
            401
        );
        assert_eq!(
            status_for(signer.sign(&claims(&subject), Some("unknown"))).await,
            401
        );
        assert_eq!(status_for(signer.sign(&claims(&subject), None)).await, 401);
        // While the provider is down, a warm function uses the keys it has; a cold one responds 503.
        stop(provider).await;
        assert_eq!(
            status_for(signer.sign(&claims(&subject), Some("current"))).await,
            200
        );
        let token = signer.sign(&claims(&subject), Some("current"));
        let cold = world.call_function(&function, bearer(&token)).await;
        assert_eq!(
            (cold.status(), cold.header("retry-after")),
            (503, Some("5"))
        );
    });
}

#[test]
fn only_the_first_credential_counts_even_if_it_is_invalid() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.tenant("5").await;
        let unknown_key = format!("eliza_{}", "0".repeat(64));
        for (request, status) in [
            (
                Request::new("GET", LIST)
                    .key(&unknown_key)
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
fn change_by_cookie_needs_an_allowed_origin_and_read_does_not() {
    run(async {
        let world = World::new().await;
        let (organization, subject) = tenant_with_privy(&world).await;
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
        // A request with a key needs no origin: programs other than browsers send none.
        let key = world.key(organization).await;
        assert_eq!(world.post(&key, &path).await.status(), 200);
    });
}
