//! What owners, billing and operators do to agents while the sweep moves them to other hosts.

use serde_json::json;
use tests::calls::agent_path;
use tests::suite::Request;
use tests::world::minutes;
use tests::{World, run};
use uuid::Uuid;

use super::automatic_resume::{resumed, starts_of, stop_reason, told};
use super::{agent_status, register_unreachable_host, set_balance, start_bus, sweep};

const DRAIN: &str = "/api/v1/admin/docker-nodes/n1/drain";

/// Records that the agent is being moved away from a host.
async fn begin_move(world: &World, agent: Uuid) {
    sqlx::query(
        "INSERT INTO agent_moves (agent_id, organization_id, from_node, requested_by, requested_at, start_due_at)
        SELECT id, organization_id, 'n1', user_id, billing_clock(), billing_clock()
        FROM milady_sandboxes WHERE id = $1",
    )
    .bind(agent)
    .execute(&world.pool)
    .await
    .expect("a move");
}

/// An agent that its move has stopped and not started yet.
async fn agent_between_hosts(world: &World, organization: Uuid) -> Uuid {
    let agent = world.agent(organization, "stopped").await;
    let columns = "node_id = 'n1', stop_reason = 'drain'";
    world.set_columns(agent, columns).await;
    begin_move(world, agent).await;
    agent
}

/// Why the agent's move failed. `None` if it is open or has succeeded.
async fn move_failure(world: &World, agent: Uuid) -> Option<String> {
    sqlx::query_scalar(
        "SELECT max(error) FROM agent_moves WHERE agent_id = $1 AND done_at IS NOT NULL",
    )
    .bind(agent)
    .fetch_one(&world.pool)
    .await
    .expect("a row")
}

#[test]
fn f70_an_owner_who_suspends_an_agent_that_a_move_has_stopped_keeps_it_stopped() {
    run(async {
        for is_start_enqueued in [false, true] {
            let (world, bus) = (World::new().await, start_bus().await);
            let (organization, key) = world.tenant("10").await;
            let agent = agent_between_hosts(&world, organization).await;
            if is_start_enqueued {
                sweep(&world, &bus).await;
            }
            let starts = usize::from(is_start_enqueued);
            assert_eq!(starts_of(&world, agent).await, starts);
            let suspended = world.post(&key, &agent_path(agent, "/suspend")).await;
            assert_eq!(suspended.status(), 200, "{suspended:?}");
            // When a move repeats its start.
            for minute in [1, 16] {
                world.set_clock(minutes(minute)).await;
                sweep(&world, &bus).await;
            }
            assert_eq!(starts_of(&world, agent).await, starts);
            assert_eq!(agent_status(&world, agent).await.0, "stopped");
            assert_eq!(stop_reason(&world, agent).await.as_deref(), Some("owner"));
            let failure = move_failure(&world, agent).await;
            assert_eq!(failure.as_deref(), Some("The agent was stopped meanwhile"));
        }
    });
}

#[test]
fn f70_an_agent_that_gets_another_organization_during_its_move_or_restart_is_started_again() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let first = world.organization("10").await;
        let second = world.organization("10").await;
        let moved = agent_between_hosts(&world, first).await;
        let restarted = world.agent(first, "stopped").await;
        world
            .set_columns(restarted, "node_id = 'n1', stop_reason = 'drain'")
            .await;
        world
            .execute(
                "INSERT INTO image_roll_outs (image, digest, requested_by, requested_at, restarts_at_once, state,
                    resumed_at)
                VALUES ('milady/agent:1', 'sha256:2', gen_random_uuid(), billing_clock(), 1, 'done', billing_clock())",
            )
            .await;
        sqlx::query(
            "INSERT INTO image_restarts (agent_id, organization_id, begun_at, previous_image, start_due_at)
            VALUES ($1, $2, billing_clock(), 'sha256:1', billing_clock())",
        )
        .bind(restarted)
        .bind(first)
        .execute(&world.pool)
        .await
        .expect("a restart");
        for agent in [moved, restarted] {
            world.transfer(agent, second).await;
        }
        sweep(&world, &bus).await;
        for agent in [moved, restarted] {
            assert_eq!(starts_of(&world, agent).await, 1);
        }
        // They end like others.
        world.execute("UPDATE jobs SET status = 'completed'").await;
        for agent in [moved, restarted] {
            let columns = "node_id = 'n2', status = 'running', stop_reason = NULL";
            world.set_columns(agent, columns).await;
        }
        sweep(&world, &bus).await;
        for open in [
            "SELECT count(*) FROM agent_moves WHERE done_at IS NULL",
            "SELECT count(*) FROM image_restarts WHERE done_at IS NULL",
        ] {
            assert_eq!(world.count(open).await, 0, "{open}");
        }
    });
}

#[test]
fn f70_an_agent_that_billing_suspends_during_its_move_starts_again_after_a_top_up() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let organization = world.organization("0").await;
        let agent = agent_between_hosts(&world, organization).await;
        world
            .set_columns(agent, "billing_status = 'suspended'")
            .await;
        sweep(&world, &bus).await;
        assert_eq!(starts_of(&world, agent).await, 0);
        assert_eq!(stop_reason(&world, agent).await.as_deref(), Some("billing"));
        let failure = move_failure(&world, agent).await;
        assert_eq!(
            failure.as_deref(),
            Some("The agent is suspended because of its debt")
        );
        set_balance(&world, organization, "10").await;
        assert_eq!(resumed(&world, &bus).await, 1);
        assert_eq!(starts_of(&world, agent).await, 1);
    });
}

