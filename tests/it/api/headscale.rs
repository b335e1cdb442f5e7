//! `GET /api/v1/admin/headscale`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dev::runtime::Outcome;
use expect_test::expect;
use serde_json::{Value, json};
use tests::headscale::{Headscale, KEY, Reply};
use tests::secrets_manager::{Kept, SecretsManager};
use tests::suite::{Request, Response};
use tests::{Function, World, check, run};

const ROUTE: &str = "/api/v1/admin/headscale";
const NODES: &str = "/api/v1/node";
const MACHINES: &str = "/api/v1/machine";
const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:headscale";

/// A world with an operator's key, and Headscale.
struct Network {
    world: World,
    key: String,
    headscale: Headscale,
}

impl Network {
    async fn new() -> Self {
        let world = World::new().await;
        let (operators, key) = world.tenant("0").await;
        world.make_admin(operators, "super_admin").await;
        Self {
            world,
            key,
            headscale: Headscale::start().await,
        }
    }

    fn function(&self) -> Function {
        let function = self.world.function("admin-headscale");
        let url = self.headscale.url();
        function
            .with("HEADSCALE_API_URL", &url)
            .with("HEADSCALE_API_KEY", KEY)
    }

    async fn ask(&self, function: &Function) -> Response {
        let request = Request::new("GET", ROUTE).key(&self.key);
        self.world.call_on(function, request).await
    }

    async fn told(&self, reply: Value) -> Value {
        self.headscale
            .set(NODES, Reply::Whole(200, reply.to_string()));
        let answer = self.ask(&self.function()).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        answer.json()["data"].clone()
    }
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
fn an_operator_sees_the_nodes_of_our_user_and_of_none() {
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
        let reply = Reply::Whole(200, json!({"nodes": nodes}).to_string());
        network.headscale.set(NODES, reply);
        let answer = network.ask(&network.function()).await;
        check(
            &answer,
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
        assert_eq!(network.headscale.asked(), [NODES]);

        let other = network.function().with("HEADSCALE_USER", "somebody");
        let told = network.ask(&other).await.json()["data"].clone();
        assert_eq!(told["user"], "somebody");
        let ids = [&told["vpnNodes"][0]["id"], &told["vpnNodes"][1]["id"]];
        assert_eq!(ids, ["3", "2"]);
    });
}

#[test]
fn older_and_newer_versions_are_understood() {
    run(async {
        let network = Network::new().await;
        // Nodes were machines, and users namespaces.
        let mut machine = node("7", "host-a", &Value::Null);
        machine["namespace"] = user("milady");
        machine.as_object_mut().expect("a machine").remove("user");
        let reply = Reply::Whole(200, json!({"machines": [machine]}).to_string());
        network.headscale.set(MACHINES, reply);
        let answer = network.ask(&network.function()).await;
        assert_eq!(network.headscale.asked(), [NODES, MACHINES]);
        let told = &answer.json()["data"];
        assert_eq!(
            told["summary"],
            json!({"total": 1, "online": 1, "offline": 0})
        );
        assert_eq!(told["vpnNodes"][0]["user"], "milady");
        // Numbers as numbers, one list of tags, fields that are left out.
        let told = network
            .told(json!({"nodes": [{"id": 8, "name": "new", "tags": ["tag:b", "tag:a"], "later": {}}]}))
            .await;
        let empty: [&str; 0] = [];
        let expected = json!({"id": "8", "name": "new", "givenName": "", "user": null, "ipAddresses": empty,
            "online": false, "lastSeen": null, "expiry": null, "createdAt": null, "tags": ["tag:a", "tag:b"]});
        assert_eq!(told["vpnNodes"], json!([expected]));
        let told = network.told(json!({"nodes": []})).await;
        assert_eq!(
            told["summary"],
            json!({"total": 0, "online": 0, "offline": 0})
        );
    });
}

