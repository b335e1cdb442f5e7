//! Cases that operators ran into.

use chrono::TimeDelta;

use super::fixtures::*;
use super::*;
use crate::domain::agent::AgentStatus;
use crate::domain::container::name;
use crate::domain::health::{Health, Severity};
use crate::domain::observation::{Observation, Unread};
use crate::domain::placement::HostFacts;

fn snapshot(nodes: Vec<NodePass>, agents: Vec<AgentRow>) -> Snapshot {
    let pass = Pass {
        nodes,
        agents,
        backlog: 0,
    };
    Snapshot::of(&pass, now())
}

fn codes(snapshot: &Snapshot) -> Vec<(Severity, Code)> {
    let incidents = snapshot.incidents.iter();
    incidents.map(|it| (it.severity, it.code)).collect()
}

fn ghosts(snapshot: &Snapshot, at: usize) -> Vec<(&str, Option<&str>)> {
    let ghosts = snapshot.nodes[at].ghost_containers.iter();
    ghosts
        .map(|ghost| (ghost.container_id.as_str(), ghost.elsewhere.as_deref()))
        .collect()
}

#[test]
fn f19_a_host_without_docker_keeps_its_figures_and_its_agents_are_not_missing() {
    let facts = HostFacts {
        disk_used_percent: Some(96),
        memory_used_percent: Some(50),
        ..HostFacts::default()
    };
    let without_docker = Visit {
        facts,
        ..visit(Err(Unread::DockerUnavailable))
    };
    let reading = Reading::Reached(Box::new(without_docker));
    let agents = vec![agent(1, "a"), agent(2, "a"), stopped(3, "a")];
    let snapshot = snapshot(vec![node("a", reading)], agents);
    let host = &snapshot.nodes[0];
    assert_eq!(host.status, NodeStatus::Degraded);
    assert!(host.runtime.reachable && !host.runtime.docker_readable);
    assert_eq!(host.runtime.disk_used_percent, Some(96));
    assert_eq!(host.runtime.memory_used_percent, Some(50));
    assert_eq!((host.allocation_drift, host.available_slots), (None, 0));
    assert_eq!(host.runtime.actual_container_count, None);
    let fares: Vec<Health> = snapshot.containers.iter().map(|c| c.live_health).collect();
    assert_eq!(fares, [Health::Unknown, Health::Unknown, Health::Stopped]);
    assert!(
        snapshot
            .containers
            .iter()
            .all(|c| c.runtime_present.is_none())
    );
    assert_eq!(snapshot.summary.missing_containers, 0);
}

#[test]
fn f20_what_does_not_run_is_neither_healthy_nor_drift() {
    let containers = vec![
        container(1, "running"),
        container(2, "paused"),
        container(3, "exited"),
        container(4, "exited"),
        called("postgres", None),
    ];
    let agents = vec![agent(1, "a"), agent(2, "a"), stopped(3, "a")];
    let found = snapshot(vec![node("a", read(containers))], agents);
    let fares: Vec<Health> = found.containers.iter().map(|c| c.live_health).collect();
    assert_eq!(fares, [Health::Healthy, Health::Degraded, Health::Stopped]);
    let host = &found.nodes[0];
    assert_eq!(host.allocation_drift, Some(0));
    assert_eq!(ghosts(&found, 0), [("c4", None)]);
    assert_eq!(host.ghost_containers[0].state, "exited");
    assert_eq!(host.runtime.actual_container_count, Some(4));
    assert_eq!(host.runtime.running_container_count, Some(1));
    let left_over = (Severity::Info, Code::GhostNotRunning);
    let paused = (Severity::Warning, Code::ContainerDegraded);
    assert_eq!(codes(&found), [paused, left_over]);
}

#[test]
fn drift_counts_what_lives_against_what_is_expected() {
    let of = |status, recorded: bool| AgentRow {
        status,
        container_name: recorded.then(|| name(id(1))),
        ..agent(1, "a")
    };
    for (row, state, drift) in [
        (of(AgentStatus::Running, true), Some("running"), 0),
        (of(AgentStatus::Running, true), Some("restarting"), 0),
        (of(AgentStatus::Running, true), Some("exited"), -1),
        (of(AgentStatus::Running, true), None, -1),
        (of(AgentStatus::Disconnected, true), None, -1),
        (of(AgentStatus::Provisioning, true), None, 0),
        (of(AgentStatus::Provisioning, true), Some("created"), 0),
        (of(AgentStatus::Provisioning, false), None, 0),
        (of(AgentStatus::Error, true), Some("exited"), -1),
        (of(AgentStatus::Error, true), Some("running"), 0),
        (of(AgentStatus::Error, false), None, 0),
        (of(AgentStatus::Stopped, false), None, 0),
        (of(AgentStatus::Stopped, false), Some("running"), 1),
        (of(AgentStatus::Pending, false), None, 0),
        (of(AgentStatus::Unknown, true), None, 0),
        (of(AgentStatus::Unknown, true), Some("running"), 0),
    ] {
        let found = state.map(|state| container(1, state));
        let case = format!("{row:?} {state:?}");
        let snapshot = snapshot(
            vec![node("a", read(found.into_iter().collect()))],
            vec![row],
        );
        assert_eq!(snapshot.nodes[0].allocation_drift, Some(drift), "{case}");
        assert_eq!(snapshot.summary.nodes_with_drift, usize::from(drift != 0));
        assert_eq!(ghosts(&snapshot, 0), []);
    }
}

