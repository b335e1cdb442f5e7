//! Agents that an older deployment started: containers without labels, data in a directory of the host,
//! databases at Neon, and lost hosts and volumes.

use chrono::TimeDelta;
use dev::host::image;
use serde_json::{Value, json};
use tests::neon::{self, NeonApi};
use tests::{Lab, run};
use uuid::Uuid;

/// Creates a container as the older deployment did, and its row.
async fn adopt(lab: &Lab, directory: &std::path::Path) -> Uuid {
    let agent = lab.agent(json!({})).await;
    let body = json!({
        "Image": image::SAMPLE,
        "Env": ["AGENT_NAME=old", "MILADY_PORT=2138", "BRIDGE_PORT=31337"],
        "ExposedPorts": {"2138/tcp": {}, "31337/tcp": {}},
        "HostConfig": {
            "Binds": [format!("{}:/app/data", directory.display())],
            "NetworkMode": "milady-agents",
            "PortBindings": {
                "31337/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18999"}],
                "2138/tcp": [{"HostIp": "127.0.0.1", "HostPort": "20999"}],
            },
        },
    });
    let name = format!("milady-{agent}");
    lab.hosts[0]
        .engine
        .run(&name, &body)
        .await
        .expect("a container");
    sqlx::query(
        "UPDATE milady_sandboxes SET status = 'running', node_id = 'n1', container_name = $2,
            bridge_port = 18999, web_ui_port = 20999
        WHERE id = $1",
    )
    .bind(agent)
    .bind(name)
    .execute(&lab.world.pool)
    .await
    .expect("a row");
    lab.world
        .execute("UPDATE docker_nodes SET allocated_count = allocated_count + 1")
        .await;
    agent
}

async fn mount_of(lab: &Lab, agent: Uuid) -> Value {
    let path = format!("/containers/milady-{agent}/json");
    let inspected = lab.hosts[0].engine.call("GET", &path, None).await;
    inspected.expect("a container")["Mounts"][0].clone()
}

#[test]
fn a_mounted_directory_of_an_older_deployment_is_kept_and_survives_deletion() {
    run(async {
        let Some(lab) = Lab::new(1).await else { return };
        // The first agent creates the network.
        let first = lab.running_agent(json!({})).await;
        assert_eq!(lab.delete(first).await, "completed");
        // The engine and the test see the same files below the engine's own directory.
        let socket = lab.hosts[0].engine.socket().to_owned();
        let directory = socket.parent().expect("a directory").join("old-data");
        std::fs::create_dir_all(&directory).expect("a directory");
        let agent = adopt(&lab, &directory).await;
        for _ in 0..100 {
            let result = lab.bridge(agent, "status.get", json!({})).await.json();
            if result["result"].is_object() {
                break;
            }
            tokio::task::yield_now().await;
        }
        lab.bridge_result(agent, "message.send", json!({"text": "old"}))
            .await;

        let (_, outcome) = lab.request_and_run(agent, "/suspend").await;
        assert_eq!(outcome, "completed");
        lab.assert_nothing_runs(agent, "suspended").await;
        lab.advance_clock(TimeDelta::minutes(1)).await;
        lab.start(agent).await;
        let mount = mount_of(&lab, agent).await;
        assert_eq!(
            (&mount["Type"], &mount["Source"]),
            (&json!("bind"), &json!(directory))
        );
        let status = lab.bridge_result(agent, "status.get", json!({})).await;
        assert_eq!(status["memories"], json!(2));

        lab.advance_clock(TimeDelta::minutes(1)).await;
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;
        let result = lab.last_job(agent).await["result"]["left"].clone();
        assert_eq!(
            result,
            json!("The host directory that was mounted as the agent's volume was not removed")
        );
        assert!(std::fs::read_dir(&directory).expect("it is there").count() > 0);
    });
}

