//! A new version of the default image while hosts are full, disabled or drained.

use serde_json::{Value, json};
use tests::run;
use tests::suite::Request;

use crate::lost_hosts::NODES;
use crate::roll_out::{Fleet, new, old};

const OPEN: &str = "SELECT count(*) FROM cloud.image_restarts WHERE done_at IS NULL";
const MOVES: &str = "SELECT count(*) FROM agent_moves";
const FILL: &str = "UPDATE docker_nodes SET allocated_count = capacity WHERE node_id = $1";
const DISABLE: &str = "UPDATE docker_nodes SET enabled = false WHERE node_id = $1";
const ENABLE: &str = "UPDATE docker_nodes SET enabled = true WHERE node_id = $1";

/// The path of the first agent's host.
fn first_host(fleet: &Fleet) -> String {
    format!("{NODES}/{}", first_name(fleet))
}

fn first_name(fleet: &Fleet) -> String {
    fleet.world.sim.hosts()[fleet.hosts[0]].name().to_owned()
}

async fn change_first_host(fleet: &Fleet, sql: &'static str) {
    sqlx::query(sql)
        .bind(first_name(fleet))
        .execute(&fleet.world.world.pool)
        .await
        .expect(sql);
}

#[test]
fn f69_an_agent_that_is_restarted_returns_to_its_host_although_that_is_full_or_disabled() {
    run(async {
        // An agent that is put back finds the image that it ran before only there.
        for (change, is_broken) in [(FILL, false), (DISABLE, true)] {
            let mut fleet = Fleet::new(2, |place| is_broken && place == 0).await;
            fleet.start(1).await;
            // The stop.
            fleet.pass_minute().await;
            let stopped = fleet.row(fleet.agents[0]).await;
            assert_eq!(stopped["status"], json!("stopped"), "{stopped}");
            change_first_host(&fleet, change).await;
            while fleet.count(OPEN).await > 0 {
                assert!(fleet.minute < 30, "{}", fleet.progress().await);
                fleet.pass_minute().await;
            }
            let version = if is_broken { old() } else { new() };
            fleet.assert_runs(0, &version).await;
        }
    });
}

#[test]
fn f69_agents_of_a_disabled_host_wait_until_it_takes_agents_again() {
    run(async {
        let mut fleet = Fleet::new(2, |_| false).await;
        change_first_host(&fleet, DISABLE).await;
        fleet.start(1).await;
        for _ in 0..4 {
            fleet.pass_minute().await;
        }
        fleet.assert_runs(0, &old()).await;
        fleet.assert_runs(1, &new()).await;
        let progress = fleet.progress().await;
        assert_eq!(
            (&progress["state"], &progress["waiting"]),
            (&json!("running"), &json!(1)),
            "{progress}"
        );
        change_first_host(&fleet, ENABLE).await;
        for _ in 0..4 {
            fleet.pass_minute().await;
        }
        fleet.assert_runs(0, &new()).await;
        assert_eq!(fleet.progress().await["state"], json!("done"));
    });
}

#[test]
fn f69_f70_no_agent_is_moved_and_no_host_drained_or_removed_while_the_agent_is_restarted_there() {
    run(async {
        let mut fleet = Fleet::new(2, |_| false).await;
        fleet.start(1).await;
        // The stop.
        fleet.pass_minute().await;
        let host = first_host(&fleet);
        let drain = format!("{host}/drain");
        let (world, operator) = (&fleet.world.world, &fleet.world.operator);
        let drained = world.post(operator, &drain).await;
        assert_eq!(drained.status(), 200, "{drained:?}");
        fleet.sweep().await;
        let (world, operator) = (&fleet.world.world, &fleet.world.operator);
        let plan = world.get(operator, &drain).await.json()["data"].clone();
        assert_eq!(plan["doneAt"], Value::Null, "{plan}");
        let remove = Request::new("DELETE", &host).key(operator);
        let refused = world.call(remove).await;
        assert_eq!(refused.status(), 409, "{refused:?}");
        fleet.run_jobs().await;
        fleet.assert_runs(0, &new()).await;
        // The next sweep ends the restart.
        let path = format!("/api/v1/admin/agents/{}/move", fleet.agents[0]);
        let refused = world.post(operator, &path).await;
        assert_eq!(
            (refused.status(), &refused.json()["error"]),
            (409, &json!("A job is under way for this agent"))
        );
        fleet.sweep().await;
        assert_eq!((fleet.count(OPEN).await, fleet.count(MOVES).await), (0, 0));
        fleet.sweep().await;
        assert_eq!(fleet.count(MOVES).await, 1);
    });
}
