//! The life of two hosts, each with an engine of its own: one dies and is declared lost, returns, and is drained.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::suite::Request;
use tests::{Lab, run};
use uuid::Uuid;

use super::backups::back_up_after;
use super::moves::{enable_only, memories, run_jobs, talk};

const NODES: &str = "/api/v1/admin/docker-nodes";
const A: usize = 0;
const B: usize = 1;

/// A talk leaves a message and its answer.
const MEMORIES_PER_TALK: usize = 2;

async fn enable_all(lab: &Lab) {
    lab.world
        .execute("UPDATE docker_nodes SET enabled = true")
        .await;
}

/// Starts an agent on host A and has it remember some talks.
async fn agent_on_a(lab: &Lab, talks: usize) -> Uuid {
    enable_only(lab, "n1").await;
    let agent = lab.running_agent(json!({})).await;
    enable_all(lab).await;
    for _ in 0..talks {
        talk(lab, agent).await;
    }
    agent
}

/// Host A does not answer any more. Its containers run on, as behind a cut cable.
fn cut_off_a(lab: &Lab) {
    let host = &lab.hosts[A];
    host.sshd.stop().expect("a stop");
    host.engine.stop().expect("a stop");
}

async fn reconnect_a(lab: &Lab) {
    let host = &lab.hosts[A];
    host.engine.restart().await.expect("a start");
    host.sshd.restart().await.expect("a start");
}

async fn running_containers(lab: &Lab, host: usize) -> usize {
    let containers = lab.hosts[host].engine.containers().await;
    let containers = containers.expect("containers").into_iter();
    containers
        .filter(|container| container.state == "running")
        .count()
}

/// Inspects the fleet every three minutes.
async fn refresh_for(lab: &Lab, minutes: i64) {
    for _ in 0..minutes / 3 {
        lab.advance_clock(TimeDelta::minutes(3)).await;
        lab.world.refresh().await;
    }
}

/// Moves the agents away from host A, until the drain is done.
async fn drain_a(lab: &Lab, operator: &str, agents: &[Uuid]) {
    let path = format!("{NODES}/n1/drain");
    let begun = lab.world.post(operator, &path).await;
    assert_eq!(begun.status(), 200, "{begun:?}");
    let mut plan = Value::Null;
    for _ in 0..8 {
        lab.sweep().await;
        run_jobs(lab, agents).await;
        lab.advance_clock(TimeDelta::minutes(1)).await;
        plan = lab.world.get(operator, &path).await.json()["data"].clone();
        if plan["doneAt"] != Value::Null {
            return;
        }
    }
    panic!("the drain is not done: {plan}");
}

/// Checks that the agents run on host B, once each, and remember these talks.
async fn assert_on_b(lab: &Lab, agents: &[Uuid], talks: &[usize]) {
    for (agent, talks) in agents.iter().zip(talks) {
        let row = lab.placement(*agent).await;
        assert_eq!(
            (&row["status"], &row["node"]),
            (&json!("running"), &json!("n2")),
            "{row}"
        );
        let expected = json!(talks * MEMORIES_PER_TALK);
        assert_eq!(memories(lab, *agent).await, expected, "{agent}");
    }
    assert_eq!(running_containers(lab, B).await, agents.len());
}

#[test]
fn f65_f68_f70_a_host_that_died_for_good_returns_and_is_drained_and_no_saved_state_is_lost() {
    run(async {
        let Some(lab) = Lab::new(2).await else {
            return;
        };
        let operator = lab.world.super_admin().await;
        let mut agents = vec![agent_on_a(&lab, 1).await, agent_on_a(&lab, 2).await];
        assert_eq!(back_up_after(&lab, TimeDelta::zero()).await, [0, 0, 0]);
        assert_eq!(back_up_after(&lab, TimeDelta::days(1)).await, [2, 0, 0]);
        // What the agents remember after their daily snapshot is lost with the host.
        talk(&lab, agents[0]).await;
        lab.world.refresh().await;

        cut_off_a(&lab);
        refresh_for(&lab, 15).await;
        let path = format!("{NODES}/n1/lost");
        let body = json!({"nodeId": "n1"});
        let declared = lab.world.post_json(&operator, &path, &body).await;
        assert_eq!(declared.status(), 200, "{declared:?}");
        assert_eq!(declared.json()["data"]["freedAgents"], json!(2));
        for agent in &agents {
            lab.start(*agent).await;
        }
        assert_on_b(&lab, &agents, &[1, 2]).await;
        talk(&lab, agents[0]).await;

        reconnect_a(&lab).await;
        assert_eq!(running_containers(&lab, A).await, 2);
        lab.advance_clock(TimeDelta::minutes(1)).await;
        lab.world.refresh().await;
        assert_eq!(running_containers(&lab, A).await, 0);
        assert_on_b(&lab, &agents, &[2, 2]).await;
        let service = Request::new("DELETE", &path).key(&operator);
        let service = lab.world.call(service).await;
        assert_eq!(service.status(), 200, "{service:?}");
        lab.world.refresh().await;

        agents.push(agent_on_a(&lab, 3).await);
        assert_eq!(running_containers(&lab, A).await, 1);
        lab.advance_clock(TimeDelta::minutes(5)).await;
        drain_a(&lab, &operator, &agents).await;
        assert_eq!(running_containers(&lab, A).await, 0);
        assert_on_b(&lab, &agents, &[2, 2, 3]).await;
        let overlaps = "SELECT count(*) FROM usage_spans a JOIN usage_spans b USING (agent_id)
            WHERE a.id < b.id AND a.started_at < coalesce(b.ended_at, 'infinity')
                AND b.started_at < coalesce(a.ended_at, 'infinity')";
        assert_eq!(lab.world.count(overlaps).await, 0);
    });
}
