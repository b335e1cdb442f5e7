//! State that is left on a host when its agent is started elsewhere, after a loss or a failed start.

use std::collections::BTreeSet;

use dev::sim::Volume;
use serde_json::{Value, json};
use shared::db::agents::deaths::containers_to_stop_of_any_organization;
use tests::calls::agent_path;
use tests::lab::job_of;
use tests::run;
use uuid::Uuid;

use crate::lost_hosts::{
    NODES, call, declare, fleet_of, lose, outcome, refresh_at, request_stop, row, set_fault, sweep,
};

#[test]
fn f65_a_start_that_the_loss_of_its_host_interrupted_leaves_no_state_there() {
    run(async {
        let fleet = fleet_of(&["a", "b"], 3).await;
        let [interrupted, ran, saved] = fleet.agents[0][..] else {
            panic!("three agents");
        };
        lose(&fleet).await;
        assert_eq!(declare(&fleet).await.status(), 200);
        // The row of an agent whose state was saved on another host, and whose start here found no other slot afterwards.
        let columns =
            "status = 'error', error_message = 'why', state_node_id = NULL, left_nodes = NULL";
        fleet.world.set_columns(interrupted, columns).await;
        let columns = "status = 'stopped', state_node_id = 'a', left_nodes = NULL";
        fleet.world.set_columns(saved, columns).await;
        set_fault(&fleet, 0, None).await;
        refresh_at(&fleet, &[18, 19]).await;
        assert_eq!(call(&fleet, "DELETE", "a/lost").await.status(), 200);
        for (agent, is_unsaved) in [(interrupted, false), (ran, true), (saved, true)] {
            let row = row(&fleet, agent).await;
            assert_eq!(row["unsaved"], json!(is_unsaved), "{row}");
        }
        assert_eq!(row(&fleet, interrupted).await["error"], json!("why"));
    });
}

#[test]
fn f65_a_host_that_returns_has_the_newest_state_of_an_agent_whose_start_elsewhere_failed() {
    run(async {
        let fleet = fleet_of(&["a", "b"], 2).await;
        let [failed, moved] = fleet.agents[0][..] else {
            panic!("two agents");
        };
        lose(&fleet).await;
        assert_eq!(declare(&fleet).await.status(), 200);
        // Both were started on host b with new secrets. One start failed, so its agent belongs to host a again.
        fleet.world.execute("DELETE FROM cloud.lost_agents").await;
        fleet.world.set_columns(failed, "status = 'error'").await;
        fleet.world.set_columns(moved, "node_id = 'b'").await;
        set_fault(&fleet, 0, None).await;
        refresh_at(&fleet, &[18, 19]).await;
        assert_eq!(call(&fleet, "DELETE", "a/lost").await.status(), 200);
        for (agent, is_unsaved) in [(failed, true), (moved, false)] {
            let row = row(&fleet, agent).await;
            assert_eq!(row["unsaved"], json!(is_unsaved), "{row}");
        }
        // The host cannot be removed together with that state.
        let refused = call(&fleet, "DELETE", "a").await;
        assert_eq!(refused.status(), 409, "{refused:?}");
    });
}

#[test]
fn f65_what_agents_had_on_a_lost_host_is_forgotten_when_it_is_removed() {
    run(async {
        let fleet = fleet_of(&["a", "b"], 1).await;
        let (agent, elsewhere) = (fleet.agents[0][0], fleet.agents[1][0]);
        let state = "data_bind = '/srv/agents/one', unsaved_since = billing_clock()";
        fleet.world.set_columns(agent, state).await;
        let state = "data_bind = '/srv/agents/two', left_nodes = '{c,a}'";
        fleet.world.set_columns(elsewhere, state).await;
        lose(&fleet).await;
        assert_eq!(declare(&fleet).await.status(), 200);
        assert_eq!(call(&fleet, "DELETE", "a").await.status(), 200);
        // Another machine of this name has neither the directory nor a state.
        for (agent, expected) in [
            (agent, json!(["a", null, []])),
            (elsewhere, json!(["b", "/srv/agents/two", ["c"]])),
        ] {
            let found: Value = sqlx::query_scalar(
                "SELECT jsonb_build_array(node_id, data_bind, left_nodes) FROM milady_sandboxes WHERE id = $1",
            )
            .bind(agent)
            .fetch_one(&fleet.world.pool)
            .await
            .expect("an agent");
            assert_eq!(found, expected);
        }
    });
}

#[test]
fn f65_an_agent_is_started_on_its_own_host_although_its_state_there_counted_as_left() {
    run(async {
        let fleet = fleet_of(&["a"], 1).await;
        let agent = fleet.agents[0][0];
        let volume = Volume::of_agent(agent, fleet.organization);
        fleet.sim.hosts()[0]
            .update_script(|script| {
                script.containers.clear();
                script.volumes.push(volume.clone());
            })
            .await;
        // A start elsewhere after the loss made new secrets and failed.
        let columns =
            "status = 'error', container_name = NULL, bridge_port = NULL, web_ui_port = NULL,
            state_node_id = 'a', left_nodes = '{a}', database_status = 'ready',
            database_uri = 'postgres://database.invalid/agent'";
        fleet.world.set_columns(agent, columns).await;
        fleet.world.backup(agent, "auto").await;
        let path = agent_path(agent, "/provision");
        let start = job_of(&fleet.world.post(&fleet.operator, &path).await);
        assert_eq!(outcome(&fleet, start).await, "completed");
        // With its volume, and without the backup.
        assert_eq!(fleet.sim.hosts()[0].script().volumes, [volume]);
        let left = "SELECT count(*) FROM milady_sandboxes WHERE left_nodes = '{a}'";
        assert_eq!(fleet.world.count(left).await, 0);
    });
}

