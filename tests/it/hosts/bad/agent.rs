//! Agents that answer badly.

use serde_json::json;
use tests::calls::agent_path;
use tests::{Lab, run};
use uuid::Uuid;

async fn started(lab: &Lab, fault: &str) -> Uuid {
    let agent = lab
        .agent(json!({"environmentVars": {"SAMPLE_FAULT": fault}}))
        .await;
    let path = agent_path(agent, "/provision?sync=true");
    let started = lab.world.post(&lab.key, &path).await;
    assert_eq!(started.status(), 200, "{started:?}");
    agent
}

#[test]
fn an_agent_that_answers_garbage_is_not_believed() {
    run(async {
        let Some(lab) = Lab::live(1).await else {
            return;
        };
        let agent = started(&lab, "garbage").await;
        let snapshot = lab
            .world
            .post(&lab.key, &agent_path(agent, "/snapshot"))
            .await;
        assert_eq!(snapshot.status(), 502, "{snapshot:?}");
        let said = "The agent answered with something that is no state";
        assert_eq!(snapshot.json()["error"], json!(said));
        let answer = lab.bridge(agent, "status.get", json!({})).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let error = json!({"code": -32000, "message": "Bridge returned an invalid answer"});
        assert_eq!(
            answer.json(),
            json!({"jsonrpc": "2.0", "id": 1, "error": error})
        );
        let backups = lab
            .world
            .get(&lab.key, &agent_path(agent, "/backups"))
            .await;
        assert_eq!(backups.json()["data"], json!([]));
    });
}

#[test]
fn f16_a_state_that_cannot_be_saved_stays_on_its_host_and_the_agent_with_it() {
    run(async {
        let Some(lab) = Lab::live(2).await else {
            return;
        };
        let (world, key) = (&lab.world, &lab.key);
        let agent = started(&lab, "big:60").await;
        lab.ask(agent, "message.send", json!({"text": "keep this"}))
            .await;
        let snapshot = world.post(key, &agent_path(agent, "/snapshot")).await;
        assert_eq!(snapshot.status(), 502, "{snapshot:?}");
        let said = "The agent's state is larger than 50 MB";
        assert_eq!(snapshot.json()["error"], json!(said));

        let suspended = world.post(key, &agent_path(agent, "/suspend")).await;
        assert_eq!(suspended.status(), 200, "{suspended:?}");
        let said = "Agent suspended; its state could not be read and is kept on its host";
        assert_eq!(suspended.json()["data"]["message"], json!(said));
        lab.assert_nothing_runs(agent, "suspended").await;
        assert_eq!(lab.volumes(agent).await, [1, 0]);
        let backups = world.get(key, &agent_path(agent, "/backups")).await;
        assert_eq!(backups.json()["data"], json!([]));

        // Nowhere else it would have its state.
        lab.later(super::BACK_OFF).await;
        let resume = agent_path(agent, "/resume?sync=true");
        world
            .execute("UPDATE docker_nodes SET enabled = false WHERE node_id = 'n1'")
            .await;
        let refused = world.post(key, &resume).await;
        assert_eq!(refused.status(), 202, "{refused:?}");
        let job = lab.last_job(agent).await;
        assert_eq!(
            job["error"],
            json!("The host that holds the agent's state has no free slot"),
            "{job}"
        );
        lab.assert_nothing_runs(agent, "its host is disabled").await;
        assert_eq!(lab.volumes(agent).await, [1, 0]);

        world
            .execute("UPDATE docker_nodes SET enabled = true")
            .await;
        lab.later(super::BACK_OFF).await;
        let id = serde_json::from_value(job["id"].clone()).expect("an id");
        assert_eq!(lab.run(id).await, "completed");
        assert_eq!(lab.containers(agent).await, [1, 0]);
        let status = lab.ask(agent, "status.get", json!({})).await;
        assert_eq!(status["memories"], json!(2));
    });
}
