//! `POST /api/v1/admin/docker-nodes`, without a host that answers

use std::time::{Duration, Instant};

use dev::host::SilentPort;
use expect_test::expect;
use serde_json::{Value, json};
use tests::suite::{Request, Response};
use tests::{World, check, check_field_errors, run};

use super::{NODES, audit_entries, host_rows, register, status_and_error};

const PIN: &str = "SHA256:abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ";

#[test]
fn an_unreachable_host_is_registered_with_a_warning() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let body = json!({"nodeId": "n1", "hostname": "127.0.0.1", "sshPort": 9, "unknown": 1});
        check(
            &register(&world, &key, &body).await,
            expect![[r#"
                201 application/json
                {
                  "data": {
                    "allocatedCount": 0,
                    "availableSlots": 8,
                    "capacity": 8,
                    "createdAt": "2026-03-01T00:00:00.000Z",
                    "enabled": true,
                    "hostKeyFingerprint": null,
                    "hostKeyPinned": false,
                    "hostname": "127.0.0.1",
                    "id": "<1>",
                    "lastHealthCheck": null,
                    "metadata": {},
                    "nodeId": "n1",
                    "service": "in_service",
                    "sshPort": 9,
                    "sshUser": "root",
                    "status": "unknown",
                    "updatedAt": "2026-03-01T00:00:00.000Z",
                    "warning": "The host cannot be reached. Its key will be pinned at the first connection"
                  },
                  "success": true
                }
            "#]],
        );
        // The name does not resolve now and may later. A given pin is stored.
        let body = json!({"nodeId": "n2", "hostname": "no-such-host.invalid", "sshPort": null,
            "capacity": 1000, "sshUser": "milady", "hostKeyFingerprint": &PIN[7..]});
        let registered = register(&world, &key, &body).await;
        let data = &registered.json()["data"];
        assert_eq!(registered.status(), 201, "{registered:?}");
        assert_eq!(
            (
                &data["hostKeyFingerprint"],
                &data["hostKeyPinned"],
                &data["sshPort"]
            ),
            (&json!(PIN), &json!(true), &json!(22))
        );
        let warning = data["warning"].as_str().expect("a warning");
        assert!(
            warning.ends_with("Its key will be compared at the first connection"),
            "{warning}"
        );
        let stored = host_rows(&world).await;
        assert_eq!(stored.len(), 2);
        assert_eq!(stored[1]["host_key_fingerprint"], json!(PIN));
        let logged = audit_entries(&world).await;
        assert_eq!(logged.len(), 2);
        assert_eq!(
            logged[0],
            json!({"action": "node.register", "subject": "n1", "result": "registered", "details": {
                "hostname": "127.0.0.1", "sshPort": 9, "sshUser": "root", "capacity": 8,
                "hostKeyFingerprint": null,
                "warning": "The host cannot be reached. Its key will be pinned at the first connection",
            }})
        );
    });
}

#[test]
fn f25_a_silent_host_is_registered_within_the_time_limit() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let silent = SilentPort::start().expect("a silent host");
        let body = json!({"nodeId": "n1", "hostname": "127.0.0.1", "sshPort": silent.port()});
        let began = Instant::now();
        let registered = register(&world, &key, &body).await;
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(registered.status(), 201, "{registered:?}");
        assert_eq!(
            registered.json()["data"]["warning"],
            json!(
                "The host did not answer in time. Its key will be pinned at the first connection"
            )
        );
    });
}

