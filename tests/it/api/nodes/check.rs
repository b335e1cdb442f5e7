//! `POST /api/v1/admin/docker-nodes/{nodeId}/health-check`

use std::time::{Duration, Instant};

use dev::host::{Options, Silent, Sshd};
use serde_json::{Value, json};
use tests::lab::can;
use tests::{Lab, World, run};

use super::{NODES, closed_host, error, look, operator, stored, world_with_key};

#[test]
fn a_host_is_looked_at_and_what_was_found_is_recorded() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let world = &lab.world;
        let key = operator(world).await;
        world
            .execute(
                "UPDATE docker_nodes SET status = 'offline', host_key_fingerprint = NULL,
                    metadata = metadata || '{\"apiToken\": \"canary\"}'",
            )
            .await;
        let first = lab.running(json!({})).await;
        lab.running(json!({})).await;
        assert_eq!(lab.ask_and_run(first, "/suspend").await.1, "completed");
        // An exited one of ours, and one of somebody else.
        let exited = json!({"Image": dev::host::image::SAMPLE, "Entrypoint": ["/nowhere"],
            "Labels": {"milady.agent": first.to_string()}});
        let create = "/containers/create?name=exited";
        let engine = &lab.hosts[0].engine;
        engine
            .call("POST", create, Some(&exited))
            .await
            .expect("a container");
        let foreign = json!({"Image": dev::host::image::SAMPLE});
        let create = "/containers/create?name=foreign";
        engine
            .call("POST", create, Some(&foreign))
            .await
            .expect("a container");

        let looked = look(world, &key, "n1").await;
        assert_eq!(looked.status(), 200, "{looked:?}");
        let data = looked.json()["data"].clone();
        let used = data["checks"]["diskUsage"]["usedPercent"]
            .as_u64()
            .expect("a figure");
        let status = if used < 90 { "healthy" } else { "degraded" };
        for (field, expected) in [
            ("nodeId", json!("n1")),
            ("hostname", json!("127.0.0.1")),
            ("previousStatus", json!("offline")),
            ("newStatus", json!(status)),
            ("status", json!(status)),
        ] {
            assert_eq!(data[field], expected, "{data}");
        }
        let checks = &data["checks"];
        assert_eq!(
            (
                &checks["ssh"]["ok"],
                &checks["docker"]["ok"],
                &checks["containers"]
            ),
            (
                &json!(true),
                &json!(true),
                &json!({"running": 1, "total": 2})
            )
        );
        assert!(checks["ssh"]["latencyMs"].is_u64(), "{checks}");
        assert!(checks["docker"]["version"].is_string(), "{checks}");
        assert_eq!(checks["diskUsage"]["ok"], json!(used < 90));
        let row = &stored(world).await[0];
        assert_eq!(
            (&row["status"], &row["host_key_fingerprint"]),
            (&json!(status), &json!(lab.hosts[0].sshd.fingerprint()))
        );
        let shown = world.get(&key, &format!("{NODES}/n1")).await.json();
        assert_eq!(shown["data"]["lastHealthCheck"], data["checkedAt"]);
        assert!(!shown.to_string().contains("canary"), "{shown}");

        // Docker is down: the rest is read all the same (F19).
        engine.stop().expect("stopped");
        let looked = look(world, &key, "n1").await.json();
        let data = &looked["data"];
        assert_eq!(
            (&data["previousStatus"], &data["status"]),
            (&json!(status), &json!("degraded"))
        );
        assert_eq!(
            data["checks"]["docker"],
            json!({"ok": false, "error": "Docker does not answer on the host"})
        );
        assert_eq!(data["checks"]["ssh"]["ok"], json!(true));
        assert!(
            data["checks"]["diskUsage"]["usedPercent"].is_u64(),
            "{data}"
        );
        assert_eq!(data["checks"]["containers"], Value::Null);
        for line in world.logs("node-check").await {
            let port = lab.hosts[0].sshd.port().to_string();
            assert!(
                !line.contains("127.0.0.1") && !line.contains(&port),
                "{line}"
            );
        }
    });
}

#[test]
fn a_host_that_dies_while_it_is_known_is_offline_and_back_when_it_is_back() {
    run(async {
        if !can(&Sshd::availability()) {
            return;
        }
        let options = Options::default();
        let sshd = Sshd::start(&options).await.expect("an SSH server");
        let world = world_with_key(&sshd.private_key_path()).await;
        let key = operator(&world).await;
        let body = json!({"nodeId": "n1", "hostname": "127.0.0.1", "sshPort": sshd.port(),
            "sshUser": sshd.user()});
        let registered = super::register(&world, &key, &body).await;
        assert_eq!(registered.status(), 201, "{registered:?}");
        // It has no Docker Engine.
        let mut before = "unknown";
        for (up, status) in [(true, "degraded"), (false, "offline"), (true, "degraded")] {
            if up {
                sshd.start_again().await.expect("it is back");
            } else {
                sshd.stop().expect("it is down");
            }
            let looked = look(&world, &key, "n1").await.json();
            let data = &looked["data"];
            assert_eq!(
                (
                    &data["previousStatus"],
                    &data["status"],
                    &data["checks"]["ssh"]["ok"]
                ),
                (&json!(before), &json!(status), &json!(up)),
                "{looked}"
            );
            before = status;
        }
    });
}

#[test]
fn f25_a_host_that_says_nothing_is_offline_within_its_time() {
    run(async {
        let world = World::new().await;
        let key = operator(&world).await;
        closed_host(&world).await;
        let silent = Silent::start().expect("a silent host");
        sqlx::query("UPDATE docker_nodes SET ssh_port = $1, status = 'healthy'")
            .bind(i32::from(silent.port()))
            .execute(&world.pool)
            .await
            .expect("a host");
        let began = Instant::now();
        let looked = look(&world, &key, "n1").await;
        assert!(
            began.elapsed() < Duration::from_secs(13),
            "{:?}",
            began.elapsed()
        );
        let data = &looked.json()["data"];
        let why = "The host did not answer in time";
        assert_eq!(
            (&data["previousStatus"], &data["status"], &data["checks"]),
            (
                &json!("healthy"),
                &json!("offline"),
                &json!({"ssh": {"ok": false, "error": why}, "docker": {"ok": false, "error": why}})
            )
        );
        assert_eq!(stored(&world).await[0]["status"], json!("offline"));
    });
}

#[test]
fn a_host_at_which_nobody_listens_is_offline_and_one_that_is_none_is_not_found() {
    run(async {
        let world = World::new().await;
        let key = operator(&world).await;
        closed_host(&world).await;
        let looked = look(&world, &key, "n1").await.json();
        assert_eq!(
            (
                &looked["data"]["status"],
                &looked["data"]["checks"]["ssh"]["error"]
            ),
            (&json!("offline"), &json!("The host cannot be reached"))
        );
        for name in ["none", "%00", "sync"] {
            let missing = look(&world, &key, name).await;
            assert_eq!(
                error(&missing),
                (404, "Node not found".to_owned()),
                "{name}"
            );
        }
    });
}
