//! What a run observes of simulated hosts, without connecting to them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use dev::sim::{Container, Health, Script, SimHost};
use shared::app::fleet::inspect::{InspectionResult, Probe, Simulation};
use shared::domain::fleet::{
    ContainerObservation, EngineObservation, HostFacts, HostInspection, HostObservation,
    HostReadError,
};

use super::schedule::{HostState, Schedule};

#[derive(Debug)]
pub(super) struct Observer<'a> {
    pub(super) hosts: &'a [SimHost],
    pub(super) index_by_name: &'a HashMap<String, usize>,
    pub(super) schedule: &'a Schedule,
    pub(super) minute: usize,
}

impl Simulation for Observer<'_> {
    fn observe(&self, node_id: &str, probes: &[Probe], at: DateTime<Utc>) -> InspectionResult {
        let host = self.index_by_name[node_id];
        let state = self.schedule.state(host, self.minute);
        if let Some(error) = self.connection_error(host, state) {
            return InspectionResult {
                inspection: HostInspection::Failed { at, error },
                responding: Vec::new(),
                sample: None,
            };
        }
        let script = self.hosts[host].script();
        let responding = probes.iter().filter(|probe| responds(&script, probe.port));
        let responding = responding.map(|probe| probe.agent_id).collect();
        let engine = match state {
            HostState::NoDocker => Err(HostReadError::DockerUnavailable),
            _ => Ok(EngineObservation {
                version: Some(script.docker_version.clone()),
                containers: script.containers.iter().map(observation).collect(),
                networks: Vec::new(),
            }),
        };
        let facts = HostFacts {
            memory_used_percent: Some(script.facts.memory_percent),
            ..HostFacts::default()
        };
        let observation = HostObservation {
            at,
            latency_ms: 1,
            pinned_by_this_run: false,
            facts,
            engine,
        };
        InspectionResult {
            inspection: HostInspection::Observed(Box::new(observation)),
            responding,
            sample: None,
        }
    }
}

impl Observer<'_> {
    fn connection_error(&self, host: usize, state: HostState) -> Option<HostReadError> {
        if self.schedule.is_cut_off(host, self.minute) {
            return Some(HostReadError::Unreachable);
        }
        match state {
            HostState::Unreachable => Some(HostReadError::Unreachable),
            HostState::TimedOut => Some(HostReadError::TimedOut),
            HostState::OtherKey => Some(HostReadError::HostKeyMismatch),
            HostState::Well | HostState::NoDocker | HostState::FullDisk | HostState::Busy => None,
        }
    }
}

fn responds(script: &Script, port: u16) -> bool {
    script.containers.iter().any(|container| {
        container.web_port == Some(port)
            && container.state == "running"
            && container.agent == Health::Healthy
    })
}

fn observation(container: &Container) -> ContainerObservation {
    let attempt = container.labels.get("milady.attempt");
    ContainerObservation {
        id: container.id.clone(),
        name: container.name.clone(),
        image: container.image.clone(),
        state: container.state.clone(),
        status: container.status.clone(),
        health: None,
        created_at: container.created_at,
        label: container.labels.get("milady.agent").cloned(),
        attempt: attempt.and_then(|attempt| attempt.parse().ok()),
        data_bind: None,
    }
}
