//! Host keys: pinned at the registration or the first connection, and compared at every connection

use dev::host::{KeyType, Options, Sshd};
use serde_json::{Value, json};
use tests::lab::can_run;
use tests::{World, run};

use super::{
    NODES, audit_entries, health_check, host_rows, register, status_and_error, update,
    world_with_ssh_key,
};

const MISMATCH: &str = "The host's key is not the one we know";
const WRONG_FINGERPRINT: &str =
    "hostKeyFingerprint is not the fingerprint of a key that the host has";

async fn server(kinds: &[KeyType]) -> Option<Sshd> {
    if !can_run(&Sshd::availability()) {
        return None;
    }
    let options = Options {
        host_keys: kinds.to_vec(),
        ..Options::default()
    };
    Some(Sshd::start(&options).await.expect("an SSH server"))
}

fn body(sshd: &Sshd, pin: Option<&str>) -> Value {
    json!({"nodeId": "n1", "hostname": "127.0.0.1", "sshPort": sshd.port(), "sshUser": sshd.user(),
        "hostKeyFingerprint": pin})
}

/// Checks that no log line of these functions holds the host's address or key.
async fn check_no_leak(world: &World, sshd: &Sshd, functions: &[&str]) {
    let port = sshd.port().to_string();
    for function in functions {
        for line in world.logs(function).await {
            for word in ["127.0.0.1", port.as_str(), "PRIVATE KEY"] {
                assert!(!line.contains(word), "{line}");
            }
        }
    }
}

#[test]
fn f24_registration_pins_the_host_key_and_another_key_is_refused() {
    run(async {
        let Some(sshd) = server(&[KeyType::Ed25519]).await else {
            return;
        };
        let world = world_with_ssh_key(&sshd.private_key_path()).await;
        let key = world.super_admin().await;
        let registered = register(&world, &key, &body(&sshd, None)).await;
        let data = &registered.json()["data"];
        assert_eq!(registered.status(), 201, "{registered:?}");
        assert_eq!(
            (
                &data["hostKeyFingerprint"],
                &data["hostKeyPinned"],
                &data["warning"]
            ),
            (&json!(sshd.fingerprint()), &json!(true), &Value::Null)
        );
        let pinned = sshd.fingerprint();
        let row = &host_rows(&world).await[0];
        assert_eq!(
            (&row["host_key_fingerprint"], &row["status"]),
            (&json!(pinned), &json!("unknown"))
        );
        assert_eq!(
            audit_entries(&world).await[0]["details"]["hostKeyFingerprint"],
            json!(pinned)
        );

        // Another machine has the host's address now.
        sshd.change_host_key().await.expect("another key");
        let before = sshd.connections().expect("a log");
        let checked = health_check(&world, &key, "n1").await;
        let data = &checked.json()["data"];
        assert_eq!(checked.status(), 200);
        assert_eq!(
            (&data["status"], &data["checks"]["ssh"]),
            (&json!("offline"), &json!({"ok": false, "error": MISMATCH}))
        );
        assert_eq!(sshd.connections().expect("a log"), before);
        let row = &host_rows(&world).await[0];
        assert_eq!(
            (&row["host_key_fingerprint"], &row["status"]),
            (&json!(pinned), &json!("offline"))
        );

        // Setting the address does not clear the pin. Clearing it lets the next check pin the new key.
        let moved = update(&world, &key, "n1", &json!({"sshPort": sshd.port()})).await;
        assert_eq!(moved.json()["data"]["hostKeyPinned"], json!(true));
        let checked = health_check(&world, &key, "n1").await;
        assert_eq!(checked.json()["data"]["status"], json!("offline"));
        let cleared = update(&world, &key, "n1", &json!({"hostKeyFingerprint": null})).await;
        assert_eq!(cleared.json()["data"]["hostKeyPinned"], json!(false));
        let checked = health_check(&world, &key, "n1").await.json();
        assert_eq!(
            checked["data"]["checks"]["ssh"]["ok"],
            json!(true),
            "{checked}"
        );
        assert_eq!(
            host_rows(&world).await[0]["host_key_fingerprint"],
            json!(sshd.fingerprint())
        );
        let functions = ["node-register", "node-check", "node-update"];
        check_no_leak(&world, &sshd, &functions).await;
    });
}

