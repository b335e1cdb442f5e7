//! Status changes that follow from refresh runs. Owns: the rule that one observation proves no loss. A host that is not
//! read, or a container that is gone, changes an agent's status only if an earlier run observed the same and none since
//! observed the opposite; and what a run leaves to the next one for that.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::claims::Claims;
use super::observation::{AgentObservation, AgentRow, FleetReading};
use super::suspicion::{ContainerSuspicion, Suspicions};
use crate::domain::agent::{AgentEvent, AgentStatus};
use crate::domain::ids::{AgentId, AgentRef};

/// An observation that is older than this does not count any more: too much may have happened since.
const SUSPICION_MAX_AGE: TimeDelta = TimeDelta::minutes(10);

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

/// The status changes that follow from `run` and from what earlier runs observed.
#[must_use]
pub fn find_transitions(
    run: &FleetReading,
    earlier: &Suspicions,
    evidence: &AgentEvidence,
    now: DateTime<Utc>,
) -> Vec<StatusTransition> {
    let claims = Claims::of(run);
    let transition = |agent: &AgentRow| {
        if !is_expected(agent, evidence) {
            return None;
        }
        let current = claims.observation(agent);
        let event = match current {
            AgentObservation::NoHost => return None,
            AgentObservation::HostNotRead(_) => {
                // An agent that answers is not lost, even if its host's Docker Engine is (F33).
                let is_lost = is_host_lost(current)
                    && run.own_fault.is_none()
                    && !evidence.responding.contains(&agent.id)
                    && is_host_suspected(earlier, agent, now);
                is_lost.then_some(AgentEvent::HostLost)?
            }
            AgentObservation::NoContainer | AgentObservation::Container(_) => {
                if is_container_lost(current) {
                    let is_suspected = is_container_suspected(earlier, agent, now);
                    is_suspected.then_some(AgentEvent::ContainerLost)?
                } else {
                    AgentEvent::HostRegained
                }
            }
        };
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

/// What the next run has to know. What this run did not observe stays as earlier runs left it.
#[must_use]
pub fn next_suspicions(
    run: &FleetReading,
    earlier: &Suspicions,
    evidence: &AgentEvidence,
    began_at: DateTime<Utc>,
) -> Suspicions {
    let hosts = run.hosts.iter().filter_map(|host| {
        let error = host.inspection.engine().err()?;
        let node_id = &host.row.node_id;
        let observed_at = if error.is_about_host() && run.own_fault.is_none() {
            began_at
        } else {
            *earlier.hosts.get(node_id)?
        };
        Some((node_id.clone(), observed_at))
    });
    let claims = Claims::of(run);
    let containers = run.agents.iter().filter_map(|agent| {
        if !is_expected(agent, evidence) {
            return None;
        }
        let observation = claims.observation(agent);
        if is_container_lost(observation) {
            return ContainerSuspicion::of(agent, began_at);
        }
        let is_unobserved = matches!(observation, AgentObservation::HostNotRead(_));
        let suspicion = earlier.containers.get(&agent.id)?;
        is_unobserved.then(|| suspicion.clone())
    });
    Suspicions {
        hosts: hosts.collect(),
        containers: containers
            .map(|suspicion| (suspicion.agent.agent_id, suspicion))
            .collect::<HashMap<_, _>>(),
    }
}

impl ContainerSuspicion {
    fn of(agent: &AgentRow, observed_at: DateTime<Utc>) -> Option<Self> {
        Some(Self {
            agent: agent.agent_ref(),
            node_id: agent.node_id.clone()?,
            container_name: agent.expected_container_name(),
            observed_at,
        })
    }
}

/// Whether the agent should have run when the run began, and should still.
fn is_expected(agent: &AgentRow, evidence: &AgentEvidence) -> bool {
    let should_run = matches!(
        agent.status,
        AgentStatus::Running | AgentStatus::Disconnected
    );
    should_run && evidence.expected_before_run.contains(&agent.id)
}

/// Whether an earlier run could not read the agent's host, when the agent was there already.
fn is_host_suspected(earlier: &Suspicions, agent: &AgentRow, now: DateTime<Utc>) -> bool {
    let node_id = agent.node_id.as_ref();
    let observed_at = node_id.and_then(|node_id| earlier.hosts.get(node_id));
    observed_at.is_some_and(|at| now - *at <= SUSPICION_MAX_AGE && agent.updated_at <= *at)
}

fn is_container_suspected(earlier: &Suspicions, agent: &AgentRow, now: DateTime<Utc>) -> bool {
    earlier.containers.get(&agent.id).is_some_and(|suspicion| {
        now - suspicion.observed_at <= SUSPICION_MAX_AGE
            && ContainerSuspicion::of(agent, suspicion.observed_at).as_ref() == Some(suspicion)
    })
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

fn is_host_lost(observation: AgentObservation) -> bool {
    matches!(observation, AgentObservation::HostNotRead(error) if error.is_about_host())
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
    use super::super::{
        ContainerObservation, EngineObservation, HostInspection, HostReadError, InspectedHost,
        OwnFault,
    };
    use super::*;

    const GONE: Option<&str> = Some("The agent's container is gone from its host");
    const ENDED: Option<&str> = Some("The agent's container has ended");

    fn run(inspection: HostInspection, row: AgentRow) -> FleetReading {
        FleetReading {
            hosts: vec![host("a", inspection)],
            agents: vec![row],
            ..FleetReading::default()
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
            let earlier = suspicions(&self.previous, &Suspicions::default(), self.minutes_between);
            let set = |is_member: bool| HashSet::from_iter(is_member.then_some(id(1)));
            let evidence = AgentEvidence {
                expected_before_run: set(self.is_expected),
                responding: set(self.is_responding),
            };
            let transitions = find_transitions(&self.current, &earlier, &evidence, now());
            assert!(transitions.len() <= 1, "{transitions:?}");
            let transition = transitions.first();
            transition.map(|transition| (transition.event, transition.reason))
        }
    }

    /// What a run that began so many minutes ago, and expected every agent, leaves to the next.
    fn suspicions(run: &FleetReading, earlier: &Suspicions, minutes: i64) -> Suspicions {
        next_suspicions(run, earlier, &everybody(), ago(minutes))
    }

    fn everybody() -> AgentEvidence {
        AgentEvidence {
            expected_before_run: (1..=9).map(id).collect(),
            ..AgentEvidence::default()
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
        let none = Suspicions::default();
        let found = find_transitions(&runs.current, &none, &everybody(), now());
        assert_eq!(found, []);
        let mut runs = TwoRuns::of(unreachable(), unreachable());
        runs.current.agents[0].updated_at = ago(100);
        for (minutes, event) in [(10, Some((AgentEvent::HostLost, None))), (11, None)] {
            runs.minutes_between = minutes;
            assert_eq!(runs.outcome(), event, "{minutes}");
        }
    }

    #[test]
    fn a_transition_names_the_place_that_the_run_read() {
        let current = run(empty(), agent(1, "a"));
        let earlier = suspicions(&current, &Suspicions::default(), 1);
        let found = find_transitions(&current, &earlier, &everybody(), now());
        let expected = StatusTransition {
            agent: agent(1, "a").agent_ref(),
            from: AgentStatus::Running,
            event: AgentEvent::ContainerLost,
            reason: GONE,
            node_id: Some("a".to_owned()),
            container_name: agent(1, "a").container_name,
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn f72_a_run_that_does_not_inspect_a_host_leaves_what_earlier_runs_observed() {
        for (observed, event) in [
            (unreachable(), AgentEvent::HostLost),
            (empty(), AgentEvent::ContainerLost),
        ] {
            let observed = run(observed, agent(1, "a"));
            let not_inspected = run(HostInspection::NotInspected, agent(1, "a"));
            let mut earlier = suspicions(&observed, &Suspicions::default(), 1);
            for _ in 0..3 {
                earlier = suspicions(&not_inspected, &earlier, 0);
            }
            let found = find_transitions(&observed, &earlier, &everybody(), now());
            let events: Vec<AgentEvent> = found.iter().map(|found| found.event).collect();
            assert_eq!(events, [event]);
        }
    }

    #[test]
    fn a_host_that_is_read_and_a_container_that_runs_are_not_suspected() {
        let mut earlier = Suspicions::default();
        for (observed, hosts, containers) in [
            (unreachable(), 1, 0),
            (empty(), 0, 1),
            (unreachable(), 1, 1),
            (with("running"), 0, 0),
        ] {
            earlier = suspicions(&run(observed, agent(1, "a")), &earlier, 1);
            assert_eq!(
                (earlier.hosts.len(), earlier.containers.len()),
                (hosts, containers)
            );
        }
    }

    #[test]
    fn f67_nothing_is_lost_or_suspected_while_the_fault_is_on_this_side() {
        let mut current = run(unreachable(), agent(1, "a"));
        let earlier = suspicions(&current, &Suspicions::default(), 1);
        assert_eq!(earlier.hosts.len(), 1);
        current.own_fault = Some(OwnFault {
            unread_hosts: 3,
            hosts: 3,
        });
        assert_eq!(
            find_transitions(&current, &earlier, &everybody(), now()),
            []
        );
        assert_eq!(suspicions(&current, &earlier, 0), earlier);
        let none = Suspicions::default();
        assert_eq!(suspicions(&current, &none, 0), none);
    }

    #[test]
    fn an_agent_that_changed_since_its_host_was_suspected_is_not_lost() {
        let mut runs = TwoRuns::of(unreachable(), unreachable());
        runs.current.agents[0].updated_at = now();
        assert_eq!(runs.outcome(), None);
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
                        networks: Vec::new(),
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
                ..FleetReading::default()
            }
        };
        let earlier = suspicions(&run_without(&["b"]), &Suspicions::default(), 1);
        let current = run_without(&["a", "b"]);
        let transitions = find_transitions(&current, &earlier, &everybody(), now());
        let agents: Vec<AgentId> = transitions
            .into_iter()
            .map(|transition| transition.agent.agent_id)
            .collect();
        assert_eq!(agents, [id(1), id(4), id(7)]);
    }
}
