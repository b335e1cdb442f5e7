//! Removing an unclaimed container (F26): never by its name, never a live successor.

use serde_json::json;
use tests::calls::agent_path;
use tests::run;
use uuid::Uuid;

use super::{
    LOCK_AGENTS, TableLock, assert_refused, backdate, call, container_id, container_name, exists,
    is_running, lab, last_audit_entry, remove_ghost_request, run_container,
};

const CLAIMED: &str = "An agent's row claims this container";
const ANOTHER: &str = "Another container has this name now";
const YOUNG: &str = "The container is not older than 15 minutes";

#[test]
fn f26_an_agents_unclaimed_container_is_removed_and_its_live_one_is_not() {
    run(async {
        let Some(lab) = lab(2).await else {
            return;
        };
        let agent = lab.running_agent(json!({})).await;
        let (home, away) = match lab.placement(agent).await["node"].as_str() {
            Some("n1") => (0, 1),
            _ => (1, 0),
        };
        let node = |n: usize| format!("n{}", n + 1);
        let name = container_name(agent);
        let (home_engine, away_engine) = (&lab.hosts[home].engine, &lab.hosts[away].engine);
        let live = super::docker_inspect(home_engine, &name).await["Id"].clone();
        let live = live.as_str().expect("a container").to_owned();
        let unclaimed = run_container(away_engine, &name, Some(agent)).await;
        backdate(home_engine, &[&live], 60).await;
        backdate(away_engine, &[&unclaimed], 60).await;

        // The audit reports which one is unclaimed.
        let audit = lab.world.post(&lab.api_key, super::AUDIT).await.json();
        let unclaimed_containers = &audit["data"]["nodes"][away]["ghosts"];
        assert_eq!(
            unclaimed_containers[0]["containerId"],
            json!(unclaimed),
            "{audit}"
        );
        assert_eq!(unclaimed_containers[0]["elsewhere"], json!(node(home)));
        assert_eq!(audit["data"]["totalGhostContainers"], json!(1));

        // The live container is not removed, whichever id is given.
        assert_refused(
            &call(&lab, remove_ghost_request(&node(home), &name, &live)).await,
            409,
            CLAIMED,
        );
        for id in [&unclaimed, &"0".repeat(64)] {
            assert_refused(
                &call(&lab, remove_ghost_request(&node(home), &name, id)).await,
                409,
                ANOTHER,
            );
        }
        assert_refused(
            &call(&lab, remove_ghost_request(&node(away), &name, &live)).await,
            409,
            ANOTHER,
        );
        assert!(is_running(home_engine, &live).await && is_running(away_engine, &unclaimed).await);

        let removed = call(&lab, remove_ghost_request(&node(away), &name, &unclaimed)).await;
        assert_eq!(removed.status(), 200, "{removed:?}");
        let data = removed.json()["data"].clone();
        let expected = json!({"action": "remove-ghost", "nodeId": node(away),
            "containerName": name, "containerId": unclaimed, "performedAt": data["performedAt"]});
        assert_eq!(data, expected);
        assert!(!exists(away_engine, &unclaimed).await && is_running(home_engine, &live).await);
        assert_eq!(
            last_audit_entry(&lab.world).await,
            json!(["container.remove-ghost", "ok", null])
        );
        assert_refused(
            &call(&lab, remove_ghost_request(&node(away), &name, &unclaimed)).await,
            404,
            "Container not found",
        );

        // The old id does not remove a new container of the same name.
        let successor = run_container(away_engine, &name, Some(agent)).await;
        backdate(away_engine, &[&successor], 60).await;
        assert_refused(
            &call(&lab, remove_ghost_request(&node(away), &name, &unclaimed)).await,
            409,
            ANOTHER,
        );
        assert!(is_running(away_engine, &successor).await);
        assert_eq!(
            lab.bridge_result(agent, "status.get", json!({})).await["memories"],
            json!(0)
        );
    });
}