#[test]
fn a_host_without_the_given_key_is_not_registered() {
    run(async {
        let Some(sshd) = server(&[KeyType::Ed25519, KeyType::Rsa]).await else {
            return;
        };
        let Some(other_host) = server(&[KeyType::Ed25519]).await else {
            return;
        };
        let world = world_with_ssh_key(&sshd.private_key_path()).await;
        let key = world.super_admin().await;
        let wrong = other_host.fingerprint();
        let refused = register(&world, &key, &body(&sshd, Some(&wrong))).await;
        assert_eq!(
            status_and_error(&refused),
            (400, WRONG_FINGERPRINT.to_owned())
        );
        assert_eq!(
            refused.json()["details"][0]["field"],
            json!("hostKeyFingerprint")
        );
        assert_eq!(host_rows(&world).await, Vec::<Value>::new());
        assert_eq!(audit_entries(&world).await, Vec::<Value>::new());
        assert_eq!(sshd.connections().expect("a log"), 0);

        // Any key that the host has is accepted, in either notation.
        for kind in [KeyType::Ed25519, KeyType::Rsa] {
            let pin = sshd.fingerprint_of(kind).expect("its fingerprint");
            let given_pin = pin.trim_start_matches("SHA256:");
            let registered = register(&world, &key, &body(&sshd, Some(given_pin))).await;
            let data = &registered.json()["data"];
            assert_eq!(registered.status(), 201, "{registered:?}");
            assert_eq!(
                (&data["hostKeyFingerprint"], &data["warning"]),
                (&json!(pin), &Value::Null)
            );
            let checked = health_check(&world, &key, "n1").await.json();
            assert_eq!(
                checked["data"]["checks"]["ssh"]["ok"],
                json!(true),
                "{checked}"
            );
            world.execute("DELETE FROM docker_nodes").await;
        }
    });
}

#[test]
fn a_host_that_refuses_our_key_is_registered_and_its_key_pinned() {
    run(async {
        let Some(sshd) = server(&[KeyType::Ed25519, KeyType::Rsa]).await else {
            return;
        };
        let world = world_with_ssh_key(&sshd.unauthorized_key_path()).await;
        let key = world.super_admin().await;
        let second = sshd.fingerprint_of(KeyType::Rsa).expect("its fingerprint");
        for (given_pin, stored_pin) in [
            (None, sshd.fingerprint()),
            // The host has this key, but does not present it first.
            (Some(second.as_str()), second.clone()),
        ] {
            let registered = register(&world, &key, &body(&sshd, given_pin)).await;
            let data = &registered.json()["data"];
            assert_eq!(registered.status(), 201, "{registered:?}");
            assert_eq!(
                (
                    &data["hostKeyFingerprint"],
                    &data["hostKeyPinned"],
                    &data["warning"]
                ),
                (
                    &json!(stored_pin),
                    &json!(true),
                    &json!("The host refused our key")
                )
            );
            let checked = health_check(&world, &key, "n1").await.json();
            assert_eq!(
                (
                    &checked["data"]["status"],
                    &checked["data"]["checks"]["ssh"]["error"]
                ),
                (&json!("offline"), &json!("The host refused our key"))
            );
            world.execute("DELETE FROM docker_nodes").await;
        }
        assert_eq!(sshd.connections().expect("a log"), 0);
    });
}

#[test]
fn without_an_ssh_key_a_host_is_registered_without_a_pin() {
    run(async {
        let Some(sshd) = server(&[KeyType::Ed25519]).await else {
            return;
        };
        let world = world_with_ssh_key(&sshd.private_key_path().with_extension("missing")).await;
        let key = world.super_admin().await;
        let registered = register(&world, &key, &body(&sshd, None)).await;
        let data = &registered.json()["data"];
        assert_eq!(registered.status(), 201, "{registered:?}");
        assert_eq!(
            (&data["hostKeyFingerprint"], &data["warning"]),
            (
                &Value::Null,
                &json!("No SSH key is set up. Its key will be pinned at the first connection")
            )
        );
        // The cause is ours, so the host's status is unknown.
        let checked = health_check(&world, &key, "n1").await.json();
        assert_eq!(checked["data"]["status"], json!("unknown"), "{checked}");
        let shown = world.get(&key, &format!("{NODES}/n1")).await.json();
        assert_eq!(shown["data"]["status"], json!("unknown"));
    });
}