#[test]
fn f21_only_what_was_read_is_healthy_and_has_room() {
    let mut nodes: Vec<NodePass> = ["a", "b", "c", "d"]
        .iter()
        .map(|node_id| node(node_id, unreachable()))
        .collect();
    nodes.push(node("e", Reading::NotInspected));
    nodes.push(node("f", read(Vec::new())));
    let summary = snapshot(nodes, Vec::new()).summary;
    assert_eq!((summary.healthy_nodes, summary.degraded_nodes), (1, 0));
    assert_eq!((summary.offline_nodes, summary.unknown_nodes), (4, 1));
    assert_eq!((summary.total_capacity, summary.allocated_slots), (48, 6));
    assert_eq!(summary.available_slots, 7);
}

#[test]
fn f21_f27_room_is_where_an_agent_could_be_placed() {
    let busy = HostFacts {
        load_1m_hundredths: Some(45_100),
        cpus: Some(8),
        ..HostFacts::default()
    };
    let busy = Visit {
        facts: busy,
        ..visit(Ok(Docker::default()))
    };
    let mut disabled = node("b", read(Vec::new()));
    disabled.row.enabled = false;
    let mut full = node("c", read(Vec::new()));
    full.row.allocated_count = 9;
    let nodes = vec![
        node("a", Reading::Reached(Box::new(busy))),
        disabled,
        full,
        node("d", reached(Err(Unread::ForwardingRefused))),
    ];
    let found = snapshot(nodes, Vec::new());
    assert_eq!(found.summary.available_slots, 0);
    assert_eq!(found.summary.saturated_nodes, 2);
    assert_eq!(
        (found.summary.total_nodes, found.summary.enabled_nodes),
        (4, 3)
    );
    let used: Vec<i64> = found
        .nodes
        .iter()
        .map(|node| node.utilization_pct)
        .collect();
    assert_eq!(used, [12, 12, 112, 12]);
    let critical = |code| (Severity::Critical, code);
    assert_eq!(
        codes(&found),
        [
            critical(Code::NoFreeSlot),
            critical(Code::Load),
            critical(Code::Saturation),
            critical(Code::ForwardingRefused),
        ]
    );
}

#[test]
fn f26_a_second_container_says_where_its_agent_lives() {
    let nodes = vec![
        node(
            "b",
            read((1..=10).map(|n| container(n, "running")).collect()),
        ),
        node(
            "a",
            read((1..=10).map(|n| container(n, "running")).collect()),
        ),
    ];
    let found = snapshot(nodes, (1..=10).map(|n| agent(n, "a")).collect());
    assert_eq!(ghosts(&found, 0), []);
    let elsewhere = ghosts(&found, 1);
    assert_eq!(elsewhere.len(), 10);
    assert!(elsewhere.iter().all(|(_, home)| *home == Some("a")));
    assert_eq!(found.nodes[1].allocation_drift, Some(10));
    let second = found
        .incidents
        .iter()
        .filter(|it| it.code == Code::SecondContainer);
    assert!(
        second
            .clone()
            .all(|it| it.detail.ends_with("Its agent lives on a"))
    );
    assert_eq!(second.count(), 10);
    assert_eq!(found.summary.healthy_containers, 10);
}

