//! Snapshots of fleets in which something is wrong; each (F..) case happened to operators.

use chrono::TimeDelta;

use super::fixtures::*;
use super::*;
use crate::domain::agent::AgentStatus;
use crate::domain::container::name;

fn snapshot(hosts: Vec<InspectedHost>, agents: Vec<AgentRow>) -> FleetSnapshot {
    let run = FleetReading {
        hosts,
        agents,
        ..FleetReading::default()
    };
    FleetSnapshot::of(&run, now())
}

fn codes(snapshot: &FleetSnapshot) -> Vec<(Severity, AlertCode)> {
    let incidents = snapshot.incidents.iter();
    incidents
        .map(|incident| (incident.severity, incident.code))
        .collect()
}

fn health(snapshot: &FleetSnapshot) -> Vec<Health> {
    let agents = snapshot.agents.iter();
    agents.map(|agent| agent.verdict.health).collect()
}

/// Ids of the unclaimed containers of one host, and the hosts that their agents live on.
fn unclaimed(snapshot: &FleetSnapshot, host: usize) -> Vec<(&str, Option<&str>)> {
    let containers = snapshot.hosts[host].unclaimed_containers.iter();
    containers
        .map(|container| {
            (
                container.container_id.as_str(),
                container.agent_host.as_deref(),
            )
        })
        .collect()
}

#[test]
fn f19_a_failed_docker_read_keeps_the_figures_and_does_not_make_agents_missing() {
    let facts = HostFacts {
        disk_used_percent: Some(96),
        memory_used_percent: Some(50),
        ..HostFacts::default()
    };
    let without_docker = HostObservation {
        facts,
        ..observed(Err(HostReadError::DockerUnavailable))
    };
    let inspection = HostInspection::Observed(Box::new(without_docker));
    let agents = vec![agent(1, "a"), agent(2, "a"), stopped(3, "a")];
    let snapshot = snapshot(vec![host("a", inspection)], agents);
    let host = &snapshot.hosts[0];
    assert_eq!(host.status, HostStatus::Degraded);
    assert!(host.runtime.reachable && !host.runtime.docker_readable);
    assert_eq!(host.runtime.facts.disk_used_percent, Some(96));
    assert_eq!(host.runtime.facts.memory_used_percent, Some(50));
    assert_eq!((host.allocation_drift, host.available_slots), (None, 0));
    assert_eq!(host.runtime.container_count(), None);
    let expected = [Health::Unknown, Health::Unknown, Health::Stopped];
    assert_eq!(health(&snapshot), expected);
    let mut agents = snapshot.agents.iter();
    assert!(agents.all(|agent| agent.is_container_present().is_none()));
    assert_eq!(snapshot.summary.missing_agents, 0);
}

#[test]
fn f20_a_container_that_does_not_run_is_not_healthy_and_no_drift() {
    let containers = vec![
        container(1, "running"),
        container(2, "paused"),
        container(3, "exited"),
        container(4, "exited"),
        named_container("postgres", None),
    ];
    let agents = vec![agent(1, "a"), agent(2, "a"), stopped(3, "a")];
    let fleet = snapshot(vec![host("a", read(containers))], agents);
    let expected = [Health::Healthy, Health::Degraded, Health::Stopped];
    assert_eq!(health(&fleet), expected);
    let host = &fleet.hosts[0];
    assert_eq!(host.allocation_drift, Some(0));
    assert_eq!(unclaimed(&fleet, 0), [("c4", None)]);
    assert_eq!(host.unclaimed_containers[0].state, "exited");
    assert_eq!(host.runtime.container_count(), Some(4));
    assert_eq!(host.runtime.running_container_count(), Some(1));
    let left_over = (Severity::Info, AlertCode::UnclaimedNotRunning);
    let paused = (Severity::Warning, AlertCode::ContainerDegraded);
    assert_eq!(codes(&fleet), [paused, left_over]);
}

