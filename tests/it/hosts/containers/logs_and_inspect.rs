//! Reading a container's logs and inspecting it.

use serde_json::json;
use tests::run;
use uuid::Uuid;

use super::super::failures::HostSecrets;
use super::{
    act_on_agent, action_request, assert_refused, call, container_name, docker_inspect, lab,
    last_audit_entry, post_action, run_container,
};

#[test]
fn logs_are_readable_in_every_status_with_a_container() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let agent = lab.running_agent(json!({"agentName": "talker"})).await;
        let path = format!("/api/v1/admin/docker-containers/{agent}/logs");
        let theirs = format!("/api/v1/milady/agents/{agent}/logs");
        let theirs = lab.world.get(&lab.api_key, &theirs).await.json()["data"]["logs"].clone();
        for status in ["running", "disconnected", "error"] {
            lab.world.set_status(agent, status).await;
            let response = lab.world.get(&lab.api_key, &path).await;
            assert_eq!(response.status(), 200, "{status} {response:?}");
            let data = response.json()["data"].clone();
            assert!(!data["logs"].as_str().expect("lines").is_empty());
            assert_eq!(data["logs"], theirs);
            let expected = json!({
                "containerId": agent, "containerName": container_name(agent), "nodeId": "n1",
                "agentName": "talker", "lines": 200, "since": null, "logs": theirs,
                "fetchedAt": data["fetchedAt"],
            });
            assert_eq!(data, expected);
        }
        let one = lab
            .world
            .get(&lab.api_key, &format!("{path}?lines=1&since=7d"))
            .await;
        let data = one.json()["data"].clone();
        assert_eq!((&data["lines"], &data["since"]), (&json!(1), &json!("7d")));
        let lines = data["logs"]
            .as_str()
            .expect("a line")
            .trim()
            .lines()
            .count();
        assert!(lines <= 1, "{data}");
        let none = format!("{path}?since=2100-01-01T00:00:00Z");
        let none = lab.world.get(&lab.api_key, &none).await;
        assert_eq!(none.json()["data"]["logs"], json!(""), "{none:?}");

        // The action returns the same logs.
        let acted = act_on_agent(&lab, "logs", agent).await;
        assert_eq!(acted.status(), 200, "{acted:?}");
        let data = acted.json()["data"].clone();
        assert_eq!((&data["logs"], &data["lines"]), (&theirs, &json!(200)));
        assert_eq!(
            last_audit_entry(&lab.world).await,
            json!(["container.logs", "ok", null])
        );
        let one = post_action(
            &json!({"action": "logs", "nodeId": "n1", "containerName": container_name(agent),
            "lines": 1, "since": "2100-01-01T00:00:00Z"}),
        );
        assert_eq!(call(&lab, one).await.json()["data"]["logs"], json!(""));

        // A container of the agent's name with another agent's label is not the agent's.
        let engine = &lab.hosts[0].engine;
        engine
            .remove(&container_name(agent))
            .await
            .expect("removed");
        assert_refused(
            &lab.world.get(&lab.api_key, &path).await,
            409,
            "Agent has no container",
        );
        run_container(engine, &container_name(agent), Some(Uuid::new_v4())).await;
        assert_refused(
            &lab.world.get(&lab.api_key, &path).await,
            409,
            "Agent has no container",
        );
    });
}

#[test]
fn inspecting_shows_no_environment_no_mounts_and_no_foreign_containers() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let agent = lab
            .running_agent(json!({"environmentVars": {"MINE": "canary-77aa"}}))
            .await;
        let docker = docker_inspect(engine, &container_name(agent)).await;
        let response = act_on_agent(&lab, "inspect", agent).await;
        assert_eq!(response.status(), 200, "{response:?}");
        let data = response.json()["data"].clone();
        let created = data["container"]["createdAt"].as_str().expect("a date");
        assert_eq!(
            created[..19],
            docker["Created"].as_str().expect("a date")[..19]
        );
        let expected = json!({
            "action": "inspect", "nodeId": "n1", "containerName": container_name(agent),
            "containerId": docker["Id"], "performedAt": data["performedAt"],
            "container": {
                "id": docker["Id"], "name": container_name(agent), "image": "milady/agent:sample",
                "state": "running", "status": data["container"]["status"], "health": null,
                "createdAt": created, "restartCount": 0,
                "limits": {"memoryBytes": 2_147_483_648_u64, "nanoCpus": 2_000_000_000,
                    "pids": 512},
            },
        });
        assert_eq!(data, expected);
        let status = data["container"]["status"].as_str().expect("words");
        assert!(status.starts_with("Up "), "{status}");
        for secret in ["canary", "JWT_SECRET", "/var/", "postgres", "Mounts", "Env"] {
            assert!(
                !response.text().contains(secret),
                "{secret} in {response:?}"
            );
        }
        HostSecrets::of(&lab).assert_absent_from(response.text());

        // A container without limits, with our label and an unusual name.
        let unclaimed = run_container(engine, "odd.name_1-x", Some(Uuid::new_v4())).await;
        let response = call(&lab, action_request("inspect", "n1", "odd.name_1-x")).await;
        let data = response.json()["data"]["container"].clone();
        assert_eq!(data["id"], json!(unclaimed), "{response:?}");
        let none = json!({"memoryBytes": null, "nanoCpus": null, "pids": null});
        assert_eq!(data["limits"], none);

        // Containers without our label or exact name do not exist for operators.
        let upper = container_name(agent).to_uppercase();
        let longer = format!("{}-2", container_name(agent));
        for foreign in ["postgres", "milady-", "milady-x", longer.as_str()] {
            run_container(engine, foreign, None).await;
        }
        for missing in [
            "postgres",
            "milady-",
            "milady-x",
            longer.as_str(),
            upper.as_str(),
            "nothing",
            &container_name(Uuid::new_v4()),
            &unclaimed,
        ] {
            for action in ["inspect", "logs", "start", "stop", "restart", "pull-image"] {
                let response = call(&lab, action_request(action, "n1", missing)).await;
                assert_refused(&response, 404, "Container not found");
            }
            assert_eq!(
                last_audit_entry(&lab.world).await,
                json!(["container.pull-image", "refused", "Container not found"])
            );
        }
        assert_refused(
            &call(
                &lab,
                action_request("inspect", "n2", &container_name(agent)),
            )
            .await,
            404,
            "Node not found",
        );
        let mut body =
            json!({"action": "inspect", "nodeId": "n1", "containerName": container_name(agent)});
        body["containerId"] = json!(unclaimed);
        assert_refused(
            &call(&lab, post_action(&body)).await,
            409,
            "Another container has this name now",
        );
    });
}
