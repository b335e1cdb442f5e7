//! The JSON of agents' figures. Owns: its form, and when it says that it is stale.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::figures::{FigureSeries, HostSample, STALE_AFTER};
use crate::domain::ids::AgentId;
use crate::domain::timestamp::Timestamp;

/// A day of samples every five minutes, and some to spare.
const MAX_SAMPLES: i64 = 300;
/// On one host. An answer of this many has 2.5 MB, below what the gateway returns.
const MAX_AGENTS: usize = 200;

/// The figures of one agent in the last 24 hours.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AgentFigures")]
pub struct AgentFiguresJson {
    /// When the host was sampled, oldest first; empty if nothing is known.
    #[schemars(length(max = MAX_SAMPLES))]
    times: Vec<Timestamp>,
    /// Whether the last sample is older than 15 minutes.
    stale: bool,
    series: SeriesJson,
}

/// The figures of the agents on one host in the last 24 hours.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "HostFigures")]
pub struct HostFiguresJson {
    /// When the host was sampled, oldest first; empty if nothing is known.
    #[schemars(length(max = MAX_SAMPLES))]
    times: Vec<Timestamp>,
    /// Whether the last sample is older than 15 minutes.
    stale: bool,
    /// At most 200 agents: first those that are on the host now, then those that were.
    #[schemars(length(max = MAX_AGENTS))]
    agents: Vec<AgentOnHostJson>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FiguresOfAgent")]
struct AgentOnHostJson {
    agent_id: AgentId,
    series: SeriesJson,
}

/// Each list has an entry per time, `null` where nothing is known. Rates are means since the time before.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FigureSeries")]
struct SeriesJson {
    /// The memory that the container may use.
    memory_limit_bytes: Option<u64>,
    /// Memory in use.
    #[schemars(length(max = MAX_SAMPLES))]
    memory_bytes: Vec<Option<u64>>,
    /// Thousandths of a processor.
    #[schemars(length(max = MAX_SAMPLES))]
    cpu_millis: Vec<Option<u64>>,
    /// From the network.
    #[schemars(length(max = MAX_SAMPLES))]
    received_bytes_per_second: Vec<Option<u64>>,
    /// To the network.
    #[schemars(length(max = MAX_SAMPLES))]
    sent_bytes_per_second: Vec<Option<u64>>,
    /// From disks.
    #[schemars(length(max = MAX_SAMPLES))]
    read_bytes_per_second: Vec<Option<u64>>,
    /// To disks.
    #[schemars(length(max = MAX_SAMPLES))]
    written_bytes_per_second: Vec<Option<u64>>,
}

impl AgentFiguresJson {
    /// `samples` are those of the agent's host.
    #[must_use]
    pub fn new(mut samples: Vec<HostSample>, agent_id: AgentId, now: DateTime<Utc>) -> Self {
        samples.retain(|sample| sample.of(agent_id).is_some());
        Self {
            times: times(&samples),
            stale: is_stale(&samples, now),
            series: FigureSeries::of(&samples, agent_id).into(),
        }
    }
}

impl HostFiguresJson {
    #[must_use]
    pub fn new(samples: &[HostSample], now: DateTime<Utc>) -> Self {
        let agents = samples.iter().flat_map(|sample| &sample.agents);
        let mut ids: Vec<AgentId> = agents.map(|agent| agent.agent_id).collect();
        ids.sort_unstable();
        ids.dedup();
        // Those that are on the host now come before those that were.
        let is_gone = |id: &AgentId| samples.last().is_none_or(|last| last.of(*id).is_none());
        ids.sort_by_key(is_gone);
        ids.truncate(MAX_AGENTS);
        let agents = ids.into_iter().map(|agent_id| AgentOnHostJson {
            agent_id,
            series: FigureSeries::of(samples, agent_id).into(),
        });
        Self {
            times: times(samples),
            stale: is_stale(samples, now),
            agents: agents.collect(),
        }
    }
}

impl From<FigureSeries> for SeriesJson {
    fn from(series: FigureSeries) -> Self {
        Self {
            memory_limit_bytes: series.memory_limit_bytes,
            memory_bytes: series.memory_bytes,
            cpu_millis: series.cpu_millis,
            received_bytes_per_second: series.received_bytes,
            sent_bytes_per_second: series.sent_bytes,
            read_bytes_per_second: series.read_bytes,
            written_bytes_per_second: series.written_bytes,
        }
    }
}

fn times(samples: &[HostSample]) -> Vec<Timestamp> {
    samples.iter().map(|sample| Timestamp(sample.at)).collect()
}

fn is_stale(samples: &[HostSample], now: DateTime<Utc>) -> bool {
    samples
        .last()
        .is_some_and(|last| now - last.at > STALE_AFTER)
}