#[test]
fn drift_is_live_containers_minus_expected_ones() {
    let row = |status, has_container_name: bool| AgentRow {
        status,
        container_name: has_container_name.then(|| name(id(1))),
        ..agent(1, "a")
    };
    for (agent, state, drift) in [
        (row(AgentStatus::Running, true), Some("running"), 0),
        (row(AgentStatus::Running, true), Some("restarting"), 0),
        (row(AgentStatus::Running, true), Some("exited"), -1),
        (row(AgentStatus::Running, true), None, -1),
        (row(AgentStatus::Disconnected, true), None, -1),
        (row(AgentStatus::Provisioning, true), None, 0),
        (row(AgentStatus::Provisioning, true), Some("created"), 0),
        (row(AgentStatus::Provisioning, false), None, 0),
        (row(AgentStatus::Error, true), Some("exited"), -1),
        (row(AgentStatus::Error, true), Some("running"), 0),
        (row(AgentStatus::Error, false), None, 0),
        (row(AgentStatus::Stopped, false), None, 0),
        (row(AgentStatus::Stopped, false), Some("running"), 1),
        (row(AgentStatus::Pending, false), None, 0),
        (row(AgentStatus::Unknown, true), None, 0),
        (row(AgentStatus::Unknown, true), Some("running"), 0),
    ] {
        let containers = state.into_iter().map(|state| container(1, state));
        let case = format!("{agent:?} {state:?}");
        let snapshot = snapshot(vec![host("a", read(containers.collect()))], vec![agent]);
        assert_eq!(snapshot.hosts[0].allocation_drift, Some(drift), "{case}");
        assert_eq!(snapshot.summary.hosts_with_drift, usize::from(drift != 0));
        assert_eq!(unclaimed(&snapshot, 0), []);
    }
}

#[test]
fn f21_only_a_host_that_was_read_is_healthy_and_has_available_slots() {
    let mut hosts: Vec<InspectedHost> = ["a", "b", "c", "d"]
        .iter()
        .map(|node_id| host(node_id, unreachable()))
        .collect();
    hosts.push(host("e", HostInspection::NotInspected));
    hosts.push(host("f", read(Vec::new())));
    let summary = snapshot(hosts, Vec::new()).summary;
    assert_eq!((summary.healthy_hosts, summary.degraded_hosts), (1, 0));
    assert_eq!((summary.offline_hosts, summary.unknown_hosts), (4, 1));
    assert_eq!((summary.total_capacity, summary.allocated_slots), (48, 6));
    assert_eq!(summary.available_slots, 7);
}

#[test]
fn f21_f27_busy_disabled_full_and_unread_hosts_have_no_available_slots() {
    let busy = HostFacts {
        load_1m_hundredths: Some(45_100),
        cpus: Some(8),
        ..HostFacts::default()
    };
    let busy = HostObservation {
        facts: busy,
        ..observed(Ok(EngineObservation::default()))
    };
    let mut disabled = host("b", read(Vec::new()));
    disabled.row.enabled = false;
    let mut full = host("c", read(Vec::new()));
    full.row.allocated_count = 9;
    let hosts = vec![
        host("a", HostInspection::Observed(Box::new(busy))),
        disabled,
        full,
        host("d", reached(Err(HostReadError::ForwardingRefused))),
    ];
    let fleet = snapshot(hosts, Vec::new());
    assert_eq!(fleet.summary.available_slots, 0);
    assert_eq!(fleet.summary.saturated_hosts, 2);
    assert_eq!(
        (fleet.summary.total_hosts, fleet.summary.enabled_hosts),
        (4, 3)
    );
    let used: Vec<i64> = fleet
        .hosts
        .iter()
        .map(|host| host.utilization_pct)
        .collect();
    assert_eq!(used, [12, 12, 112, 12]);
    let critical = |code| (Severity::Critical, code);
    assert_eq!(
        codes(&fleet),
        [
            critical(AlertCode::NoFreeSlot),
            critical(AlertCode::Load),
            critical(AlertCode::SlotsTaken),
            critical(AlertCode::HostNotRead(HostReadError::ForwardingRefused)),
        ]
    );
}

#[test]
fn f26_a_second_container_names_the_host_of_its_agent() {
    let hosts = vec![
        host(
            "b",
            read((1..=10).map(|n| container(n, "running")).collect()),
        ),
        host(
            "a",
            read((1..=10).map(|n| container(n, "running")).collect()),
        ),
    ];
    let fleet = snapshot(hosts, (1..=10).map(|n| agent(n, "a")).collect());
    assert_eq!(unclaimed(&fleet, 0), []);
    let elsewhere = unclaimed(&fleet, 1);
    assert_eq!(elsewhere.len(), 10);
    assert!(
        elsewhere
            .iter()
            .all(|(_, agent_host)| *agent_host == Some("a"))
    );
    assert_eq!(fleet.hosts[1].allocation_drift, Some(10));
    let second = fleet
        .incidents
        .iter()
        .filter(|incident| incident.code == AlertCode::SecondContainer);
    assert!(
        second
            .clone()
            .all(|incident| incident.detail.ends_with("Its agent lives on a"))
    );
    assert_eq!(second.count(), 10);
    assert_eq!(fleet.summary.healthy_agents, 10);
}

