//! `GET /api/v1/admin/headscale`

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dev::runtime::Outcome;
use expect_test::expect;
use serde_json::{Value, json};
use tests::secrets_manager::{SecretsManager, StoredSecret};
use tests::suite::{Request, Response};
use tests::truncated_response::TruncatedResponse;
use tests::{Function, World, check, check_problem, run};
use wiremock::matchers::{any, bearer_token, method, path};
use wiremock::{Match, Mock, MockServer, ResponseTemplate};

const ROUTE: &str = "/api/v1/admin/headscale";
const NODES: &str = "/api/v1/node";
const MACHINES: &str = "/api/v1/machine";
/// The API key that Headscale accepts.
const KEY: &str = "headscale-test-key";
const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:headscale";

/// A world with the key of a super admin, and Headscale.
struct Network {
    world: World,
    key: String,
    headscale: MockServer,
}

impl Network {
    async fn new() -> Self {
        let world = World::new().await;
        let (operators, key) = world.tenant("0").await;
        world.make_admin(operators, "super_admin").await;
        let network = Self {
            world,
            key,
            headscale: MockServer::start().await,
        };
        network.set_replies([]).await;
        network
    }

    /// Makes Headscale answer these paths, every other path with 404, and a request without the key with 401.
    async fn set_replies<const N: usize>(&self, replies: [(&str, ResponseTemplate); N]) {
        self.headscale.reset().await;
        let without_key = |request: &wiremock::Request| !bearer_token(KEY).matches(request);
        Mock::given(without_key)
            .respond_with(ResponseTemplate::new(401).set_body_string("Unauthorized"))
            .with_priority(1)
            .mount(&self.headscale)
            .await;
        for (path_of_reply, reply) in replies {
            Mock::given(method("GET"))
                .and(path(path_of_reply))
                .respond_with(reply)
                .with_priority(2)
                .mount(&self.headscale)
                .await;
        }
        let not_found = json!({"code": 5, "message": "Not Found", "details": []});
        Mock::given(any())
            .respond_with(ResponseTemplate::new(404).set_body_json(not_found))
            .with_priority(3)
            .mount(&self.headscale)
            .await;
    }

    /// The paths requested since the replies were set.
    async fn requested_paths(&self) -> Vec<String> {
        let requests = self.headscale.received_requests().await;
        let requests = requests.expect("requests are recorded");
        let paths = requests.iter().map(|request| request.url.path().to_owned());
        paths.collect()
    }

    fn function(&self) -> Function {
        let function = self.world.function("admin-headscale");
        function
            .with("HEADSCALE_API_URL", &self.headscale.uri())
            .with("HEADSCALE_API_KEY", KEY)
    }

    async fn call(&self, function: &Function) -> Response {
        let request = Request::new("GET", ROUTE).key(&self.key);
        self.world.call_function(function, request).await
    }

    /// Checks that the route fails with `error` if Headscale is at `address`, and that neither the response nor the
    /// logs show a text of Headscale's, its address or the key.
    async fn check_502(&self, case: &str, address: SocketAddr, error: &str) {
        let address = address.to_string();
        let function = self.function();
        let instance = function
            .with("HEADSCALE_API_URL", &format!("http://{address}"))
            .start()
            .await;
        let request = Request::new("GET", ROUTE).key(&self.key);
        let response = self.world.call_instance(&instance, request).await;
        assert_eq!(response.status(), 502, "{case}: {response:?}");
        assert_eq!(response.json()["error"], error, "{case}");
        instance.kill().await;
        let output = format!("{} {}", response.0, instance.logs().join("\n"));
        for canary in ["canary", "db.internal", &address, KEY] {
            assert!(!output.contains(canary), "{case}: {canary} in {output}");
        }
    }

    /// The data of the response if Headscale responds with `reply`.
    async fn data_for(&self, reply: Value) -> Value {
        self.set_replies([(NODES, found(&reply))]).await;
        let response = self.call(&self.function()).await;
        assert_eq!(response.status(), 200, "{response:?}");
        response.json()["data"].clone()
    }
}

