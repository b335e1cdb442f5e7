//! Logs and a closer look.

use serde_json::json;
use tests::run;
use uuid::Uuid;

use super::super::bad::Canary;
use super::{act, ask, call, container, lab, last_entry, name, refused, seen, wanted};

#[test]
fn the_log_of_an_agent_is_read_in_every_state_in_which_it_has_a_container() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let agent = lab.running(json!({"agentName": "talker"})).await;
        let path = format!("/api/v1/admin/docker-containers/{agent}/logs");
        let theirs = format!("/api/v1/milady/agents/{agent}/logs");
        let theirs = lab.world.get(&lab.key, &theirs).await.json()["data"]["logs"].clone();
        for status in ["running", "disconnected", "error"] {
            lab.world.set_status(agent, status).await;
            let answer = lab.world.get(&lab.key, &path).await;
            assert_eq!(answer.status(), 200, "{status} {answer:?}");
            let data = answer.json()["data"].clone();
            assert!(!data["logs"].as_str().expect("lines").is_empty());
            assert_eq!(data["logs"], theirs);
            let expected = json!({
                "containerId": agent, "containerName": name(agent), "nodeId": "n1",
                "agentName": "talker", "lines": 200, "since": null, "logs": theirs,
                "fetchedAt": data["fetchedAt"],
            });
            assert_eq!(data, expected);
        }
        let one = lab
            .world
            .get(&lab.key, &format!("{path}?lines=1&since=7d"))
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
        let none = lab.world.get(&lab.key, &none).await;
        assert_eq!(none.json()["data"]["logs"], json!(""), "{none:?}");

        // As an action it is the same.
        let acted = act(&lab, "logs", agent).await;
        assert_eq!(acted.status(), 200, "{acted:?}");
        let data = acted.json()["data"].clone();
        assert_eq!((&data["logs"], &data["lines"]), (&theirs, &json!(200)));
        assert_eq!(
            last_entry(&lab.world).await,
            json!(["container.logs", "ok", null])
        );
        let one = ask(
            json!({"action": "logs", "nodeId": "n1", "containerName": name(agent),
            "lines": 1, "since": "2100-01-01T00:00:00Z"}),
        );
        assert_eq!(call(&lab, one).await.json()["data"]["logs"], json!(""));

        // Somebody else's container with the agent's name is not the agent's.
        let engine = &lab.hosts[0].engine;
        engine.remove(&name(agent)).await.expect("removed");
        refused(
            &lab.world.get(&lab.key, &path).await,
            409,
            "Agent has no container",
        );
        container(engine, &name(agent), Some(Uuid::new_v4())).await;
        refused(
            &lab.world.get(&lab.key, &path).await,
            409,
            "Agent has no container",
        );
    });
}

#[test]
fn a_closer_look_shows_no_environment_no_mount_and_no_foreign_container() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let agent = lab
            .running(json!({"environmentVars": {"MINE": "canary-77aa"}}))
            .await;
        let docker = seen(engine, &name(agent)).await;
        let answer = act(&lab, "inspect", agent).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let data = answer.json()["data"].clone();
        let created = data["container"]["createdAt"].as_str().expect("a date");
        assert_eq!(
            created[..19],
            docker["Created"].as_str().expect("a date")[..19]
        );
        let expected = json!({
            "action": "inspect", "nodeId": "n1", "containerName": name(agent),
            "containerId": docker["Id"], "performedAt": data["performedAt"],
            "container": {
                "id": docker["Id"], "name": name(agent), "image": "milady/agent:sample",
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
            assert!(!answer.text().contains(secret), "{secret} in {answer:?}");
        }
        Canary::of(&lab).is_silent_in(answer.text());

        // Without limits, and with our label on an odd name.
        let ghost = container(engine, "odd.name_1-x", Some(Uuid::new_v4())).await;
        let answer = call(&lab, wanted("inspect", "n1", "odd.name_1-x")).await;
        let data = answer.json()["data"]["container"].clone();
        assert_eq!(data["id"], json!(ghost), "{answer:?}");
        let none = json!({"memoryBytes": null, "nanoCpus": null, "pids": null});
        assert_eq!(data["limits"], none);

        // What is not ours is not there, nor is what only looks like it.
        let upper = name(agent).to_uppercase();
        let longer = format!("{}-2", name(agent));
        for foreign in ["postgres", "milady-", "milady-x", longer.as_str()] {
            container(engine, foreign, None).await;
        }
        for missing in [
            "postgres",
            "milady-",
            "milady-x",
            longer.as_str(),
            upper.as_str(),
            "nothing",
            &name(Uuid::new_v4()),
            &ghost,
        ] {
            for action in ["inspect", "logs", "start", "stop", "restart", "pull-image"] {
                let answer = call(&lab, wanted(action, "n1", missing)).await;
                refused(&answer, 404, "Container not found");
            }
            assert_eq!(
                last_entry(&lab.world).await,
                json!(["container.pull-image", "refused", "Container not found"])
            );
        }
        refused(
            &call(&lab, wanted("inspect", "n2", &name(agent))).await,
            404,
            "Node not found",
        );
        let mut body = json!({"action": "inspect", "nodeId": "n1", "containerName": name(agent)});
        body["containerId"] = json!(ghost);
        refused(
            &call(&lab, ask(body)).await,
            409,
            "The container of this name is another one by now",
        );
    });
}