#[test]
fn f26_a_container_is_ours_by_its_label_or_its_exact_name() {
    let exact = name(id(7));
    let of_two = id(2).to_string();
    let agent_host_if_unclaimed = |container: ContainerObservation| {
        let snapshot = snapshot(
            vec![host("a", read(vec![container]))],
            vec![agent(1, "a"), agent(2, "b")],
        );
        let unclaimed = unclaimed(&snapshot, 0);
        let first = unclaimed.first();
        first.map(|(_, agent_host)| agent_host.map(str::to_owned))
    };
    let nowhere = Some(None);
    let on_b = Some(Some("b".to_owned()));
    for (container, expected) in [
        (named_container(&exact, None), nowhere.clone()),
        (named_container(&exact.to_uppercase(), None), None),
        (named_container(&format!("{exact}-old"), None), None),
        (named_container(&format!("x{exact}"), None), None),
        (
            named_container("milady-00000000000000000000000000000007", None),
            None,
        ),
        (named_container("milady-postgres", None), None),
        (
            named_container("anything", Some("no agent")),
            nowhere.clone(),
        ),
        (named_container("anything", Some(&of_two)), on_b.clone()),
        // A row claims one container, by its name, unless the label names another agent.
        (named_container(&name(id(1)), None), None),
        (named_container(&name(id(1)), Some(&of_two)), on_b),
        (named_container("second", Some(&id(1).to_string())), nowhere),
    ] {
        let case = format!("{} {:?}", container.name, container.label);
        assert_eq!(agent_host_if_unclaimed(container), expected, "{case}");
    }
}

#[test]
fn an_agent_of_an_unregistered_host_is_unknown() {
    let hosts = vec![
        host("a", read(vec![container(1, "exited")])),
        host("b", unreachable()),
    ];
    let agents = vec![
        agent(1, "a"),
        agent(2, "a"),
        agent(3, "b"),
        agent(4, "gone"),
    ];
    let snapshot = snapshot(hosts, agents);
    let observations = snapshot.agents.iter().map(|agent| agent.observation);
    let observations: Vec<AgentObservation> = observations.collect();
    let AgentObservation::Container(exited) = observations[0] else {
        panic!("{observations:?}")
    };
    assert!(exited.state.has_ended());
    let rest = [
        AgentObservation::NoContainer,
        AgentObservation::HostNotRead(HostReadError::Unreachable),
        AgentObservation::HostNotRead(HostReadError::NotRegistered),
    ];
    assert_eq!(observations[1..], rest);
}

#[test]
fn a_row_claims_the_container_with_the_recorded_name() {
    let named = AgentRow {
        container_name: Some("old-style".to_owned()),
        ..agent(1, "a")
    };
    let host = host("a", read(vec![named_container("old-style", None)]));
    let fleet = snapshot(vec![host], vec![named]);
    assert_eq!(fleet.agents[0].verdict.health, Health::Healthy);
    assert_eq!(fleet.hosts[0].allocation_drift, Some(0));
    assert_eq!(unclaimed(&fleet, 0), []);
}

#[test]
fn one_incident_of_an_unread_host_replaces_those_of_its_agents() {
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
    let hosts = vec![host("a", unreachable()), host("b", read(Vec::new()))];
    let fleet = snapshot(hosts, agents);
    let expected = [
        (Severity::Critical, AlertCode::ContainerMissing),
        (
            Severity::Critical,
            AlertCode::HostNotRead(HostReadError::Unreachable),
        ),
        (Severity::Warning, AlertCode::ContainerUnknown),
        (Severity::Warning, AlertCode::Drift),
    ];
    assert_eq!(codes(&fleet), expected);
    let down = &fleet.incidents[1];
    assert_eq!(
        down.detail,
        "The host cannot be reached. 3 agents there: their own incidents are left out"
    );
    // The totals still count the agents without incidents.
    assert_eq!(fleet.summary.attention_agents, 5);
    assert_eq!(fleet.summary.unknown_agents, 3);
    assert!(
        fleet.incidents[2]
            .detail
            .ends_with("The host is not registered")
    );
}

