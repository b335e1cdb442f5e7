//! Status changes that follow from refresh runs. Owns: the rule that one observation proves no loss. A host that
//! is not read, or a container that is gone, changes an agent's status only if the previous run observed the same.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::claims::Claims;
use super::observation::{AgentObservation, AgentRow, FleetReading, HostReadError};
use super::snapshot::FleetSnapshot;
use crate::domain::agent::{AgentEvent, AgentStatus};
use crate::domain::ids::{AgentId, AgentRef};

/// A snapshot that is older than this does not count as the previous run: too much may have happened in
/// between.
const PREVIOUS_RUN_MAX_AGE: TimeDelta = TimeDelta::minutes(10);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusTransition {
    pub agent: AgentRef,
    /// The status that the run read.
    pub from: AgentStatus,
    pub event: AgentEvent,
    /// For the agent's owner; `None` if the agent keeps running or may still run.
    pub reason: Option<&'static str>,
    /// The host and container that the run read in the agent's row.
    pub node_id: Option<String>,
    pub container_name: Option<String>,
}

/// What a run knows about agents besides the rows that it reads after the inspections.
#[derive(Clone, Debug, Default)]
pub struct AgentEvidence {
    /// The agents whose rows said before the first host was read that they should run. For others nothing
    /// is concluded: a container that was created during the run may be missing from what its host reported.
    pub expected_before_run: HashSet<AgentId>,
    /// The agents that answered their health check in this run.
    pub responding: HashSet<AgentId>,
}

/// The status changes that follow from `run` and from the snapshot of the run before it.
#[must_use]
pub fn find_transitions(
    run: &FleetReading,
    previous: Option<&FleetSnapshot>,
    evidence: &AgentEvidence,
    now: DateTime<Utc>,
) -> Vec<StatusTransition> {
    let previous = previous.filter(|snapshot| now - snapshot.refreshed_at <= PREVIOUS_RUN_MAX_AGE);
    let claims = Claims::of(run);
    let transition = |agent: &AgentRow| {
        if !should_run(agent.status) || !evidence.expected_before_run.contains(&agent.id) {
            return None;
        }
        let before = previous.and_then(|snapshot| previous_observation(snapshot, agent));
        let current = claims.observation(agent);
        let event = event(before, current, evidence.responding.contains(&agent.id))?;
        agent.status.after(event).ok()?;
        Some(StatusTransition {
            agent: agent.agent_ref(),
            from: agent.status,
            event,
            reason: reason(event, current),
            node_id: agent.node_id.clone(),
            container_name: agent.container_name.clone(),
        })
    };
    run.agents.iter().filter_map(transition).collect()
}

/// What the previous run observed of the same agent, if the agent should have run then, on the same host
/// and under the same container name.
fn previous_observation(previous: &FleetSnapshot, agent: &AgentRow) -> Option<AgentObservation> {
    let key = (agent.node_id.as_deref(), agent.id);
    let agents = &previous.agents;
    let index = agents.binary_search_by(|report| (report.node_id.as_deref(), report.id).cmp(&key));
    let report = agents.get(index.ok()?)?;
    let is_comparable = report.container_name == agent.container_name && should_run(report.status);
    is_comparable.then_some(report.observation)
}

/// What two consecutive observations say. An agent that answers is not lost, even if its host's Docker
/// Engine is (F33).
fn event(
    previous: Option<AgentObservation>,
    current: AgentObservation,
    is_responding: bool,
) -> Option<AgentEvent> {
    match current {
        AgentObservation::NoHost => None,
        AgentObservation::HostNotRead(_) => {
            let is_lost = is_host_lost(current) && previous.is_some_and(is_host_lost);
            (is_lost && !is_responding).then_some(AgentEvent::HostLost)
        }
        AgentObservation::NoContainer | AgentObservation::Container(_) => {
            if !is_container_lost(current) {
                return Some(AgentEvent::HostRegained);
            }
            previous
                .is_some_and(is_container_lost)
                .then_some(AgentEvent::ContainerLost)
        }
    }
}

fn reason(event: AgentEvent, current: AgentObservation) -> Option<&'static str> {
    match (event, current) {
        (AgentEvent::ContainerLost, AgentObservation::NoContainer) => {
            Some("The agent's container is gone from its host")
        }
        (AgentEvent::ContainerLost, _) => Some("The agent's container has ended"),
        _ => None,
    }
}

