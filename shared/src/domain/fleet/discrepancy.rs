//! What must not be and is repaired: a container that runs although its agent is stopped or in error (F78), and an agent
//! that should run on no known host, and would be charged for ever (F93). Owns: which observations these are, and how old
//! the one before may be. Does not own: the repair (`app::fleet::repair`).

use chrono::TimeDelta;

use super::claims::Claims;
use super::observation::{AgentObservation, AgentRow, ContainerState, FleetReading, HostReadError};
use crate::domain::agent::AgentStatus;
use crate::domain::ids::AgentRef;
use crate::domain::words::words;

/// An observation that is older than this does not count as the one of the previous run.
pub const DISCREPANCY_MAX_AGE: TimeDelta = TimeDelta::minutes(10);

words! {
    pub enum DiscrepancyKind {
        /// A container runs although its agent is stopped, or in error: Docker may have started it again.
        SurplusContainer = "surplus_container",
        /// An agent should run, and its row names no host.
        NoHost = "no_host",
        /// An agent should run, and its row names a host that is not registered.
        HostNotRegistered = "host_not_registered",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discrepancy {
    pub kind: DiscrepancyKind,
    pub agent: AgentRef,
    /// The host that the agent's row names.
    pub node_id: Option<String>,
    /// Docker's id of the surplus container.
    pub container_id: Option<String>,
}

/// What one run observed. It proves nothing alone: a job may have worked on the agent between the inspection of the host
/// and the reading of the rows.
#[must_use]
pub fn find_discrepancies(run: &FleetReading) -> Vec<Discrepancy> {
    let claims = Claims::of(run);
    let discrepancy = |agent: &AgentRow| {
        // Only a surplus container is found: no host is read for the others.
        let container = claims.container(agent);
        Some(Discrepancy {
            kind: kind(agent.status, claims.observation(agent))?,
            agent: agent.agent_ref(),
            node_id: agent.node_id.clone(),
            container_id: container.map(|container| container.id.clone()),
        })
    };
    run.agents.iter().filter_map(discrepancy).collect()
}

fn kind(status: AgentStatus, observation: AgentObservation) -> Option<DiscrepancyKind> {
    match (status, observation) {
        (AgentStatus::Stopped | AgentStatus::Error, AgentObservation::Container(container)) => {
            let is_up = matches!(
                container.state,
                ContainerState::Running | ContainerState::Restarting | ContainerState::Paused
            );
            is_up.then_some(DiscrepancyKind::SurplusContainer)
        }
        (AgentStatus::Running | AgentStatus::Disconnected, AgentObservation::NoHost) => {
            Some(DiscrepancyKind::NoHost)
        }
        (
            AgentStatus::Running | AgentStatus::Disconnected,
            AgentObservation::HostNotRead(HostReadError::NotRegistered),
        ) => Some(DiscrepancyKind::HostNotRegistered),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::HostInspection;
    use super::super::fixtures::*;
    use super::*;

    fn found(inspection: HostInspection, agent: AgentRow) -> Option<DiscrepancyKind> {
        let run = FleetReading {
            hosts: vec![host("a", inspection)],
            agents: vec![agent],
            ..FleetReading::default()
        };
        let discrepancies = find_discrepancies(&run);
        assert!(discrepancies.len() <= 1, "{discrepancies:?}");
        discrepancies.first().map(|discrepancy| discrepancy.kind)
    }

    fn with(state: &str) -> HostInspection {
        read(vec![container(1, state)])
    }

    #[test]
    fn f78_a_container_that_runs_although_its_agent_is_stopped_or_in_error_is_surplus() {
        let surplus = Some(DiscrepancyKind::SurplusContainer);
        for (state, expected) in [
            ("running", surplus),
            ("restarting", surplus),
            ("paused", surplus),
            ("exited", None),
            ("created", None),
            ("dead", None),
            ("removing", None),
            ("sleeping", None),
        ] {
            assert_eq!(found(with(state), stopped(1, "a")), expected, "{state}");
            let in_error = AgentRow {
                status: AgentStatus::Error,
                ..stopped(1, "a")
            };
            assert_eq!(found(with(state), in_error), expected, "{state}");
        }
        assert_eq!(found(with("running"), agent(1, "a")), None);
        assert_eq!(found(with("running"), stopped(2, "a")), None);
        assert_eq!(found(unreachable(), stopped(1, "a")), None);
    }

    #[test]
    fn a_discrepancy_names_the_host_of_the_row_and_the_surplus_container() {
        let run = FleetReading {
            hosts: vec![host("a", with("running"))],
            agents: vec![stopped(1, "a"), agent(2, "gone")],
            ..FleetReading::default()
        };
        let expected = [
            Discrepancy {
                kind: DiscrepancyKind::SurplusContainer,
                agent: stopped(1, "a").agent_ref(),
                node_id: Some("a".to_owned()),
                container_id: Some("c1".to_owned()),
            },
            Discrepancy {
                kind: DiscrepancyKind::HostNotRegistered,
                agent: agent(2, "gone").agent_ref(),
                node_id: Some("gone".to_owned()),
                container_id: None,
            },
        ];
        assert_eq!(find_discrepancies(&run), expected);
    }

    #[test]
    fn f93_an_agent_that_should_run_on_no_known_host_is_suspicious() {
        let without_host = |status| AgentRow {
            status,
            node_id: None,
            ..agent(1, "a")
        };
        let elsewhere = |status| AgentRow {
            status,
            ..agent(1, "gone")
        };
        for status in AgentStatus::ALL {
            let should_run = matches!(status, AgentStatus::Running | AgentStatus::Disconnected);
            let kinds = [
                found(read(vec![]), without_host(*status)),
                found(read(vec![]), elsewhere(*status)),
            ];
            let expected = [DiscrepancyKind::NoHost, DiscrepancyKind::HostNotRegistered];
            let expected = expected.map(|kind| should_run.then_some(kind));
            assert_eq!(kinds, expected, "{status:?}");
        }
        // A host that is registered and cannot be read is another matter.
        assert_eq!(found(unreachable(), agent(1, "a")), None);
        assert_eq!(found(HostInspection::NotInspected, agent(1, "a")), None);
    }
}