#[test]
fn f70_an_agent_of_a_deactivated_organization_is_not_stopped_for_a_move() {
    run(async {
        let (world, bus) = (World::new().await, start_bus().await);
        let operator = world.super_admin().await;
        let organization = world.organization("10").await;
        register_unreachable_host(&world).await;
        world
            .execute(
                "INSERT INTO docker_nodes (node_id, hostname, ssh_port) VALUES ('n2', '127.0.0.1', 9)",
            )
            .await;
        let running = world.agent(organization, "running").await;
        world
            .set_columns(running, "node_id = 'n1', container_name = 'c'")
            .await;
        sqlx::query("UPDATE organizations SET is_active = false WHERE id = $1")
            .bind(organization)
            .execute(&world.pool)
            .await
            .expect("an organization");
        let path = format!("/api/v1/admin/agents/{running}/move");
        let refused = world.post(&operator, &path).await;
        assert_eq!(
            (refused.status(), &refused.json()["error"]),
            (409, &json!("The organization is not active"))
        );
        begin_move(&world, running).await;
        let between = agent_between_hosts(&world, organization).await;
        sweep(&world, &bus).await;
        assert_eq!(world.count("SELECT count(*) FROM jobs").await, 0);
        assert_eq!(agent_status(&world, running).await.0, "running");
        for agent in [running, between] {
            let failure = move_failure(&world, agent).await;
            assert_eq!(failure.as_deref(), Some("The organization is not active"));
        }
        let reason = stop_reason(&world, between).await;
        assert_eq!(reason.as_deref(), Some("operator"));
    });
}

#[test]
fn f70_a_cancelled_drain_moves_no_agent_whose_host_could_not_be_read_meanwhile() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        register_unreachable_host(&world).await;
        let drained = world.post(&operator, DRAIN).await;
        assert_eq!(drained.status(), 200, "{drained:?}");
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;
        let columns = "node_id = 'n1', container_name = 'c', status = 'disconnected'";
        world.set_columns(agent, columns).await;
        begin_move(&world, agent).await;
        // This one is stopped already, so it is started on another host.
        agent_between_hosts(&world, organization).await;
        let cancel = Request::new("DELETE", DRAIN).key(&operator);
        let cancelled = world.call(cancel).await;
        assert_eq!(cancelled.status(), 200, "{cancelled:?}");
        let moves = "SELECT count(*) FROM agent_moves";
        assert_eq!(world.count(moves).await, 1);
    });
}

#[test]
fn f70_a_drain_that_is_cancelled_while_an_agent_is_asked_to_stop_for_it_forgets_no_agent() {
    run(async {
        let world = World::new().await;
        let operator = world.super_admin().await;
        register_unreachable_host(&world).await;
        let drained = world.post(&operator, DRAIN).await;
        assert_eq!(drained.status(), 200, "{drained:?}");
        let organization = world.organization("10").await;
        let agent = world.agent(organization, "running").await;
        let columns = "node_id = 'n1', container_name = 'c'";
        world.set_columns(agent, columns).await;
        begin_move(&world, agent).await;
        // A worker has saved the agent's state, which takes a while, and commits that with the agent's stop.
        let mut worker = world.pool.begin().await.expect("begin");
        for sql in [
            "SELECT FROM agent_moves FOR NO KEY UPDATE",
            "UPDATE milady_sandboxes SET stop_requested_at = billing_clock(), stop_reason = 'drain'",
        ] {
            sqlx::query(sql).execute(&mut *worker).await.expect(sql);
        }
        let cancel = Request::new("DELETE", DRAIN).key(&operator);
        let (cancelled, ()) = tokio::join!(world.call(cancel), async {
            world.wait_until_a_session_is_blocked().await;
            worker.commit().await.expect("commit");
        });
        assert_eq!(cancelled.status(), 200, "{cancelled:?}");
        // The move stays open, so the agent is started again.
        let moves = "SELECT count(*) FROM agent_moves WHERE done_at IS NULL";
        assert_eq!(world.count(moves).await, 1);
    });
}

#[test]
fn f70_a_move_whose_starts_fail_again_and_again_ends_and_its_owner_is_told() {
    run(async {
        for (refusal, failure) in [
            (
                "UPDATE agent_moves SET refusal = NULL",
                "The agent could not be started on another host: five starts have failed",
            ),
            (
                "UPDATE agent_moves SET refusal = 'too much data'",
                "The agent cannot be moved, and could not be started again on its host: five starts have failed",
            ),
        ] {
            let (world, bus) = (World::new().await, start_bus().await);
            let operator = world.super_admin().await;
            register_unreachable_host(&world).await;
            let organization = world.organization("10").await;
            let agent = agent_between_hosts(&world, organization).await;
            world.execute(refusal).await;
            let mut starts = Vec::new();
            for minute in [0, 14, 15, 44, 45, 104, 105, 224, 225, 226, 1_000] {
                world.set_clock(minutes(minute)).await;
                sweep(&world, &bus).await;
                if starts_of(&world, agent).await > starts.len() {
                    starts.push(minute);
                    world.execute("UPDATE jobs SET status = 'failed'").await;
                    let failed = "status = 'error', stop_reason = 'failure', error_message = 'why'";
                    world.set_columns(agent, failed).await;
                }
            }
            // Later and later, and never again.
            assert_eq!(starts, [0, 15, 45, 105, 225]);
            assert_eq!(move_failure(&world, agent).await.as_deref(), Some(failure));
            assert_eq!(agent_status(&world, agent).await.0, "error");
            let plan = world.get(&operator, DRAIN).await.json()["data"].clone();
            assert_eq!(plan["agents"][0]["error"], json!(failure), "{plan}");
            let [(kind, payload)] = told(&world, organization)
                .await
                .try_into()
                .expect("one event");
            assert_eq!(kind, "agent.start_failed");
            assert_eq!(payload["agents"][0]["id"], json!(agent));
            assert_eq!(payload["reason"], json!(failure));
        }
    });
}