fn should_run(status: AgentStatus) -> bool {
    matches!(status, AgentStatus::Running | AgentStatus::Disconnected)
}

/// Whether the host failed. Errors whose cause is this run or its configuration say nothing about the host.
fn is_host_lost(observation: AgentObservation) -> bool {
    use HostReadError::{NoKey, NotInspected, NotRegistered};
    matches!(observation, AgentObservation::HostNotRead(error)
        if !matches!(error, NotInspected | NoKey | NotRegistered))
}

fn is_container_lost(observation: AgentObservation) -> bool {
    match observation {
        AgentObservation::NoContainer => true,
        AgentObservation::Container(container) => container.state.has_ended(),
        AgentObservation::NoHost | AgentObservation::HostNotRead(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::super::{ContainerObservation, EngineObservation, HostInspection, InspectedHost};
    use super::*;

    const GONE: Option<&str> = Some("The agent's container is gone from its host");
    const ENDED: Option<&str> = Some("The agent's container has ended");

    fn run(inspection: HostInspection, row: AgentRow) -> FleetReading {
        FleetReading {
            hosts: vec![host("a", inspection)],
            agents: vec![row],
            backlog: 0,
            billing_findings: Vec::new(),
        }
    }

    /// Two runs in which agent 1 is expected and does not respond, unless a test says otherwise.
    struct TwoRuns {
        previous: FleetReading,
        current: FleetReading,
        minutes_between: i64,
        is_expected: bool,
        is_responding: bool,
    }

    impl TwoRuns {
        fn of(previous: HostInspection, current: HostInspection) -> Self {
            Self::with_rows(previous, agent(1, "a"), current, agent(1, "a"))
        }

        fn with_rows(
            previous: HostInspection,
            previous_row: AgentRow,
            current: HostInspection,
            current_row: AgentRow,
        ) -> Self {
            Self {
                previous: run(previous, previous_row),
                current: run(current, current_row),
                minutes_between: 1,
                is_expected: true,
                is_responding: false,
            }
        }

        fn outcome(&self) -> Option<(AgentEvent, Option<&'static str>)> {
            let previous = FleetSnapshot::of(&self.previous, ago(self.minutes_between));
            let set = |is_member: bool| HashSet::from_iter(is_member.then_some(id(1)));
            let evidence = AgentEvidence {
                expected_before_run: set(self.is_expected),
                responding: set(self.is_responding),
            };
            let transitions = find_transitions(&self.current, Some(&previous), &evidence, now());
            assert!(transitions.len() <= 1, "{transitions:?}");
            let transition = transitions.first();
            transition.map(|transition| (transition.event, transition.reason))
        }
    }

    fn disconnected() -> AgentRow {
        AgentRow {
            status: AgentStatus::Disconnected,
            ..agent(1, "a")
        }
    }

    fn no_docker() -> HostInspection {
        reached(Err(HostReadError::DockerUnavailable))
    }

    fn with(state: &str) -> HostInspection {
        read(vec![container(1, state)])
    }

    fn empty() -> HostInspection {
        read(vec![])
    }

    #[test]
    fn a_loss_needs_two_matching_observations() {
        let lost_host = Some((AgentEvent::HostLost, None));
        let gone = Some((AgentEvent::ContainerLost, GONE));
        let ended = Some((AgentEvent::ContainerLost, ENDED));
        for (previous, current, expected) in [
            (unreachable(), unreachable(), lost_host),
            (no_docker(), unreachable(), lost_host),
            (unreachable(), no_docker(), lost_host),
            (with("running"), unreachable(), None),
            (HostInspection::NotInspected, unreachable(), None),
            (unreachable(), HostInspection::NotInspected, None),
            (failed(HostReadError::NoKey), unreachable(), None),
            (unreachable(), failed(HostReadError::NoKey), None),
            (empty(), empty(), gone),
            (with("exited"), empty(), gone),
            (empty(), with("exited"), ended),
            (with("dead"), with("dead"), ended),
            (with("running"), empty(), None),
            (with("running"), with("exited"), None),
            (unreachable(), empty(), None),
            (empty(), unreachable(), None),
            (empty(), with("running"), None),
            (with("restarting"), with("restarting"), None),
            (with("paused"), with("paused"), None),
        ] {
            let case = format!("{previous:?} then {current:?}");
            let outcome = TwoRuns::of(previous, current).outcome();
            assert_eq!(outcome, expected, "{case}");
        }
    }

    #[test]
    fn a_disconnected_agent_returns_when_its_container_is_observed_once() {
        let back = Some((AgentEvent::HostRegained, None));
        for (current, expected) in [
            (with("running"), back),
            (with("paused"), back),
            (with("exited"), None),
            (empty(), None),
            (unreachable(), None),
        ] {
            let case = format!("{current:?}");
            let runs = TwoRuns::with_rows(unreachable(), disconnected(), current, disconnected());
            assert_eq!(runs.outcome(), expected, "{case}");
        }
        let runs = TwoRuns::with_rows(empty(), disconnected(), empty(), disconnected());
        assert_eq!(runs.outcome(), Some((AgentEvent::ContainerLost, GONE)));
    }

    #[test]
    fn f33_an_agent_that_responds_is_not_lost_with_its_docker_engine() {
        let mut runs = TwoRuns::of(no_docker(), no_docker());
        assert_eq!(runs.outcome(), Some((AgentEvent::HostLost, None)));
        runs.is_responding = true;
        assert_eq!(runs.outcome(), None);
    }

    #[test]
    fn a_previous_observation_counts_only_for_the_same_host_and_container() {
        let mut renamed = agent(1, "a");
        renamed.container_name = Some("another".to_owned());
        for previous_row in [stopped(1, "a"), agent(1, "b"), renamed, agent(2, "a")] {
            let case = format!("{previous_row:?}");
            let runs = TwoRuns::with_rows(empty(), previous_row, empty(), agent(1, "a"));
            assert_eq!(runs.outcome(), None, "{case}");
        }
    }

    #[test]
    fn an_agent_that_should_not_run_has_no_transition() {
        let provisioning = AgentRow {
            status: AgentStatus::Provisioning,
            ..agent(1, "a")
        };
        for current_row in [stopped(1, "a"), provisioning] {
            let runs = TwoRuns::with_rows(empty(), agent(1, "a"), empty(), current_row);
            assert_eq!(runs.outcome(), None);
        }
        // Its container was created during the run, perhaps after its host was read.
        let mut runs = TwoRuns::of(empty(), empty());
        runs.is_expected = false;
        assert_eq!(runs.outcome(), None);
    }

    #[test]
    fn a_previous_run_counts_for_ten_minutes() {
        let lost = Some((AgentEvent::ContainerLost, GONE));
        let mut runs = TwoRuns::of(empty(), empty());
        runs.minutes_between = 10;
        assert_eq!(runs.outcome(), lost);
        runs.minutes_between = 11;
        assert_eq!(runs.outcome(), None);
        let evidence = AgentEvidence {
            expected_before_run: HashSet::from([id(1)]),
            ..AgentEvidence::default()
        };
        assert_eq!(find_transitions(&runs.current, None, &evidence, now()), []);
    }

    #[test]
    fn only_agents_of_a_host_that_two_runs_could_not_read_are_lost() {
        let nine_containers =
            || -> Vec<ContainerObservation> { (1..=9).map(|n| container(n, "running")).collect() };
        let run_without = |unread: &[&str]| {
            let inspection = |name: &&str| {
                if unread.contains(name) {
                    unreachable()
                } else {
                    reached(Ok(EngineObservation {
                        version: None,
                        containers: nine_containers(),
                    }))
                }
            };
            let names = ["a", "b", "c"];
            let hosts: Vec<InspectedHost> = names
                .iter()
                .map(|name| host(name, inspection(name)))
                .collect();
            let agents = (1..=9)
                .map(|n| agent(n, names[usize::try_from(n).unwrap_or(0) % 3]))
                .collect();
            FleetReading {
                hosts,
                agents,
                backlog: 0,
                billing_findings: Vec::new(),
            }
        };
        let previous = FleetSnapshot::of(&run_without(&["b"]), ago(1));
        let evidence = AgentEvidence {
            expected_before_run: (1..=9).map(id).collect(),
            ..AgentEvidence::default()
        };
        let transitions =
            find_transitions(&run_without(&["a", "b"]), Some(&previous), &evidence, now());
        let agents: Vec<AgentId> = transitions
            .into_iter()
            .map(|transition| transition.agent.agent_id)
            .collect();
        assert_eq!(agents, [id(1), id(4), id(7)]);
    }
}
