//! Keys of hosts: pinned when a host is registered or first looked at, and held to

use dev::host::{KeyType, Options, Sshd};
use serde_json::{Value, json};
use tests::lab::can;
use tests::{World, run};

use super::{NODES, error, logged, look, operator, register, stored, update, world_with_key};

const MISMATCH: &str = "The host's key is not the one we know";
const NOT_ITS: &str = "hostKeyFingerprint is not the fingerprint of a key that the host has";

async fn server(kinds: &[KeyType]) -> Option<Sshd> {
    if !can(&Sshd::availability()) {
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

/// No line of these functions tells where the host is, and none holds the key.
async fn tell_nothing(world: &World, sshd: &Sshd, functions: &[&str]) {
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
fn f24_a_host_is_pinned_as_it_is_registered_and_another_key_is_not_let_near() {
    run(async {
        let Some(sshd) = server(&[KeyType::Ed25519]).await else {
            return;
        };
        let world = world_with_key(&sshd.private_key_path()).await;
        let key = operator(&world).await;
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
        let row = &stored(&world).await[0];
        assert_eq!(
            (&row["host_key_fingerprint"], &row["status"]),
            (&json!(pinned), &json!("unknown"))
        );
        assert_eq!(
            logged(&world).await[0]["details"]["hostKeyFingerprint"],
            json!(pinned)
        );

        // Another machine has its address now.
        sshd.change_host_key().await.expect("another key");
        let before = sshd.connections().expect("a log");
        let looked = look(&world, &key, "n1").await;
        let data = &looked.json()["data"];
        assert_eq!(looked.status(), 200);
        assert_eq!(
            (&data["status"], &data["checks"]["ssh"]),
            (&json!("offline"), &json!({"ok": false, "error": MISMATCH}))
        );
        assert_eq!(sshd.connections().expect("a log"), before);
        let row = &stored(&world).await[0];
        assert_eq!(
            (&row["host_key_fingerprint"], &row["status"]),
            (&json!(pinned), &json!("offline"))
        );

        // The address alone does not make it known; clearing the pin does, at the next look.
        let moved = update(&world, &key, "n1", &json!({"sshPort": sshd.port()})).await;
        assert_eq!(moved.json()["data"]["hostKeyPinned"], json!(true));
        let looked = look(&world, &key, "n1").await;
        assert_eq!(looked.json()["data"]["status"], json!("offline"));
        let cleared = update(&world, &key, "n1", &json!({"hostKeyFingerprint": null})).await;
        assert_eq!(cleared.json()["data"]["hostKeyPinned"], json!(false));
        let looked = look(&world, &key, "n1").await.json();
        assert_eq!(
            looked["data"]["checks"]["ssh"]["ok"],
            json!(true),
            "{looked}"
        );
        assert_eq!(
            stored(&world).await[0]["host_key_fingerprint"],
            json!(sshd.fingerprint())
        );
        let functions = ["node-register", "node-check", "node-update"];
        tell_nothing(&world, &sshd, &functions).await;
    });
}

#[test]
fn a_host_that_has_not_the_given_key_is_not_registered() {
    run(async {
        let Some(sshd) = server(&[KeyType::Ed25519, KeyType::Rsa]).await else {
            return;
        };
        let Some(other) = server(&[KeyType::Ed25519]).await else {
            return;
        };
        let world = world_with_key(&sshd.private_key_path()).await;
        let key = operator(&world).await;
        let wrong = other.fingerprint();
        let refused = register(&world, &key, &body(&sshd, Some(&wrong))).await;
        assert_eq!(error(&refused), (400, NOT_ITS.to_owned()));
        assert_eq!(
            refused.json()["details"][0]["field"],
            json!("hostKeyFingerprint")
        );
        assert_eq!(stored(&world).await, Vec::<Value>::new());
        assert_eq!(logged(&world).await, Vec::<Value>::new());
        assert_eq!(sshd.connections().expect("a log"), 0);

        // Any key that it has will do, in either spelling.
        for kind in [KeyType::Ed25519, KeyType::Rsa] {
            let pin = sshd.fingerprint_of(kind).expect("its fingerprint");
            let given = pin.trim_start_matches("SHA256:");
            let registered = register(&world, &key, &body(&sshd, Some(given))).await;
            let data = &registered.json()["data"];
            assert_eq!(registered.status(), 201, "{registered:?}");
            assert_eq!(
                (&data["hostKeyFingerprint"], &data["warning"]),
                (&json!(pin), &Value::Null)
            );
            let looked = look(&world, &key, "n1").await.json();
            assert_eq!(
                looked["data"]["checks"]["ssh"]["ok"],
                json!(true),
                "{looked}"
            );
            world.execute("DELETE FROM docker_nodes").await;
        }
    });
}

#[test]
fn a_host_that_refuses_our_key_is_registered_with_the_key_it_has() {
    run(async {
        let Some(sshd) = server(&[KeyType::Ed25519, KeyType::Rsa]).await else {
            return;
        };
        let world = world_with_key(&sshd.stranger_key_path()).await;
        let key = operator(&world).await;
        let second = sshd.fingerprint_of(KeyType::Rsa).expect("its fingerprint");
        for (given, kept) in [
            (None, sshd.fingerprint()),
            // Not the key it shows by itself, and still one that it has.
            (Some(second.as_str()), second.clone()),
        ] {
            let registered = register(&world, &key, &body(&sshd, given)).await;
            let data = &registered.json()["data"];
            assert_eq!(registered.status(), 201, "{registered:?}");
            assert_eq!(
                (
                    &data["hostKeyFingerprint"],
                    &data["hostKeyPinned"],
                    &data["warning"]
                ),
                (
                    &json!(kept),
                    &json!(true),
                    &json!("The host refused our key")
                )
            );
            let looked = look(&world, &key, "n1").await.json();
            assert_eq!(
                (
                    &looked["data"]["status"],
                    &looked["data"]["checks"]["ssh"]["error"]
                ),
                (&json!("offline"), &json!("The host refused our key"))
            );
            world.execute("DELETE FROM docker_nodes").await;
        }
        assert_eq!(sshd.connections().expect("a log"), 0);
    });
}

#[test]
fn without_a_key_of_ours_a_host_is_registered_unseen() {
    run(async {
        let Some(sshd) = server(&[KeyType::Ed25519]).await else {
            return;
        };
        let world = world_with_key(&sshd.private_key_path().with_extension("missing")).await;
        let key = operator(&world).await;
        let registered = register(&world, &key, &body(&sshd, None)).await;
        let data = &registered.json()["data"];
        assert_eq!(registered.status(), 201, "{registered:?}");
        assert_eq!(
            (&data["hostKeyFingerprint"], &data["warning"]),
            (
                &Value::Null,
                &json!("No SSH key is set up: its key will be pinned at the first connection")
            )
        );
        // That says nothing about the host.
        let looked = look(&world, &key, "n1").await.json();
        assert_eq!(looked["data"]["status"], json!("unknown"), "{looked}");
        let shown = world.get(&key, &format!("{NODES}/n1")).await.json();
        assert_eq!(shown["data"]["status"], json!("unknown"));
    });
}