#[test]
fn every_invalid_field_is_reported() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let every_field_invalid = json!({"nodeId": "a/b", "hostname": "http://x", "sshPort": 0, "capacity": 0,
            "sshUser": "-oProxyCommand=x", "hostKeyFingerprint": "MD5:00"});
        check_field_errors(
            &register(&world, &key, &every_field_invalid).await,
            "nodeId must be 1 to 64 letters, digits, dots, dashes and underscores, begin with a letter or a digit, and not be 'sync', and 5 more",
            &[
                (
                    "nodeId",
                    "must be 1 to 64 letters, digits, dots, dashes and underscores, begin with a letter or a digit, and not be 'sync'",
                ),
                ("hostname", "must be a host name or an IP address"),
                ("sshPort", "must be a whole number from 1 to 65535"),
                (
                    "sshUser",
                    "must be 1 to 32 letters, digits, dots, dashes and underscores, and begin with a letter or an underscore",
                ),
                ("capacity", "must be a whole number from 1 to 1000"),
                (
                    "hostKeyFingerprint",
                    "must be a SHA-256 fingerprint as OpenSSH prints it",
                ),
            ],
        );
        let good = json!({"nodeId": "n1", "hostname": "127.0.0.1", "sshPort": 9});
        for (field, values) in [
            (
                "nodeId",
                vec![
                    json!(null),
                    json!(""),
                    json!("sync"),
                    json!(1),
                    json!("-n"),
                    json!("a".repeat(65)),
                ],
            ),
            (
                "hostname",
                vec![
                    json!(null),
                    json!(""),
                    json!("127.1"),
                    json!("2130706433"),
                    json!("[::1]"),
                    json!("a b"),
                    json!("x:22"),
                    json!("root@x"),
                    json!("a\u{0}"),
                    json!(["127.0.0.1"]),
                ],
            ),
            (
                "sshPort",
                vec![
                    json!(0),
                    json!(65_536),
                    json!(-1),
                    json!(22.5),
                    json!("22"),
                    json!(1e300),
                ],
            ),
            (
                "capacity",
                vec![
                    json!(0),
                    json!(1001),
                    json!(-8),
                    json!(1.5),
                    json!("8"),
                    json!(true),
                ],
            ),
            (
                "sshUser",
                vec![
                    json!(""),
                    json!("root;id"),
                    json!("a b"),
                    json!("1a"),
                    json!(0),
                ],
            ),
            (
                "hostKeyFingerprint",
                vec![json!(""), json!("SHA256:"), json!("MD5:00:11"), json!(1)],
            ),
        ] {
            for value in values {
                let mut body = good.clone();
                body[field] = value.clone();
                let refused = register(&world, &key, &body).await;
                assert_eq!(refused.status(), 400, "{field} {value}");
                let details = refused.json()["details"].clone();
                assert_eq!(details.as_array().map(Vec::len), Some(1), "{details}");
                assert_eq!(details[0]["field"], json!(field), "{value}");
            }
        }
        for (body, kind, status) in [
            ("[]", "application/json", 400),
            ("{", "application/json", 400),
            ("", "application/json", 400),
            ("{}", "text/plain", 415),
        ] {
            let request = Request::new("POST", NODES).key(&key).body(body);
            let answer = world.call(request.header("content-type", kind)).await;
            assert_eq!(answer.status(), status, "{body} {kind}");
        }
        assert_eq!(host_rows(&world).await, Vec::<Value>::new());
        // JSON does not distinguish these.
        let mut integral_float = good.clone();
        integral_float["capacity"] = json!(8.0);
        assert_eq!(register(&world, &key, &integral_float).await.status(), 201);
    });
}

#[test]
fn a_host_name_can_be_registered_only_once() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let body = json!({"nodeId": "n1", "hostname": "127.0.0.1", "sshPort": 9});
        assert_eq!(register(&world, &key, &body).await.status(), 201);
        let repeated = register(&world, &key, &body).await;
        assert_eq!(
            status_and_error(&repeated),
            (409, "Node with id 'n1' already exists".to_owned())
        );
        assert_eq!(audit_entries(&world).await.len(), 1);
    });
}

#[test]
fn one_of_several_simultaneous_registrations_of_a_name_succeeds() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        for round in 0..3 {
            let registrations = (1..=4).map(|n| {
                // Each request registers another host under the same name.
                let body =
                    json!({"nodeId": format!("n{round}"), "hostname": "127.0.0.1", "sshPort": n});
                world.call_on_new_instance(Request::new("POST", NODES).key(&key).json(&body))
            });
            let responses: Vec<Response> = futures_util::future::join_all(registrations).await;
            let mut statuses: Vec<u64> = responses.iter().map(Response::status).collect();
            statuses.sort_unstable();
            assert_eq!(statuses, [201, 409, 409, 409], "{responses:?}");
            let winner = responses.iter().find(|answer| answer.status() == 201);
            let port = winner.expect("one").json()["data"]["sshPort"].clone();
            let stored = host_rows(&world).await;
            assert_eq!(
                (stored.len(), &stored[round]["ssh_port"]),
                (round + 1, &port)
            );
        }
        assert_eq!(audit_entries(&world).await.len(), 3);
    });
}

#[test]
fn a_repeated_registration_gets_the_first_response() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let request = |port: u16| {
            let body = json!({"nodeId": "n1", "hostname": "127.0.0.1", "sshPort": port});
            let request = Request::new("POST", NODES).key(&key).json(&body);
            request.header("idempotency-key", "once")
        };
        let first = world.call(request(9)).await;
        world
            .execute("UPDATE docker_nodes SET capacity = 3, metadata = '{\"a\": 1}'")
            .await;
        let repeated = world.call(request(9)).await;
        assert_eq!((first.status(), first.json()), (201, repeated.json()));
        assert_eq!(repeated.status(), 201);
        assert_eq!(world.call(request(10)).await.status(), 422);
        assert_eq!(host_rows(&world).await.len(), 1);
        // A refused request can be repeated with its key.
        let body = json!({"nodeId": "n1", "hostname": "127.0.0.1", "sshPort": 9});
        let request = Request::new("POST", NODES).key(&key).json(&body);
        let request = request.header("idempotency-key", "other");
        assert_eq!(world.call(request.clone()).await.status(), 409);
        world.execute("DELETE FROM docker_nodes").await;
        assert_eq!(world.call(request).await.status(), 201);
    });
}