#[test]
fn f26_a_ghost_is_known_by_its_label_or_its_exact_name() {
    let exact = name(id(7));
    let of_two = id(2).to_string();
    let unclaimed = |found: Found| {
        let snapshot = snapshot(
            vec![node("a", read(vec![found]))],
            vec![agent(1, "a"), agent(2, "b")],
        );
        let ghosts = ghosts(&snapshot, 0);
        ghosts.first().map(|(_, home)| home.map(str::to_owned))
    };
    let nowhere = Some(None);
    let on_b = Some(Some("b".to_owned()));
    for (found, ghost) in [
        (called(&exact, None), nowhere.clone()),
        (called(&exact.to_uppercase(), None), None),
        (called(&format!("{exact}-old"), None), None),
        (called(&format!("x{exact}"), None), None),
        (
            called("milady-00000000000000000000000000000007", None),
            None,
        ),
        (called("milady-postgres", None), None),
        (called("anything", Some("no agent")), nowhere.clone()),
        (called("anything", Some(&of_two)), on_b.clone()),
        // A row claims one container, by its name; the label has the last word.
        (called(&name(id(1)), None), None),
        (called(&name(id(1)), Some(&of_two)), on_b),
        (called("second", Some(&id(1).to_string())), nowhere),
    ] {
        let case = format!("{} {:?}", found.name, found.label);
        assert_eq!(unclaimed(found), ghost, "{case}");
    }
}

#[test]
fn what_was_seen_of_each_agent_can_be_asked_for() {
    let pass = Pass {
        nodes: vec![
            node("a", read(vec![container(1, "exited")])),
            node("b", unreachable()),
        ],
        agents: vec![
            agent(1, "a"),
            agent(2, "a"),
            agent(3, "b"),
            agent(4, "gone"),
        ],
        backlog: 0,
    };
    let seen = pass.observations();
    let Observation::Read(Some(exited)) = seen[0].1 else {
        panic!("{seen:?}")
    };
    assert!(exited.state.is_over());
    let rest = [
        (id(2), Observation::Read(None)),
        (id(3), Observation::NotRead(Unread::Unreachable)),
        (id(4), Observation::NotRead(Unread::NotRegistered)),
    ];
    assert_eq!(seen[1..], rest);
}

#[test]
fn a_row_claims_the_container_it_names_whatever_that_is_called() {
    let named = AgentRow {
        container_name: Some("old-style".to_owned()),
        ..agent(1, "a")
    };
    let host = node("a", read(vec![called("old-style", None)]));
    let found = snapshot(vec![host], vec![named]);
    assert_eq!(found.containers[0].live_health, Health::Healthy);
    assert_eq!(found.nodes[0].allocation_drift, Some(0));
    assert_eq!(ghosts(&found, 0), []);
}

#[test]
fn a_host_that_is_down_stands_for_all_of_its_containers() {
    let in_error = AgentRow {
        status: AgentStatus::Error,
        ..agent(3, "a")
    };
    let agents = vec![
        agent(1, "a"),
        agent(2, "a"),
        in_error,
        stopped(4, "a"),
        agent(5, "b"),
        agent(6, "gone"),
    ];
    let nodes = vec![node("a", unreachable()), node("b", read(Vec::new()))];
    let found = snapshot(nodes, agents);
    let expected = [
        (Severity::Critical, Code::ContainerMissing),
        (Severity::Critical, Code::Unreachable),
        (Severity::Warning, Code::ContainerUnknown),
        (Severity::Warning, Code::Drift),
    ];
    assert_eq!(codes(&found), expected);
    let down = &found.incidents[1];
    assert_eq!(
        down.detail,
        "The host cannot be reached. 3 agents there: their own incidents are left out"
    );
    // They are not lost: the totals have them.
    assert_eq!(found.summary.attention_containers, 5);
    assert_eq!(found.summary.unknown_containers, 3);
    assert!(
        found.incidents[2]
            .detail
            .ends_with("The host is not registered")
    );
}

#[test]
fn the_worst_comes_first_then_by_title() {
    let agents = (1..=3).rev().map(|n| agent(n, "a")).collect();
    let found = snapshot(vec![node("a", read(Vec::new()))], agents);
    let order: Vec<_> = found
        .incidents
        .iter()
        .map(|it| (it.severity, it.title.as_str()))
        .collect();
    assert!(order.is_sorted() && order.len() == 4);
    assert_eq!(order[0], (Severity::Critical, "Agent Ada 1 is missing"));
}

#[test]
fn an_empty_fleet_says_so() {
    let found = snapshot(Vec::new(), Vec::new());
    assert_eq!(codes(&found), [(Severity::Warning, Code::NoHosts)]);
    assert_eq!(found.summary.utilization_pct, 0);
    let all_gone = snapshot(vec![node("a", unreachable())], Vec::new());
    let worst = codes(&all_gone)[0];
    assert_eq!(worst, (Severity::Critical, Code::NoHostRead));
}

#[test]
fn a_snapshot_is_stale_after_ninety_seconds() {
    let at = |seconds| {
        let later = now() + TimeDelta::seconds(seconds);
        snapshot(Vec::new(), Vec::new()).seen_at(later).stale
    };
    assert_eq!([-5, 0, 89, 90].map(at), [false, false, false, true]);
}