#[test]
fn what_headscale_answers_badly_is_a_502_without_its_address() {
    run(async {
        let network = Network::new().await;
        let not_understood = "Headscale answered something that is not understood";
        let nodes = json!({"nodes": [node("1", "host-a", &user("milady"))]}).to_string();
        let long = format!("{{\"nodes\": [], \"more\": \"{}\"}}", "x".repeat(4 << 20));
        let whole = |status, body: &str| Reply::Whole(status, body.to_owned());
        for (what, reply, error) in [
            (
                "500",
                whole(500, "canary: panic at db.internal:5432"),
                not_understood,
            ),
            ("401", whole(401, "canary"), "Headscale refused our key"),
            ("403", whole(403, "canary"), "Headscale refused our key"),
            ("a redirect", Reply::Redirect("/elsewhere"), not_understood),
            (
                "a page",
                whole(200, "<!DOCTYPE html><title>canary</title>"),
                not_understood,
            ),
            ("nothing", whole(200, ""), not_understood),
            (
                "half of it",
                whole(200, &nodes[..nodes.len() / 2]),
                not_understood,
            ),
            (
                "broken off",
                Reply::Half(nodes[..40].to_owned()),
                "Headscale cannot be reached",
            ),
            ("null", whole(200, "null"), not_understood),
            ("no list", whole(200, "{}"), not_understood),
            (
                "a list of numbers",
                whole(200, r#"{"nodes": [1]}"#),
                not_understood,
            ),
            (
                "a node without an id",
                whole(200, r#"{"nodes": [{"name": "canary"}]}"#),
                not_understood,
            ),
            (
                "an address that is none",
                whole(
                    200,
                    r#"{"nodes": [{"id": "1", "name": "canary", "ipAddresses": "canary"}]}"#,
                ),
                not_understood,
            ),
            (
                "a time that is none",
                whole(
                    200,
                    r#"{"nodes": [{"id": "1", "name": "canary", "lastSeen": "canary"}]}"#,
                ),
                not_understood,
            ),
            ("too much", whole(200, &long), not_understood),
        ] {
            network.headscale.set(NODES, reply);
            network.headscale.set("/elsewhere", whole(200, &nodes));
            let instance = network.function().start().await;
            let request = Request::new("GET", ROUTE).key(&network.key);
            let answer = Function::http_on(
                &instance,
                &format!("GET {ROUTE}"),
                &BTreeMap::new(),
                &request,
            )
            .await;
            assert_eq!(answer.status(), 502, "{what}: {answer:?}");
            assert_eq!(answer.json()["error"], error, "{what}");
            instance.kill().await;
            let said = format!("{} {}", answer.0, instance.logs().join("\n"));
            let address = network.headscale.url();
            for canary in ["canary", "db.internal", &address["http://".len()..], KEY] {
                assert!(!said.contains(canary), "{what}: {canary} in {said}");
            }
        }
    });
}

#[test]
fn neither_path_there_is_a_502() {
    run(async {
        let network = Network::new().await;
        let answer = network.ask(&network.function()).await;
        assert_eq!(answer.status(), 502);
        assert_eq!(network.headscale.asked(), [NODES, MACHINES]);
    });
}

#[test]
fn a_headscale_that_is_away_or_silent_costs_five_seconds_at_most() {
    run(async {
        let network = Network::new().await;
        let gone = network
            .function()
            .with("HEADSCALE_API_URL", "http://127.0.0.1:9/below/");
        let answer = network.ask(&gone).await;
        check(
            &answer,
            expect![[r#"
            502 application/problem+json
            {
              "detail": "Headscale cannot be reached",
              "error": "Headscale cannot be reached",
              "instance": "<1>",
              "status": 502,
              "success": false,
              "title": "Bad Gateway",
              "type": "about:blank"
            }
        "#]],
        );
        network.headscale.set(NODES, Reply::Silence);
        let asked = Instant::now();
        let answer = network.ask(&network.function()).await;
        assert_eq!(answer.status(), 502);
        assert_eq!(answer.json()["error"], "Headscale did not answer in time");
        assert!(
            asked.elapsed() < Duration::from_secs(7),
            "{:?}",
            asked.elapsed()
        );
    });
}

#[test]
fn without_an_address_or_a_key_it_is_not_set_up() {
    run(async {
        let network = Network::new().await;
        for missing in ["HEADSCALE_API_URL", "HEADSCALE_API_KEY"] {
            let answer = network.ask(&network.function().with(missing, "")).await;
            assert_eq!(
                (answer.status(), answer.header("retry-after")),
                (503, Some("600"))
            );
            assert_eq!(answer.json()["error"], "Headscale is not set up");
        }
        let stranger = network.world.tenant("0").await.1;
        let request = Request::new("GET", ROUTE).key(&stranger);
        assert_eq!(
            network
                .world
                .call_on(&network.function(), request)
                .await
                .status(),
            401
        );
        assert_eq!(network.headscale.asked(), [""; 0]);
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
fn the_key_may_be_kept_in_secrets_manager() {
    run(async {
        let network = Network::new().await;
        network
            .headscale
            .set(NODES, Reply::Whole(200, json!({"nodes": []}).to_string()));
        let kept = BTreeMap::from([(ARN.to_owned(), Kept::Text(format!("{KEY}\n")))]);
        let manager = SecretsManager::start(kept).await;
        let stored = network.function().without("HEADSCALE_API_KEY");
        let stored = stored.with("AWS_ENDPOINT_URL_SECRETS_MANAGER", &manager.url());
        let answer = network
            .ask(&stored.clone().with("HEADSCALE_API_KEY_ARN", ARN))
            .await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let other = format!("{ARN}-other");
        let answer = network
            .ask(&stored.with("HEADSCALE_API_KEY_ARN", &other))
            .await;
        assert_eq!(
            (answer.status(), answer.header("retry-after")),
            (503, Some("5"))
        );
    });
}
