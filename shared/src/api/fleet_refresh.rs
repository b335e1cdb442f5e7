//! The refresh run of the fleet: scheduled every minute, and on the event `fleet.refresh_requested`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::app::fleet::refresh::{
    RefreshCounts, RefreshDeps, RefreshError, RefreshOutcome, fleet_refresh,
};
use crate::cache::Cache;
use crate::db::Database;
use crate::hosts::HostClient;
use crate::invocation::Invocation;
use crate::metrics::{self, FleetMetrics};

/// Below the minute between two scheduled runs, so that a run does not find the lease of the one before.
const MAX_RUN: Duration = Duration::from_secs(50);
/// A run ends this long before its invocation is ended.
const RESERVE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub hosts: HostClient,
    pub cache: Cache,
}

/// What the function returns: numbers only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    outcome: &'static str,
    hosts: usize,
    /// Hosts whose Docker Engine was read.
    read: usize,
    /// Hosts that the run had no time to inspect.
    late: usize,
    /// Agents that responded.
    heard: usize,
    disconnected: usize,
    regained: usize,
    /// Agents whose container is lost.
    lost: usize,
    /// Hosts whose number of allocated slots was corrected.
    slots: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum FleetRefreshError {
    #[error("the invocation has no id")]
    NoId(#[from] uuid::Error),
    /// The next minute is the retry.
    #[error(transparent)]
    Run(#[from] RefreshError),
}

/// Inspects the fleet. Does nothing for a request that a run has answered since.
pub async fn handle(
    deps: &Deps,
    event: Value,
    invocation: Invocation,
) -> Result<Answer, FleetRefreshError> {
    let owner = invocation.request_id.parse()?;
    let timeout = invocation.time_left(RESERVE).min(MAX_RUN);
    let deps = RefreshDeps {
        pool: &deps.pool,
        host_client: &deps.hosts,
        cache: &deps.cache,
        simulation: None,
    };
    let run = fleet_refresh(deps, requested_at(&event), owner, timeout);
    Ok(match Box::pin(run).await? {
        RefreshOutcome::Done(counts) => {
            let inspected = counts.hosts.saturating_sub(counts.not_inspected_hosts);
            let unreadable = inspected.saturating_sub(counts.read_hosts);
            let fleet = FleetMetrics {
                unreadable_hosts: unreadable,
                fullest_disk: counts.fullest_disk_percent,
            };
            metrics::record_fleet(fleet, counts.finished_at);
            answer("done", counts)
        }
        RefreshOutcome::Busy => answer("busy", RefreshCounts::default()),
        RefreshOutcome::Fresh => answer("fresh", RefreshCounts::default()),
        RefreshOutcome::Overtaken => answer("overtaken", RefreshCounts::default()),
        RefreshOutcome::Uncached(counts) => answer("uncached", counts),
    })
}

fn answer(outcome: &'static str, counts: RefreshCounts) -> Answer {
    Answer {
        outcome,
        hosts: counts.hosts,
        read: counts.read_hosts,
        late: counts.not_inspected_hosts,
        heard: counts.heartbeats,
        disconnected: counts.disconnected_agents,
        regained: counts.regained_agents,
        lost: counts.lost_agents,
        slots: counts.corrected_hosts,
    }
}

/// When a reader requested the run; `None` for the schedule's event.
fn requested_at(event: &Value) -> Option<DateTime<Utc>> {
    event["detail"]["requestedAt"].as_str()?.parse().ok()
}