#[test]
fn f26_young_claimed_busy_and_unlabelled_containers_are_not_removed() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let unclaimed = container_name(Uuid::new_v4());
        let id = run_container(engine, &unclaimed, None).await;
        assert_refused(
            &call(&lab, remove_ghost_request("n1", &unclaimed, &id)).await,
            409,
            YOUNG,
        );
        // The age goes by the host's clock, not by the database's.
        lab.advance_clock(chrono::TimeDelta::days(365)).await;
        assert_refused(
            &call(&lab, remove_ghost_request("n1", &unclaimed, &id)).await,
            409,
            YOUNG,
        );

        let running = lab.running_agent(json!({})).await;
        let foreign = run_container(engine, "postgres", None).await;
        let waiting = lab.agent(json!({})).await;
        let waiting_id = run_container(engine, &container_name(waiting), Some(waiting)).await;
        let odd = run_container(engine, "odd", Some(Uuid::new_v4())).await;
        let live = container_id(&lab, running).await;
        backdate(engine, &[&id, &foreign, &waiting_id, &odd, &live], 14).await;
        assert_refused(
            &call(&lab, remove_ghost_request("n1", &unclaimed, &id)).await,
            409,
            YOUNG,
        );
        backdate(engine, &[&id, &foreign, &waiting_id, &odd, &live], 2).await;

        // A claimed container stays, whatever its agent's status.
        for status in [
            "running",
            "stopped",
            "error",
            "disconnected",
            "provisioning",
        ] {
            lab.world.set_status(running, status).await;
            let response = call(
                &lab,
                remove_ghost_request("n1", &container_name(running), &live),
            )
            .await;
            assert_refused(&response, 409, CLAIMED);
        }
        lab.world.set_status(running, "running").await;
        assert_refused(
            &call(&lab, remove_ghost_request("n1", "postgres", &foreign)).await,
            404,
            "Container not found",
        );
        // A start of its agent is queued and has not chosen a host yet.
        let path = agent_path(waiting, "/provision");
        assert_eq!(lab.world.post(&lab.api_key, &path).await.status(), 202);
        assert_refused(
            &call(
                &lab,
                remove_ghost_request("n1", &container_name(waiting), &waiting_id),
            )
            .await,
            409,
            "A job is under way for this container's agent",
        );
        for id in [&id, &foreign, &waiting_id, &odd, &live] {
            assert!(is_running(engine, id).await);
        }

        for (name, id) in [(unclaimed.as_str(), &id), ("odd", &odd)] {
            let removed = call(&lab, remove_ghost_request("n1", name, id)).await;
            assert_eq!(removed.status(), 200, "{removed:?}");
            assert!(!exists(engine, id).await);
        }
        for id in [&foreign, &waiting_id, &live] {
            assert!(is_running(engine, id).await);
        }
    });
}

#[test]
fn f26_a_container_claimed_during_the_request_is_not_removed() {
    run(async {
        let Some(lab) = lab(1).await else {
            return;
        };
        let engine = &lab.hosts[0].engine;
        let agent = lab.agent(json!({})).await;
        let id = run_container(engine, &container_name(agent), Some(agent)).await;
        backdate(engine, &[&id], 60).await;
        let lock = TableLock::acquire(&lab.world, LOCK_AGENTS).await;
        let claim = async {
            // The container has been inspected, and the rows are about to be read.
            lab.world.wait_until_a_session_is_blocked().await;
            lock.run_and_release(
                "UPDATE milady_sandboxes SET status = 'running', node_id = 'n1',
                    container_name = 'milady-' || id",
            )
            .await;
        };
        let remove_ghost_request = call(
            &lab,
            remove_ghost_request("n1", &container_name(agent), &id),
        );
        let (response, ()) = tokio::join!(remove_ghost_request, claim);
        assert_refused(&response, 409, CLAIMED);
        assert!(is_running(engine, &id).await);
    });
}
