//! What a host told in this pass, as operators see it.

use serde::{Deserialize, Serialize};

use super::alert::decimal;
use super::moment::Moment;
use super::ours::Ours;
use super::pass::{Found, Reading, Visit};
use crate::domain::observation::{ContainerState, DockerHealth};
use crate::domain::placement::HostFacts;

/// What a host told in this pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    /// It let us in.
    pub reachable: bool,
    /// Its Docker Engine told its containers.
    pub docker_readable: bool,
    /// When it was asked; none if it was not.
    pub checked_at: Option<Moment>,
    /// Milliseconds.
    pub ssh_latency_ms: Option<u64>,
    /// Its Docker Engine's version.
    pub docker_version: Option<String>,
    /// The root file system's use, in percent, rounded down.
    pub disk_used_percent: Option<u64>,
    /// Memory that cannot be had, in percent, rounded down.
    pub memory_used_percent: Option<u64>,
    /// The load of the last minute with two decimals, as the kernel prints it.
    pub load_average: Option<String>,
    /// Share of the last minute in which something waited for I/O, in percent, rounded down.
    pub io_pressure_pct: Option<u64>,
    /// Our containers there; none if Docker was not read.
    pub actual_container_count: Option<usize>,
    /// Those of them that run.
    pub running_container_count: Option<usize>,
    /// Our containers there, by name.
    pub containers: Vec<RuntimeContainer>,
    /// Why it, or Docker on it, was not read.
    pub error: Option<String>,
}

/// A container of ours as Docker tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeContainer {
    /// Its name.
    pub name: String,
    /// Docker's id.
    pub id: String,
    /// Its image.
    pub image: String,
    /// Docker's word for its state.
    pub state: String,
    /// Docker's own words.
    pub status: String,
    /// For how long it has been up, in Docker's words; none if it is not.
    pub running_for: Option<String>,
    /// What its own check says; none if it has none.
    pub health: Option<DockerHealth>,
}

impl Runtime {
    pub(super) fn of(reading: &Reading, ours: Option<&Ours<'_>>) -> Self {
        let error = reading.docker().err().map(|why| why.sentence().to_owned());
        let asked = Self {
            checked_at: reading.at().map(Moment),
            error,
            ..Self::default()
        };
        match reading.visit() {
            Ok(visit) => asked.with(visit, ours),
            Err(_) => asked,
        }
    }

    fn with(self, visit: &Visit, ours: Option<&Ours<'_>>) -> Self {
        let HostFacts {
            load_1m_hundredths,
            memory_used_percent,
            disk_used_percent,
            io_pressure_percent,
            ..
        } = visit.facts;
        let runs = |(found, _): &&(&Found, bool)| found.state() == ContainerState::Running;
        Self {
            reachable: true,
            docker_readable: visit.docker.is_ok(),
            ssh_latency_ms: Some(visit.latency_ms),
            docker_version: visit.docker.as_ref().ok().and_then(|d| d.version.clone()),
            disk_used_percent,
            memory_used_percent,
            load_average: load_1m_hundredths.map(decimal),
            io_pressure_pct: io_pressure_percent,
            actual_container_count: ours.map(|ours| ours.0.len()),
            running_container_count: ours.map(|ours| ours.0.iter().filter(runs).count()),
            containers: ours
                .map(|ours| ours.0.iter().map(told).collect())
                .unwrap_or_default(),
            ..self
        }
    }
}

fn told((found, _): &(&Found, bool)) -> RuntimeContainer {
    let up = found.status.strip_prefix("Up ");
    let up = up.map(|text| text.split(" (").next().unwrap_or(text).to_owned());
    RuntimeContainer {
        name: found.name.clone(),
        id: found.id.clone(),
        image: found.image.clone(),
        state: found.state.clone(),
        status: found.status.clone(),
        running_for: up,
        health: found.health(),
    }
}