#[test]
fn f73_a_dead_container_on_a_lost_host_is_not_stopped_before_the_host_returns() {
    run(async {
        let fleet = fleet_of(&["a", "b"], 1).await;
        sqlx::query(
            "INSERT INTO cloud.container_deaths (agent_id, organization_id, node_id, container_id, died_at, restarts,
                log, out_of_memory, to_stop)
            SELECT gen_random_uuid(), $1, node_id, 'c', billing_clock(), 5, '', false, true FROM docker_nodes",
        )
        .bind(fleet.organization)
        .execute(&fleet.world.pool)
        .await
        .expect("deaths");
        let hosts = async || -> BTreeSet<String> {
            let mut conn = fleet.world.database.statements();
            let found = containers_to_stop_of_any_organization(&mut conn).await;
            let found = found.expect("containers").into_iter();
            found.map(|container| container.node_id).collect()
        };
        let both = BTreeSet::from(["a", "b"].map(str::to_owned));
        assert_eq!(hosts().await, both);
        sqlx::query(
            "INSERT INTO cloud.host_withdrawals (node_id, kind, requested_by, requested_at, moves_at_once, was_enabled)
            VALUES ('a', 'loss', gen_random_uuid(), billing_clock(), 1, true),
                ('b', 'drain', gen_random_uuid(), billing_clock(), 1, true)",
        )
        .execute(&fleet.world.pool)
        .await
        .expect("withdrawals");
        assert_eq!(hosts().await, BTreeSet::from(["b".to_owned()]));
        fleet
            .world
            .execute("DELETE FROM cloud.host_withdrawals")
            .await;
        assert_eq!(hosts().await, both);
    });
}

#[test]
fn f70_an_agent_that_has_older_state_on_the_only_other_host_runs_on_and_others_are_moved() {
    run(async {
        let fleet = fleet_of(&["a", "b"], 2).await;
        let [staying, moving] = fleet.agents[1][..] else {
            panic!("two agents");
        };
        // It ran on host a when that was lost, and was started from its backup.
        let columns = "left_nodes = '{a}', created_at = created_at - interval '1 h'";
        fleet.world.set_columns(staying, columns).await;
        let path = format!("/api/v1/admin/agents/{staying}/move");
        let refused = fleet.world.post(&fleet.operator, &path).await;
        assert_eq!(
            (refused.status(), &refused.json()["error"]),
            (409, &json!("No other host has a free slot"))
        );
        // One move at a time, and the staying agent's is the first.
        let drain = format!("{NODES}/b/drain");
        let body = json!({"movesAtOnce": 1});
        let drained = fleet.world.post_json(&fleet.operator, &drain, &body).await;
        assert_eq!(drained.status(), 200, "{drained:?}");
        for _ in 0..3 {
            sweep(&fleet).await;
        }
        let stopped: Vec<Uuid> = sqlx::query_scalar("SELECT agent_id FROM jobs")
            .fetch_all(&fleet.world.pool)
            .await
            .expect("jobs");
        assert_eq!(stopped, [moving]);
        assert_eq!(row(&fleet, staying).await["status"], json!("running"));
        let plan = call(&fleet, "GET", "b/drain").await.json()["data"].clone();
        let agents = plan["agents"].as_array().expect("agents");
        let stays = agents.iter().find(|agent| agent["error"] != Value::Null);
        let error = &stays.expect("an agent that stays")["error"];
        assert_eq!(error, &json!("No other host has a free slot"), "{plan}");
    });
}

#[test]
fn f16_a_failed_start_that_ran_with_the_agents_volume_leaves_unsaved_state() {
    run(async {
        // A container that was only created has not touched the volume, nor has one on a host without the state.
        for (state, columns, is_unsaved) in [
            ("exited", "state_node_id = 'a'", true),
            ("created", "state_node_id = 'a'", false),
            ("exited", "state_node_id = NULL", false),
        ] {
            let fleet = fleet_of(&["a"], 1).await;
            let agent = fleet.agents[0][0];
            fleet.sim.hosts()[0]
                .update_script(|script| script.containers[0].state = state.to_owned())
                .await;
            fleet.world.set_status(agent, "error").await;
            fleet.world.set_columns(agent, columns).await;
            let stop = request_stop(&fleet, agent).await;
            assert_eq!(outcome(&fleet, stop).await, "completed");
            let row = row(&fleet, agent).await;
            assert_eq!(row["unsaved"], json!(is_unsaved), "{state}: {row}");
        }
    });
}
