//! An agent's whole life, through its owner's routes.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::Request;
use tests::{Lab, run};

use super::owner_text::is_constant;

#[test]
fn an_agent_runs_moves_to_another_host_and_is_deleted_without_remains() {
    run(async {
        let Some(lab) = Lab::live(2).await else {
            return;
        };
        let (world, key) = (&lab.world, &lab.api_key);
        let agent = lab.agent(json!({"environmentVars": {"MINE": "yes"}})).await;
        let began = Instant::now();
        let started = world
            .post(key, &agent_path(agent, "/provision?sync=true"))
            .await;
        let elapsed = began.elapsed();
        assert_eq!(
            started.status(),
            200,
            "{started:?} {}",
            lab.last_job(agent).await
        );
        println!("provisioned in {elapsed:?}");
        assert_eq!(started.json()["data"]["status"], json!("running"));
        assert_eq!(lab.containers(agent).await, [1, 0]);
        assert_eq!(lab.slots().await, [1, 0]);
        let steps = lab.last_job(agent).await["steps"].clone();
        let names: Vec<&str> = steps
            .as_array()
            .expect("steps")
            .iter()
            .map(|step| step["name"].as_str().expect("a name"))
            .collect();
        assert_eq!(
            names,
            [
                "credit", "database", "place", "pull", "create", "start", "health", "running"
            ]
        );
        assert!(lab.has_database(agent).await);

        // The agent answers, stores messages and writes files.
        let result = lab
            .bridge_result(agent, "message.send", json!({"text": "hello"}))
            .await;
        assert_eq!(result["text"], json!("You said: hello"));
        assert_eq!(
            lab.bridge_result(agent, "env.get", json!({"name": "MINE"}))
                .await["value"],
            json!("yes")
        );
        lab.bridge_result(agent, "file.write", json!({"path": "a.txt", "text": "one"}))
            .await;
        let logs = world.get(key, &agent_path(agent, "/logs?tail=50")).await;
        assert_eq!(logs.status(), 200, "{logs:?}");
        let compat = format!("/api/compat/agents/{agent}/logs?tail=50");
        let text = world.get(key, &compat).await.json();
        let expected = json!({"success": true, "data": logs.json()["data"]["logs"]});
        assert_eq!(text, expected);
        let snapshot = world.post(key, &agent_path(agent, "/snapshot")).await;
        assert_eq!(snapshot.status(), 200, "{snapshot:?}");
        lab.bridge_result(agent, "file.write", json!({"path": "b.txt", "text": "two"}))
            .await;

        lab.advance_clock(TimeDelta::minutes(1)).await;
        // After a suspension the container is removed, the state saved and the slot free.
        let suspended = world.post(key, &agent_path(agent, "/suspend")).await;
        assert_eq!(suspended.status(), 200, "{suspended:?}");
        let message = &suspended.json()["data"]["message"];
        assert_eq!(message, &json!("Agent suspended with snapshot"));
        lab.assert_nothing_runs(agent, "suspended").await;
        assert_eq!(lab.volumes(agent).await, [1, 0]);
        let backups = world.get(key, &agent_path(agent, "/backups")).await.json();
        let kinds: Vec<&Value> = backups["data"]
            .as_array()
            .expect("backups")
            .iter()
            .map(|backup| &backup["snapshotType"])
            .collect();
        assert_eq!(kinds, [&json!("pre-shutdown"), &json!("manual")]);

        // Resumed on the same host, it has its state in its volume.
        let resumed = world
            .post(key, &agent_path(agent, "/resume?sync=true"))
            .await;
        assert_eq!(resumed.status(), 200, "{resumed:?}");
        let resumed = resumed.json()["data"].clone();
        assert_eq!(resumed["message"], json!("Agent resumed"));
        let address = json!(format!("https://{agent}.agents.example"));
        assert_eq!(
            [&resumed["bridgeUrl"], &resumed["healthUrl"]],
            [&address; 2]
        );
        assert_eq!(lab.containers(agent).await, [1, 0]);
        assert_eq!(
            lab.bridge_result(agent, "status.get", json!({})).await["memories"],
            json!(2)
        );
        assert_eq!(files(&lab, agent).await, 3);
        lab.advance_clock(TimeDelta::minutes(1)).await;
        world.post(key, &agent_path(agent, "/suspend")).await;
        lab.assert_nothing_runs(agent, "suspended again").await;

        // Resumed on another host, it gets its state from the backup.
        world
            .execute("UPDATE docker_nodes SET enabled = false WHERE node_id = 'n1'")
            .await;
        let moved = world
            .post(key, &agent_path(agent, "/resume?sync=true"))
            .await;
        assert_eq!(
            moved.status(),
            200,
            "{moved:?} {}",
            lab.last_job(agent).await
        );
        assert_eq!(lab.containers(agent).await, [0, 1]);
        assert_eq!(
            lab.bridge_result(agent, "status.get", json!({})).await["memories"],
            json!(2)
        );
        assert_eq!(files(&lab, agent).await, 4);

        // A running agent is restored to an earlier state.
        let earlier = snapshot.json()["data"]["id"].clone();
        let body = json!({"backupId": earlier});
        let restored = world
            .post_json(key, &agent_path(agent, "/restore"), &body)
            .await;
        assert_eq!(restored.status(), 200, "{restored:?}");
        assert_eq!(files(&lab, agent).await, 2);

        let request = Request::new("DELETE", &agent_path(agent, "")).key(key);
        let deleted = world.call(request).await;
        assert_eq!(deleted.status(), 200, "{deleted:?}");
        lab.assert_gone(agent, "deleted").await;
        for host in &lab.hosts {
            let commands = host.sshd.commands().expect("commands");
            assert!(commands.iter().all(|command| is_constant(command)));
        }
        assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
    });
}

/// The number of files in the agent's workspace, including the one that this call writes.
async fn files(lab: &Lab, agent: uuid::Uuid) -> u64 {
    let written = json!({"path": format!("{}.txt", uuid::Uuid::new_v4()), "text": ""});
    let result = lab.bridge_result(agent, "file.write", written).await;
    result["files"].as_u64().expect("a number")
}
