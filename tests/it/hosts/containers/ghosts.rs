//! Removing what is nobody's (F26): never by name, never a live successor.

use serde_json::json;
use tests::calls::agent_path;
use tests::run;
use uuid::Uuid;

use super::{
    AGENTS, Held, call, container, id_of, is_there, lab, last_entry, name, older, refused, removal,
    runs,
};

const CLAIMED: &str = "An agent's row claims this container";
const ANOTHER: &str = "The container of this name is another one by now";
const YOUNG: &str = "The container is not older than 15 minutes";

#[test]
fn f26_the_second_container_of_an_agent_is_removed_and_its_live_one_is_not() {
    run(async {
        let Some(lab) = lab(2).await else {
            return;
        };
        let agent = lab.running(json!({})).await;
        let (home, away) = match lab.place(agent).await["node"].as_str() {
            Some("n1") => (0, 1),
            _ => (1, 0),
        };
        let node = |n: usize| format!("n{}", n + 1);
        let name = name(agent);
        let (home_engine, away_engine) = (&lab.hosts[home].engine, &lab.hosts[away].engine);
        let live = super::seen(home_engine, &name).await["Id"].clone();
        let live = live.as_str().expect("a container").to_owned();
        let ghost = container(away_engine, &name, Some(agent)).await;
        older(home_engine, &[&live], 60).await;
        older(away_engine, &[&ghost], 60).await;

        // The audit tells which is which.
        let audit = lab.world.post(&lab.key, super::AUDIT).await.json();
        let ghosts = &audit["data"]["nodes"][away]["ghosts"];
        assert_eq!(ghosts[0]["containerId"], json!(ghost), "{audit}");
        assert_eq!(ghosts[0]["elsewhere"], json!(node(home)));
        assert_eq!(audit["data"]["totalGhostContainers"], json!(1));

        // The live one: by its own id, by the ghost's, by any.
        refused(
            &call(&lab, removal(&node(home), &name, &live)).await,
            409,
            CLAIMED,
        );
        for id in [&ghost, &"0".repeat(64)] {
            refused(
                &call(&lab, removal(&node(home), &name, id)).await,
                409,
                ANOTHER,
            );
        }
        refused(
            &call(&lab, removal(&node(away), &name, &live)).await,
            409,
            ANOTHER,
        );
        assert!(runs(home_engine, &live).await && runs(away_engine, &ghost).await);

        let removed = call(&lab, removal(&node(away), &name, &ghost)).await;
        assert_eq!(removed.status(), 200, "{removed:?}");
        let data = removed.json()["data"].clone();
        let expected = json!({"action": "remove-ghost", "nodeId": node(away),
            "containerName": name, "containerId": ghost, "performedAt": data["performedAt"]});
        assert_eq!(data, expected);
        assert!(!is_there(away_engine, &ghost).await && runs(home_engine, &live).await);
        assert_eq!(
            last_entry(&lab.world).await,
            json!(["container.remove-ghost", "ok", null])
        );
        refused(
            &call(&lab, removal(&node(away), &name, &ghost)).await,
            404,
            "Container not found",
        );

        // Meanwhile there is another one of that name: the old id removes nothing.
        let successor = container(away_engine, &name, Some(agent)).await;
        older(away_engine, &[&successor], 60).await;
        refused(
            &call(&lab, removal(&node(away), &name, &ghost)).await,
            409,
            ANOTHER,
        );
        assert!(runs(away_engine, &successor).await);
        assert_eq!(
            lab.ask(agent, "status.get", json!({})).await["memories"],
            json!(0)
        );
    });
}

#[test]
fn f26_what_is_young_claimed_worked_on_or_not_ours_is_not_removed() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let ghost = name(Uuid::new_v4());
        let id = container(engine, &ghost, None).await;
        refused(&call(&lab, removal("n1", &ghost, &id)).await, 409, YOUNG);
        // The age is told by the host's clock: the database's may say what it wants.
        lab.later(chrono::TimeDelta::days(365)).await;
        refused(&call(&lab, removal("n1", &ghost, &id)).await, 409, YOUNG);

        let running = lab.running(json!({})).await;
        let foreign = container(engine, "postgres", None).await;
        let waiting = lab.agent(json!({})).await;
        let waiting_id = container(engine, &name(waiting), Some(waiting)).await;
        let odd = container(engine, "odd", Some(Uuid::new_v4())).await;
        let live = id_of(&lab, running).await;
        older(engine, &[&id, &foreign, &waiting_id, &odd, &live], 14).await;
        refused(&call(&lab, removal("n1", &ghost, &id)).await, 409, YOUNG);
        older(engine, &[&id, &foreign, &waiting_id, &odd, &live], 2).await;

        // In whatever state an agent is: what its row claims stays.
        for status in [
            "running",
            "stopped",
            "error",
            "disconnected",
            "provisioning",
        ] {
            lab.world.set_status(running, status).await;
            let answer = call(&lab, removal("n1", &name(running), &live)).await;
            refused(&answer, 409, CLAIMED);
        }
        lab.world.set_status(running, "running").await;
        refused(
            &call(&lab, removal("n1", "postgres", &foreign)).await,
            404,
            "Container not found",
        );
        // A start of its agent is under way, and has not come to naming a host.
        let path = agent_path(waiting, "/provision");
        assert_eq!(lab.world.post(&lab.key, &path).await.status(), 202);
        refused(
            &call(&lab, removal("n1", &name(waiting), &waiting_id)).await,
            409,
            "A job is under way for this container's agent",
        );
        for kept in [&id, &foreign, &waiting_id, &odd, &live] {
            assert!(runs(engine, kept).await);
        }

        for (name, id) in [(ghost.as_str(), &id), ("odd", &odd)] {
            let removed = call(&lab, removal("n1", name, id)).await;
            assert_eq!(removed.status(), 200, "{removed:?}");
            assert!(!is_there(engine, id).await);
        }
        for kept in [&foreign, &waiting_id, &live] {
            assert!(runs(engine, kept).await);
        }
    });
}

#[test]
fn f26_what_is_claimed_between_the_look_and_the_removal_is_not_removed() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let agent = lab.agent(json!({})).await;
        let id = container(engine, &name(agent), Some(agent)).await;
        older(engine, &[&id], 60).await;
        let held = Held::on(&lab.world, AGENTS).await;
        let claim = async {
            // The container was seen, and the rows are about to be read.
            lab.world.until_somebody_waits().await;
            held.and(
                "UPDATE milady_sandboxes SET status = 'running', node_id = 'n1',
                    container_name = 'milady-' || id",
            )
            .await;
        };
        let removal = call(&lab, removal("n1", &name(agent), &id));
        let (answer, ()) = tokio::join!(removal, claim);
        refused(&answer, 409, CLAIMED);
        assert!(runs(engine, &id).await);
    });
}
