//! Agents with invalid or too large responses.

use serde_json::json;
use tests::calls::agent_path;
use tests::{Lab, run};
use uuid::Uuid;

async fn start_with_fault(lab: &Lab, fault: &str) -> Uuid {
    let agent = lab
        .agent(json!({"environmentVars": {"SAMPLE_FAULT": fault}}))
        .await;
    let path = agent_path(agent, "/provision?sync=true");
    let start_with_fault = lab.world.post(&lab.api_key, &path).await;
    assert_eq!(start_with_fault.status(), 200, "{start_with_fault:?}");
    agent
}

#[test]
fn invalid_responses_of_an_agent_are_502() {
    run(async {
        let Some(lab) = Lab::live(1).await else {
            return;
        };
        let agent = start_with_fault(&lab, "garbage").await;
        let snapshot = lab
            .world
            .post(&lab.api_key, &agent_path(agent, "/snapshot"))
            .await;
        assert_eq!(snapshot.status(), 502, "{snapshot:?}");
        let sentence = "The agent did not answer with a valid state";
        assert_eq!(snapshot.json()["error"], json!(sentence));
        let response = lab.bridge(agent, "status.get", json!({})).await;
        assert_eq!(response.status(), 200, "{response:?}");
        let error = json!({"code": -32000, "message": "Bridge returned an invalid answer"});
        assert_eq!(
            response.json(),
            json!({"jsonrpc": "2.0", "id": 1, "error": error})
        );
        let backups = lab
            .world
            .get(&lab.api_key, &agent_path(agent, "/backups"))
            .await;
        assert_eq!(backups.json()["data"], json!([]));
    });
}

#[test]
fn f16_an_agent_whose_state_cannot_be_saved_stays_on_its_host() {
    run(async {
        let Some(lab) = Lab::live(2).await else {
            return;
        };
        let (world, key) = (&lab.world, &lab.api_key);
        let agent = start_with_fault(&lab, "big:60").await;
        lab.bridge_result(agent, "message.send", json!({"text": "keep this"}))
            .await;
        let snapshot = world.post(key, &agent_path(agent, "/snapshot")).await;
        assert_eq!(snapshot.status(), 502, "{snapshot:?}");
        let sentence = "The agent's state is larger than 50 MB";
        assert_eq!(snapshot.json()["error"], json!(sentence));

        let suspended = world.post(key, &agent_path(agent, "/suspend")).await;
        assert_eq!(suspended.status(), 200, "{suspended:?}");
        let sentence = "Agent suspended; its state could not be saved and is kept on its host";
        assert_eq!(suspended.json()["data"]["message"], json!(sentence));
        lab.assert_nothing_runs(agent, "suspended").await;
        assert_eq!(lab.volumes(agent).await, [1, 0]);
        let backups = world.get(key, &agent_path(agent, "/backups")).await;
        assert_eq!(backups.json()["data"], json!([]));

        // It is not started on another host, where its state is not.
        lab.advance_clock(super::RETRY_AFTER).await;
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
        lab.advance_clock(super::RETRY_AFTER).await;
        let id = serde_json::from_value(job["id"].clone()).expect("an id");
        assert_eq!(lab.run(id).await, "completed");
        assert_eq!(lab.containers(agent).await, [1, 0]);
        let status = lab.bridge_result(agent, "status.get", json!({})).await;
        assert_eq!(status["memories"], json!(2));
    });
}
