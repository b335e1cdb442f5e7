//! `PATCH /api/v1/admin/docker-nodes/{nodeId}`

use expect_test::expect;
use serde_json::{Value, json};
use tests::suite::Request;
use tests::world::minutes;
use tests::{World, check, run};

use super::{NODES, audit_entries, host_rows, register_closed_host, status_and_error, update};

const PIN: &str = "SHA256:abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ";

#[test]
fn each_field_can_be_changed_without_the_others() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        let metadata = json!({"dockerSocket": "/run/docker.sock", "publishAddress": "10.0.0.1", "rack": 4,
            "agentDiskBytes": 104_857_600});
        let mut expected = host_rows(&world).await[0].clone();
        for (minute, (field, value, column)) in (1..).zip([
            ("hostname", json!("127.0.0.2"), "hostname"),
            ("enabled", json!(false), "enabled"),
            ("capacity", json!(1), "capacity"),
            ("sshPort", json!(2222), "ssh_port"),
            ("sshUser", json!("milady"), "ssh_user"),
            ("hostKeyFingerprint", json!(PIN), "host_key_fingerprint"),
            ("metadata", metadata.clone(), "metadata"),
            ("metadata", json!({}), "metadata"),
            ("hostKeyFingerprint", Value::Null, "host_key_fingerprint"),
        ]) {
            world.set_clock(minutes(minute)).await;
            let changed = update(&world, &key, "n1", &json!({field: value})).await;
            assert_eq!(changed.status(), 200, "{field} {changed:?}");
            let row = host_rows(&world).await[0].clone();
            expected[column] = value.clone();
            expected["updated_at"] = row["updated_at"].clone();
            assert_eq!(row, expected, "{field}");
            let shown = changed.json()["data"].clone();
            if field != "hostKeyFingerprint" {
                assert_eq!(shown[field], value, "{shown}");
            }
            assert_eq!(
                shown["updatedAt"],
                json!(format!("2026-03-01T00:{minute:02}:00.000Z"))
            );
            let logged = audit_entries(&world).await;
            let last = logged.last().expect("an entry");
            let audited = if field == "metadata" {
                json!("replaced")
            } else {
                value
            };
            assert_eq!(
                *last,
                json!({"action": "node.update", "subject": "n1", "result": "updated",
                    "details": {field: audited}})
            );
        }
    });
}

#[test]
fn several_fields_change_at_once_and_null_or_unknown_fields_are_ignored() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        world
            .execute("UPDATE docker_nodes SET allocated_count = 5, host_key_fingerprint = 'kept'")
            .await;
        // A capacity below the number of taken slots is allowed: the host empties over time.
        let body = json!({"capacity": 2, "enabled": false, "sshPort": 2200, "hostname": null, "node_id": "x"});
        check(
            &update(&world, &key, "n1", &body).await,
            expect![[r#"
                200 application/json
                {
                  "data": {
                    "allocatedCount": 5,
                    "availableSlots": 0,
                    "capacity": 2,
                    "createdAt": "2026-03-01T00:00:00.000Z",
                    "enabled": false,
                    "hostKeyPinned": true,
                    "hostname": "127.0.0.1",
                    "id": "<1>",
                    "lastHealthCheck": null,
                    "metadata": {},
                    "nodeId": "n1",
                    "service": "in_service",
                    "sshPort": 2200,
                    "sshUser": "root",
                    "status": "unknown",
                    "updatedAt": "2026-03-01T00:00:00.000Z"
                  },
                  "success": true
                }
            "#]],
        );
        // A new address does not clear the pin.
        assert_eq!(
            host_rows(&world).await[0]["host_key_fingerprint"],
            json!("kept")
        );
    });
}

#[test]
fn an_invalid_change_is_refused_and_changes_nothing() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        let before = host_rows(&world).await;
        let long = json!({"note": "x".repeat(16_384)});
        for body in [
            json!({}),
            json!({"capacity": null, "unknown": 1}),
            json!({"nodeId": "n2"}),
        ] {
            let refused = update(&world, &key, "n1", &body).await;
            let expected = (400, "body must hold something to change".to_owned());
            assert_eq!(status_and_error(&refused), expected, "{body}");
        }
        for (field, value) in [
            ("hostname", json!("a b")),
            ("hostname", json!("")),
            ("enabled", json!("yes")),
            ("enabled", json!(1)),
            ("capacity", json!(0)),
            ("capacity", json!(1001)),
            ("sshPort", json!(70_000)),
            ("sshUser", json!("a:b")),
            ("hostKeyFingerprint", json!("x")),
            ("metadata", json!([])),
            ("metadata", json!({"dockerSocket": "docker.sock"})),
            ("metadata", json!({"dockerSocket": 1})),
            (
                "metadata",
                json!({"dockerSocket": format!("/{}", "a".repeat(107))}),
            ),
            ("metadata", json!({"publishAddress": "example.com"})),
            ("metadata", json!({"publishAddress": ["0.0.0.0"]})),
            ("metadata", json!({"agentDiskBytes": 104_857_599})),
            ("metadata", json!({"agentDiskBytes": "10 GB"})),
            ("metadata", json!({"a": {"b": "\u{0}"}})),
            ("metadata", long),
        ] {
            let body = json!({field: value, "enabled": if field == "enabled" { value.clone() } else { json!(false) }});
            let refused = update(&world, &key, "n1", &body).await;
            assert_eq!(refused.status(), 400, "{field} {value}");
            assert_eq!(
                refused.json()["details"][0]["field"],
                json!(field),
                "{value}"
            );
        }
        let request = Request::new("PATCH", &format!("{NODES}/n1")).key(&key);
        let plain = request.header("content-type", "text/plain").body("{}");
        assert_eq!(world.call(plain).await.status(), 415);
        let missing = update(&world, &key, "none", &json!({"enabled": false})).await;
        assert_eq!(
            status_and_error(&missing),
            (404, "Node not found".to_owned())
        );
        assert_eq!(host_rows(&world).await, before);
        assert_eq!(audit_entries(&world).await, Vec::<Value>::new());
    });
}
