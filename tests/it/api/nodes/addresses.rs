//! Which addresses hosts may have, given as an address or as a name

use serde_json::{Value, json};
use tests::{World, run};

use super::{health_check, host_rows, register, status_and_error, update};

const REFUSED: &str = "hostname leads to an address that is not allowed";

/// Loopback, private, link-local and metadata-service addresses in every notation.
const INSIDE: [&str; 14] = [
    "127.0.0.1",
    "0.0.0.0",
    "10.0.0.5",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "::1",
    "::",
    "fe80::1",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    // A name that resolves to one.
    "localhost",
];

#[test]
fn a_public_deployment_refuses_private_addresses() {
    run(async {
        let mut world = World::new().await;
        world
            .settings
            .insert("ALLOW_PRIVATE_NODES".to_owned(), "false".to_owned());
        let key = world.super_admin().await;
        for hostname in INSIDE {
            let body = json!({"nodeId": "n1", "hostname": hostname});
            let refused = register(&world, &key, &body).await;
            assert_eq!(
                status_and_error(&refused),
                (400, REFUSED.to_owned()),
                "{hostname}"
            );
            assert_eq!(refused.json()["details"][0]["field"], json!("hostname"));
        }
        assert_eq!(host_rows(&world).await, Vec::<Value>::new());

        world
            .execute("INSERT INTO docker_nodes (node_id, hostname) VALUES ('n1', 'no-such-host.invalid')")
            .await;
        let before = host_rows(&world).await;
        for hostname in INSIDE {
            let body = json!({"hostname": hostname, "capacity": 3});
            let refused = update(&world, &key, "n1", &body).await;
            assert_eq!(
                status_and_error(&refused),
                (400, REFUSED.to_owned()),
                "{hostname}"
            );
        }
        assert_eq!(host_rows(&world).await, before);
        let body = json!({"hostname": "another-host.invalid"});
        assert_eq!(update(&world, &key, "n1", &body).await.status(), 200);

        // A name can resolve to such an address later, so every connection checks it again.
        world
            .execute("UPDATE docker_nodes SET hostname = 'localhost', ssh_port = 9")
            .await;
        let checked = health_check(&world, &key, "n1").await.json();
        let ssh = &checked["data"]["checks"]["ssh"];
        assert_eq!(
            (&checked["data"]["status"], &ssh["error"]),
            (
                &json!("offline"),
                &json!("The host's address is not allowed")
            )
        );
    });
}

#[test]
fn a_deployment_in_a_private_network_allows_private_addresses() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        for (node, hostname) in [("n1", "127.0.0.1"), ("n2", "localhost"), ("n3", "::1")] {
            let body = json!({"nodeId": node, "hostname": hostname, "sshPort": 9});
            let registered = register(&world, &key, &body).await;
            assert_eq!(registered.status(), 201, "{hostname} {registered:?}");
            let body = json!({"hostname": hostname});
            assert_eq!(update(&world, &key, node, &body).await.status(), 200);
        }
    });
}