#[test]
fn a_neon_project_lives_as_long_as_its_agent() {
    run(async {
        let Some(mut lab) = Lab::new(1).await else {
            return;
        };
        let api = NeonApi::start().await;
        for (setting, value) in [
            ("NEON_API_KEY", neon::KEY),
            ("NEON_BASE_URL", api.url().as_str()),
        ] {
            lab.world
                .settings
                .insert(setting.to_owned(), value.to_owned());
        }
        let agent = lab.running_agent(json!({})).await;
        assert_eq!(api.project_names(), [format!("milady-{agent}")]);
        let request = json!({"name": "DATABASE_URL"});
        let uri = lab.bridge_result(agent, "env.get", request).await["value"].clone();
        assert!(
            uri.as_str().is_some_and(|uri| uri.starts_with("postgres")),
            "{uri}"
        );
        // A suspended agent keeps its project.
        let (_, outcome) = lab.request_and_run(agent, "/suspend").await;
        assert_eq!(outcome, "completed");
        lab.advance_clock(TimeDelta::minutes(1)).await;
        lab.start(agent).await;
        assert_eq!(api.project_names().len(), 1);
        lab.advance_clock(TimeDelta::minutes(1)).await;
        assert_eq!(lab.delete(agent).await, "completed");
        assert_eq!(api.project_names(), Vec::<String>::new());
        lab.assert_gone(agent, "deleted").await;
    });
}

#[test]
fn agents_of_a_removed_host_start_elsewhere_from_their_backups() {
    run(async {
        let Some(lab) = Lab::new(2).await else { return };
        let agent = lab.running_agent(json!({})).await;
        let snapshot = tests::calls::agent_path(agent, "/snapshot");
        lab.bridge_result(agent, "message.send", json!({"text": "kept"}))
            .await;
        let saved = lab.world.post(&lab.api_key, &snapshot).await;
        assert_eq!(saved.status(), 200, "{saved:?}");
        // The host's containers cannot be inspected any more.
        lab.world
            .execute("DELETE FROM docker_nodes WHERE node_id = 'n1'")
            .await;
        lab.advance_clock(TimeDelta::minutes(1)).await;
        let (_, outcome) = lab.request_and_run(agent, "/suspend").await;
        assert_eq!(outcome, "completed");
        lab.advance_clock(TimeDelta::minutes(1)).await;
        lab.start(agent).await;
        assert_eq!(lab.placement(agent).await["node"], json!("n2"));
        let status = lab.bridge_result(agent, "status.get", json!({})).await;
        assert_eq!(status["memories"], json!(2));
    });
}

#[test]
fn a_lost_volume_is_restored_from_the_newest_backup() {
    run(async {
        let Some(lab) = Lab::live(1).await else {
            return;
        };
        let agent = lab.running_agent_live(json!({})).await;
        lab.bridge_result(agent, "message.send", json!({"text": "kept"}))
            .await;
        let snapshot = tests::calls::agent_path(agent, "/snapshot");
        let saved = lab.world.post(&lab.api_key, &snapshot).await;
        assert_eq!(saved.status(), 200, "{saved:?}");
        // As if the host had been set up anew under the same name.
        let name = format!("milady-{agent}");
        let engine = &lab.hosts[0].engine;
        engine.remove(&name).await.expect("no container");
        let volume = format!("/volumes/{name}");
        engine
            .call("DELETE", &volume, None)
            .await
            .expect("no volume");
        lab.advance_clock(TimeDelta::minutes(1)).await;
        let suspend = tests::calls::agent_path(agent, "/suspend");
        let suspended = lab.world.post(&lab.api_key, &suspend).await;
        assert_eq!(suspended.status(), 200, "{suspended:?}");
        lab.advance_clock(TimeDelta::minutes(1)).await;
        let resume = tests::calls::agent_path(agent, "/resume?sync=true");
        let resumed = lab.world.post(&lab.api_key, &resume).await;
        assert_eq!(resumed.status(), 200, "{resumed:?}");
        let status = lab.bridge_result(agent, "status.get", json!({})).await;
        assert_eq!(status["memories"], json!(2));
    });
}
