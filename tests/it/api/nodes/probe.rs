//! `POST /api/v1/admin/docker-nodes/probe`

use dev::host::{KeyType, Options, Sshd};
use serde_json::{Value, json};
use tests::lab::can_run;
use tests::{World, check_field_errors, run};

use super::{NODES, audit_entries, host_rows, register, world_with_ssh_key};

async fn probe(world: &World, key: &str, body: &Value) -> Value {
    let answer = world.post_json(key, &format!("{NODES}/probe"), body).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer.json()["data"].clone()
}

#[test]
fn probe_shows_the_key_of_a_host_and_stores_nothing() {
    run(async {
        if !can_run(&Sshd::availability()) {
            return;
        }
        let options = Options {
            host_keys: vec![KeyType::Ed25519],
            ..Options::default()
        };
        let sshd = Sshd::start(&options).await.expect("an SSH server");
        let world = world_with_ssh_key(&sshd.private_key_path()).await;
        let key = world.super_admin().await;
        let body = json!({"hostname": "127.0.0.1", "sshPort": sshd.port(), "sshUser": sshd.user()});
        let found = probe(&world, &key, &body).await;
        assert_eq!(
            (&found["fingerprint"], &found["keyType"], &found["sshOk"]),
            (
                &json!(sshd.fingerprint()),
                &json!("ssh-ed25519"),
                &json!(true)
            )
        );
        // Nothing listens on the Docker socket of this server.
        assert_eq!(found["docker"]["ok"], json!(false), "{found}");
        assert!(found["docker"]["error"].is_string(), "{found}");
        // A user whom the server does not know proves the host's key all the same.
        let stranger =
            json!({"hostname": "127.0.0.1", "sshPort": sshd.port(), "sshUser": "nosuchuser"});
        let found = probe(&world, &key, &stranger).await;
        assert_eq!(
            (&found["fingerprint"], &found["sshOk"], found.get("docker")),
            (&json!(sshd.fingerprint()), &json!(false), None)
        );
        assert!(found["error"].is_string(), "{found}");
        assert_eq!(host_rows(&world).await, [] as [Value; 0]);
        assert_eq!(audit_entries(&world).await, [] as [Value; 0]);
        // What was shown can be registered.
        let mut registration = body.clone();
        registration["nodeId"] = json!("n1");
        registration["hostKeyFingerprint"] = json!(sshd.fingerprint());
        let registered = register(&world, &key, &registration).await;
        assert_eq!(registered.status(), 201, "{registered:?}");
        let shown = world.get(&key, &format!("{NODES}/n1")).await.json();
        assert_eq!(
            shown["data"]["hostKeyFingerprint"],
            json!(sshd.fingerprint())
        );
    });
}

#[test]
fn host_that_cannot_be_reached_is_no_error() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        for body in [
            json!({"hostname": "127.0.0.1", "sshPort": 9}),
            json!({"hostname": "no-such-host.invalid"}),
        ] {
            assert_eq!(
                probe(&world, &key, &body).await,
                json!({"fingerprint": null, "keyType": null, "sshOk": false, "error": "The host cannot be reached"})
            );
        }
    });
}

#[test]
fn invalid_fields_and_addresses_that_are_not_allowed_are_refused() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        let path = format!("{NODES}/probe");
        let body = json!({"hostname": "http://x", "sshPort": 0, "sshUser": "-o"});
        check_field_errors(
            &world.post_json(&key, &path, &body).await,
            "hostname must be a host name or an IP address, and 2 more",
            &[
                ("hostname", "must be a host name or an IP address"),
                ("sshPort", "must be a whole number from 1 to 65535"),
                (
                    "sshUser",
                    "must be 1 to 32 letters, digits, dots, dashes and underscores, and begin with a letter or an underscore",
                ),
            ],
        );
        let function = world
            .function("node-probe")
            .with("ALLOW_PRIVATE_NODES", "false");
        for hostname in ["127.0.0.1", "169.254.169.254", "10.0.0.1", "localhost"] {
            let request = tests::suite::Request::new("POST", &path)
                .key(&key)
                .json(&json!({"hostname": hostname}));
            check_field_errors(
                &world.call_function(&function, request).await,
                "hostname leads to an address that is not allowed",
                &[("hostname", "leads to an address that is not allowed")],
            );
        }
    });
}
