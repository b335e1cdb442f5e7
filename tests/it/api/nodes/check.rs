//! `POST /api/v1/admin/docker-nodes/{nodeId}/health-check`

use std::time::{Duration, Instant};

use dev::host::{Options, SilentPort, Sshd};
use serde_json::{Value, json};
use tests::lab::can_run;
use tests::{Lab, World, run};

use super::{
    NODES, health_check, host_rows, register_closed_host, status_and_error, world_with_ssh_key,
};

#[test]
fn a_health_check_inspects_a_host_and_records_its_status() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        let world = &lab.world;
        let key = world.super_admin().await;
        world
            .execute(
                "UPDATE docker_nodes SET status = 'offline', host_key_fingerprint = NULL,
                    metadata = metadata || '{\"apiToken\": \"canary\"}'",
            )
            .await;
        let first = lab.running_agent(json!({})).await;
        lab.running_agent(json!({})).await;
        assert_eq!(lab.request_and_run(first, "/suspend").await.1, "completed");
        // An exited container with our label, and one of other software.
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

        let checked = health_check(world, &key, "n1").await;
        assert_eq!(checked.status(), 200, "{checked:?}");
        let data = checked.json()["data"].clone();
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
        let row = &host_rows(world).await[0];
        assert_eq!(
            (&row["status"], &row["host_key_fingerprint"]),
            (&json!(status), &json!(lab.hosts[0].sshd.fingerprint()))
        );
        let shown = world.get(&key, &format!("{NODES}/n1")).await.json();
        assert_eq!(shown["data"]["lastHealthCheck"], data["checkedAt"]);
        assert!(!shown.to_string().contains("canary"), "{shown}");

        // A failed Docker read does not discard the other figures (F19).
        engine.stop().expect("stopped");
        let checked = health_check(world, &key, "n1").await.json();
        let data = &checked["data"];
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
fn a_host_that_dies_is_offline_until_it_is_back() {
    run(async {
        if !can_run(&Sshd::availability()) {
            return;
        }
        let options = Options::default();
        let sshd = Sshd::start(&options).await.expect("an SSH server");
        let world = world_with_ssh_key(&sshd.private_key_path()).await;
        let key = world.super_admin().await;
        let body = json!({"nodeId": "n1", "hostname": "127.0.0.1", "sshPort": sshd.port(),
            "sshUser": sshd.user()});
        let registered = super::register(&world, &key, &body).await;
        assert_eq!(registered.status(), 201, "{registered:?}");
        // The host has no Docker Engine.
        let mut before = "unknown";
        for (up, status) in [(true, "degraded"), (false, "offline"), (true, "degraded")] {
            if up {
                sshd.restart().await.expect("it is back");
            } else {
                sshd.stop().expect("it is down");
            }
            let checked = health_check(&world, &key, "n1").await.json();
            let data = &checked["data"];
            assert_eq!(
                (
                    &data["previousStatus"],
                    &data["status"],
                    &data["checks"]["ssh"]["ok"]
                ),
                (&json!(before), &json!(status), &json!(up)),
                "{checked}"
            );
            before = status;
        }
    });
}

#[test]
fn f25_a_silent_host_is_offline_within_its_time_limit() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        let silent = SilentPort::start().expect("a silent host");
        sqlx::query("UPDATE docker_nodes SET ssh_port = $1, status = 'healthy'")
            .bind(i32::from(silent.port()))
            .execute(&world.pool)
            .await
            .expect("a host");
        let began = Instant::now();
        let checked = health_check(&world, &key, "n1").await;
        assert!(
            began.elapsed() < Duration::from_secs(13),
            "{:?}",
            began.elapsed()
        );
        let data = &checked.json()["data"];
        let why = "The host did not answer in time";
        assert_eq!(
            (&data["previousStatus"], &data["status"], &data["checks"]),
            (
                &json!("healthy"),
                &json!("offline"),
                &json!({"ssh": {"ok": false, "error": why}, "docker": {"ok": false, "error": why}})
            )
        );
        assert_eq!(host_rows(&world).await[0]["status"], json!("offline"));
    });
}

#[test]
fn a_host_that_refuses_connections_is_offline_and_an_unregistered_host_is_404() {
    run(async {
        let world = World::new().await;
        let key = world.super_admin().await;
        register_closed_host(&world).await;
        let checked = health_check(&world, &key, "n1").await.json();
        assert_eq!(
            (
                &checked["data"]["status"],
                &checked["data"]["checks"]["ssh"]["error"]
            ),
            (&json!("offline"), &json!("The host cannot be reached"))
        );
        for name in ["none", "%00", "sync"] {
            let missing = health_check(&world, &key, name).await;
            assert_eq!(
                status_and_error(&missing),
                (404, "Node not found".to_owned()),
                "{name}"
            );
        }
    });
}