#[test]
fn f67_one_incident_of_the_fleet_replaces_those_of_all_unread_hosts() {
    let other_key = failed(HostReadError::HostKeyMismatch);
    let run = FleetReading {
        hosts: vec![
            host("a", unreachable()),
            host("b", failed(HostReadError::AuthFailed)),
            host("c", other_key),
        ],
        agents: vec![agent(1, "a"), agent(2, "b")],
        own_fault: Some(OwnFault {
            unread_hosts: 2,
            hosts: 3,
        }),
        ..FleetReading::default()
    };
    let fleet = FleetSnapshot::of(&run, now());
    let expected = [
        (Severity::Critical, AlertCode::FleetUnreadable),
        (
            Severity::Critical,
            AlertCode::HostNotRead(HostReadError::HostKeyMismatch),
        ),
    ];
    assert_eq!(codes(&fleet), expected);
    assert!(fleet.incidents[0].detail.starts_with("2 of 3 hosts: "));
    // Each host still says why it was not read.
    assert_eq!(fleet.hosts[0].alerts.len(), 1);
}

#[test]
fn f69_a_roll_out_that_paused_by_itself_is_an_incident() {
    let run = FleetReading {
        hosts: vec![host("a", read(Vec::new()))],
        paused_roll_out: Some("3 of the last 5 restarts failed".to_owned()),
        ..FleetReading::default()
    };
    let fleet = FleetSnapshot::of(&run, now());
    let expected = [(Severity::Warning, AlertCode::RollOutPaused)];
    assert_eq!(codes(&fleet), expected);
    assert_eq!(fleet.incidents[0].detail, "3 of the last 5 restarts failed");
}

#[test]
fn incidents_sort_by_severity_then_by_title() {
    let agents = (1..=3).rev().map(|n| agent(n, "a")).collect();
    let fleet = snapshot(vec![host("a", read(Vec::new()))], agents);
    let order: Vec<_> = fleet
        .incidents
        .iter()
        .map(|incident| (incident.severity, incident.title.as_str()))
        .collect();
    assert!(order.is_sorted() && order.len() == 4);
    assert_eq!(order[0], (Severity::Critical, "Agent Ada 1 is missing"));
}

#[test]
fn a_fleet_without_usable_hosts_has_an_incident() {
    let fleet = snapshot(Vec::new(), Vec::new());
    assert_eq!(codes(&fleet), [(Severity::Warning, AlertCode::NoHosts)]);
    assert_eq!(fleet.summary.utilization_pct, 0);
    let all_gone = snapshot(vec![host("a", unreachable())], Vec::new());
    let worst = codes(&all_gone)[0];
    assert_eq!(worst, (Severity::Critical, AlertCode::NoHostRead));
}

#[test]
fn a_snapshot_is_stale_after_ninety_seconds() {
    let at = |seconds| {
        let later = now() + TimeDelta::seconds(seconds);
        is_stale(now(), later)
    };
    assert_eq!([-5, 0, 89, 90].map(at), [false, false, false, true]);
}

#[test]
fn the_order_in_which_hosts_and_agents_are_read_does_not_matter() {
    let mut reversed = example_run();
    reversed.hosts.reverse();
    reversed.agents.reverse();
    assert_eq!(
        FleetSnapshot::of(&reversed, now()),
        FleetSnapshot::of(&example_run(), now())
    );
}

#[test]
fn an_incident_begins_with_the_first_run_in_a_row_that_found_it() {
    let broken = || {
        snapshot(
            vec![
                host("a", failed(HostReadError::Unreachable)),
                host("b", read(vec![])),
            ],
            vec![agent(1, "b")],
        )
    };
    let starts = |snapshot: &FleetSnapshot| -> Vec<IncidentStart> {
        snapshot.incidents.iter().map(IncidentStart::of).collect()
    };
    let mut first = broken();
    first.refreshed_at = ago(2);
    for incident in &mut first.incidents {
        incident.since = ago(2);
    }
    let mut second = broken();
    assert!(!second.incidents.is_empty());
    second.continue_incidents(&starts(&first));
    assert!(
        second
            .incidents
            .iter()
            .all(|incident| incident.since == ago(2))
    );
    // Host `a` recovered, and fails again: that is another incident.
    let hosts = vec![host("a", read(vec![])), host("b", read(vec![]))];
    let mut recovered = snapshot(hosts, vec![agent(1, "b")]);
    recovered.continue_incidents(&starts(&second));
    let mut third = broken();
    third.continue_incidents(&starts(&recovered));
    let since = |node_id: &str| {
        let mut incidents = third.incidents.iter();
        let found = incidents.find(|incident| incident.node_id.as_deref() == Some(node_id));
        found.map(|incident| incident.since)
    };
    assert_eq!((since("a"), since("b")), (Some(now()), Some(ago(2))));
}