fn found(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

/// A node as the JSON gateway writes it.
fn node(id: &str, name: &str, user: &Value) -> Value {
    json!({
        "id": id, "machineKey": "mkey:canary", "nodeKey": "nodekey:canary", "discoKey": "discokey:canary",
        "ipAddresses": ["100.64.0.7", "fd7a:115c:a1e0::7"], "name": name, "user": user,
        "lastSeen": "2026-02-28T23:59:58.123456789Z", "expiry": "0001-01-01T00:00:00Z", "preAuthKey": null,
        "createdAt": "2025-12-01T08:00:00Z", "registerMethod": "REGISTER_METHOD_AUTH_KEY",
        "forcedTags": ["tag:host"], "invalidTags": ["tag:nobody"], "validTags": ["tag:eu", "tag:host"],
        "givenName": format!("{name}-1"), "online": true, "approvedRoutes": [], "availableRoutes": [],
        "subnetRoutes": [],
    })
}

fn user(name: &str) -> Value {
    json!({"id": "1", "name": name, "createdAt": "2025-01-01T00:00:00Z", "displayName": "", "email":
        "canary@example.com", "providerId": "", "provider": "", "profilePicUrl": ""})
}

#[test]
fn super_admin_sees_the_nodes_of_our_user_and_of_no_user() {
    run(async {
        let network = Network::new().await;
        let mut offline = node("2", "relay", &Value::Null);
        for (field, value) in [
            ("online", json!(false)),
            ("lastSeen", Value::Null),
            ("forcedTags", json!([])),
            ("validTags", json!([])),
            ("expiry", json!("2027-01-01T00:00:00Z")),
        ] {
            offline[field] = value;
        }
        let nodes = [
            node("1", "host-a", &user("milady")),
            node("3", "laptop", &user("somebody")),
            offline,
        ];
        let reply = found(&json!({"nodes": nodes}));
        network.set_replies([(NODES, reply)]).await;
        let response = network.call(&network.function()).await;
        check(
            &response,
            expect![[r#"
            200 application/json
            {
              "data": {
                "queriedAt": "2026-03-01T00:00:00.000Z",
                "serverConfigured": true,
                "summary": {
                  "offline": 1,
                  "online": 1,
                  "total": 2
                },
                "user": "milady",
                "vpnNodes": [
                  {
                    "createdAt": "2025-12-01T08:00:00.000Z",
                    "expiry": null,
                    "givenName": "host-a-1",
                    "id": "1",
                    "ipAddresses": [
                      "100.64.0.7",
                      "fd7a:115c:a1e0::7"
                    ],
                    "lastSeen": "2026-02-28T23:59:58.123Z",
                    "name": "host-a",
                    "online": true,
                    "tags": [
                      "tag:eu",
                      "tag:host"
                    ],
                    "user": "milady"
                  },
                  {
                    "createdAt": "2025-12-01T08:00:00.000Z",
                    "expiry": "2027-01-01T00:00:00.000Z",
                    "givenName": "relay-1",
                    "id": "2",
                    "ipAddresses": [
                      "100.64.0.7",
                      "fd7a:115c:a1e0::7"
                    ],
                    "lastSeen": null,
                    "name": "relay",
                    "online": false,
                    "tags": [],
                    "user": null
                  }
                ]
              },
              "success": true
            }
        "#]],
        );
        assert_eq!(network.requested_paths().await, [NODES]);

        let other = network.function().with("HEADSCALE_USER", "somebody");
        let data = network.call(&other).await.json()["data"].clone();
        assert_eq!(data["user"], "somebody");
        let ids = [&data["vpnNodes"][0]["id"], &data["vpnNodes"][1]["id"]];
        assert_eq!(ids, ["3", "2"]);
    });
}

#[test]
fn responses_of_older_and_newer_versions_are_understood() {
    run(async {
        let network = Network::new().await;
        // Older versions call nodes machines and users namespaces.
        let mut machine = node("7", "host-a", &Value::Null);
        machine["namespace"] = user("milady");
        machine.as_object_mut().expect("a machine").remove("user");
        let reply = found(&json!({"machines": [machine]}));
        network.set_replies([(MACHINES, reply)]).await;
        let response = network.call(&network.function()).await;
        assert_eq!(network.requested_paths().await, [NODES, MACHINES]);
        let data = &response.json()["data"];
        assert_eq!(
            data["summary"],
            json!({"total": 1, "online": 1, "offline": 0})
        );
        assert_eq!(data["vpnNodes"][0]["user"], "milady");
        // Newer versions write ids as numbers, have one list of tags, and omit empty fields.
        let data = network
            .data_for(json!({"nodes": [{"id": 8, "name": "new", "tags": ["tag:b", "tag:a"], "later": {}}]}))
            .await;
        let empty: [&str; 0] = [];
        let expected = json!({"id": "8", "name": "new", "givenName": "", "user": null, "ipAddresses": empty,
            "online": false, "lastSeen": null, "expiry": null, "createdAt": null, "tags": ["tag:a", "tag:b"]});
        assert_eq!(data["vpnNodes"], json!([expected]));
        let data = network.data_for(json!({"nodes": []})).await;
        assert_eq!(
            data["summary"],
            json!({"total": 0, "online": 0, "offline": 0})
        );
    });
}

#[test]
fn f94_tagged_nodes_and_users_without_a_name_are_told_apart() {
    run(async {
        let network = Network::new().await;
        let unnamed = |email: &str, provider_id: &str| {
            let mut user = user("");
            user["email"] = json!(email);
            user["providerId"] = json!(provider_id);
            user
        };
        let mut tagged_devices = user("tagged-devices");
        tagged_devices["id"] = json!("2147455555");
        // Origin: `Node.Proto` and `User.Proto` in Headscale's `hscontrol/types`, of the versions that are named.
        for (version, owner, is_shown, shown_user) in [
            ("0.22: no user", Value::Null, true, Value::Null),
            ("0.23: our user", user("milady"), true, json!("milady")),
            ("0.23: another user", user("somebody"), false, Value::Null),
            (
                "0.24: a user of an identity provider",
                unnamed("a@example.com", "https://id/7"),
                false,
                Value::Null,
            ),
            (
                "0.24: ours by the identifier",
                unnamed("", "milady"),
                true,
                json!("milady"),
            ),
            ("0.24: an empty user", unnamed("", ""), true, Value::Null),
            ("0.28: a tagged node", tagged_devices, true, Value::Null),
        ] {
            let data = network
                .data_for(json!({"nodes": [node("1", "host-a", &owner)]}))
                .await;
            let nodes = data["vpnNodes"].as_array().expect("nodes");
            assert_eq!(nodes.len(), usize::from(is_shown), "{version}: {data}");
            if is_shown {
                assert_eq!(nodes[0]["user"], shown_user, "{version}");
            }
        }
    });
}

#[test]
fn invalid_response_of_headscale_is_502_without_its_address() {
    run(async {
        let network = Network::new().await;
        let not_understood = "Headscale answered something that is not understood";
        let nodes = json!({"nodes": [node("1", "host-a", &user("milady"))]}).to_string();
        let long = format!("{{\"nodes\": [], \"more\": \"{}\"}}", "x".repeat(4 << 20));
        let full = |status, body: &str| {
            ResponseTemplate::new(status).set_body_raw(body, "application/json")
        };
        let redirect = ResponseTemplate::new(302).insert_header("location", "/elsewhere");
        for (case, reply, error) in [
            (
                "500",
                full(500, "canary: panic at db.internal:5432"),
                not_understood,
            ),
            ("401", full(401, "canary"), "Headscale refused our key"),
            ("403", full(403, "canary"), "Headscale refused our key"),
            ("a redirect", redirect, not_understood),
            (
                "a page",
                full(200, "<!DOCTYPE html><title>canary</title>"),
                not_understood,
            ),
            ("nothing", full(200, ""), not_understood),
            (
                "the first half",
                full(200, &nodes[..nodes.len() / 2]),
                not_understood,
            ),
            ("null", full(200, "null"), not_understood),
            ("no list", full(200, "{}"), not_understood),
            (
                "a list of numbers",
                full(200, r#"{"nodes": [1]}"#),
                not_understood,
            ),
            (
                "a node without an id",
                full(200, r#"{"nodes": [{"name": "canary"}]}"#),
                not_understood,
            ),
            (
                "addresses that are no list",
                full(
                    200,
                    r#"{"nodes": [{"id": "1", "name": "canary", "ipAddresses": "canary"}]}"#,
                ),
                not_understood,
            ),
            (
                "an invalid time",
                full(
                    200,
                    r#"{"nodes": [{"id": "1", "name": "canary", "lastSeen": "canary"}]}"#,
                ),
                not_understood,
            ),
            ("too much", full(200, &long), not_understood),
        ] {
            network
                .set_replies([(NODES, reply), ("/elsewhere", full(200, &nodes))])
                .await;
            let address = *network.headscale.address();
            network.check_502(case, address, error).await;
        }
        let broken_off = TruncatedResponse::start(&nodes[..40]).await;
        let error = "Headscale cannot be reached";
        network
            .check_502("broken off", broken_off.address(), error)
            .await;
    });
}

#[test]
fn headscale_without_either_path_is_502() {
    run(async {
        let network = Network::new().await;
        let response = network.call(&network.function()).await;
        assert_eq!(response.status(), 502);
        assert_eq!(network.requested_paths().await, [NODES, MACHINES]);
    });
}

#[test]
fn unreachable_or_silent_headscale_is_502_within_its_timeout() {
    run(async {
        let network = Network::new().await;
        let unreachable = network
            .function()
            .with("HEADSCALE_API_URL", "http://127.0.0.1:9/below/");
        let response = network.call(&unreachable).await;
        check_problem(&response, 502, "Headscale cannot be reached");
        let late = found(&json!({"nodes": []})).set_delay(Duration::from_mins(1));
        network.set_replies([(NODES, late)]).await;
        let started = Instant::now();
        let response = network.call(&network.function()).await;
        check_problem(&response, 502, "Headscale did not answer in time");
        assert!(
            started.elapsed() < Duration::from_secs(7),
            "{:?}",
            started.elapsed()
        );
    });
}

#[test]
fn headscale_without_address_or_key_is_not_set_up() {
    run(async {
        let network = Network::new().await;
        for missing in ["HEADSCALE_API_URL", "HEADSCALE_API_KEY"] {
            let response = network.call(&network.function().with(missing, "")).await;
            assert_eq!(
                (response.status(), response.header("retry-after")),
                (503, Some("600"))
            );
            assert_eq!(response.json()["error"], "Headscale is not set up");
        }
        let foreign_key = network.world.tenant("0").await.1;
        let request = Request::new("GET", ROUTE).key(&foreign_key);
        assert_eq!(
            network
                .world
                .call_function(&network.function(), request)
                .await
                .status(),
            403
        );
        assert_eq!(network.requested_paths().await, [""; 0]);
        let instance = network
            .function()
            .with("HEADSCALE_API_URL", "http://vpn.hunter2")
            .start()
            .await;
        let outcome = instance.invoke(json!({}), Duration::from_secs(10)).await;
        assert!(matches!(outcome, Outcome::Crashed { .. }), "{outcome:?}");
        let logs = instance.logs().join("\n");
        assert!(
            logs.contains("HEADSCALE_API_URL is not an https address"),
            "{logs}"
        );
        assert!(!logs.contains("hunter2"), "{logs}");
    });
}

#[test]
fn key_is_read_from_secrets_manager() {
    run(async {
        let network = Network::new().await;
        let reply = found(&json!({"nodes": []}));
        network.set_replies([(NODES, reply)]).await;
        let secrets = BTreeMap::from([(ARN.to_owned(), StoredSecret::Text(format!("{KEY}\n")))]);
        let manager = SecretsManager::start(secrets).await;
        let stored = network.function().without("HEADSCALE_API_KEY");
        let stored = stored.with("AWS_ENDPOINT_URL_SECRETS_MANAGER", &manager.url());
        let instance = stored
            .clone()
            .with("HEADSCALE_API_KEY_ARN", ARN)
            .start()
            .await;
        for _ in 0..2 {
            let request = Request::new("GET", ROUTE).key(&network.key);
            let response = network.world.call_instance(&instance, request).await;
            assert_eq!(response.status(), 200, "{response:?}");
        }
        // It is not read for each request.
        assert_eq!(manager.calls().await, 1);
        let other = format!("{ARN}-other");
        let response = network
            .call(&stored.with("HEADSCALE_API_KEY_ARN", &other))
            .await;
        assert_eq!(
            (response.status(), response.header("retry-after")),
            (503, Some("5"))
        );
    });
}
