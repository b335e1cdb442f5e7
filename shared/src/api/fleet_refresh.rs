//! The refresh run of the fleet: scheduled every minute, and on the event `fleet.refresh_requested`. A large fleet is cut
//! into shards, each of which an invocation inspects on the event `fleet.refresh_shard`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::admin::fleet_render::{render_overview, render_sections};
use crate::app::fleet::dispatch::{Dispatch, dispatch, shard_of};
use crate::app::fleet::refresh::{
    RefreshCounts, RefreshDeps, RefreshError, RefreshOutcome, fleet_refresh,
};
use crate::app::fleet::renewal::RenewalDeps;
use crate::cache::Cache;
use crate::db::Database;
use crate::domain::fleet::Shard;
use crate::domain::ids::InvocationId;
use crate::events::Publisher;
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
    /// For requesting runs over shards.
    pub publisher: Publisher,
    /// The image of agents that name none.
    pub default_image: String,
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

impl From<sqlx::Error> for FleetRefreshError {
    fn from(error: sqlx::Error) -> Self {
        Self::Run(error.into())
    }
}

/// Inspects a shard, or the fleet, if it is one shard; otherwise asks for runs over its shards. Does nothing for a request
/// that a run has answered since.
pub async fn handle(
    deps: &Deps,
    event: Value,
    invocation: Invocation,
) -> Result<Answer, FleetRefreshError> {
    let owner = invocation.request_id.parse()?;
    let requested_at = requested_at(&event);
    let shard = match shard_of(&event) {
        Some(shard) => shard,
        None => match dispatch(&deps.pool, &deps.publisher, requested_at).await? {
            Dispatch::Here(shard) => shard,
            Dispatch::Sent { hosts } => {
                let counts = RefreshCounts {
                    hosts,
                    ..RefreshCounts::default()
                };
                return Ok(answer("sent", counts));
            }
        },
    };
    run(deps, &shard, requested_at, owner, &invocation).await
}

async fn run(
    deps: &Deps,
    shard: &Shard,
    requested_at: Option<DateTime<Utc>>,
    owner: InvocationId,
    invocation: &Invocation,
) -> Result<Answer, FleetRefreshError> {
    let timeout = invocation.time_left(RESERVE).min(MAX_RUN);
    let deps = RefreshDeps {
        pool: &deps.pool,
        host_client: &deps.hosts,
        renewal: RenewalDeps {
            cache: &deps.cache,
            render_sections,
            render_overview,
            default_image: &deps.default_image,
        },
        simulation: None,
    };
    let run = fleet_refresh(deps, shard, requested_at, owner, timeout);
    Ok(match Box::pin(run).await? {
        RefreshOutcome::Done { counts, fleet } => {
            if let Some(fleet) = fleet {
                let fleet = FleetMetrics {
                    unreadable_hosts: fleet.unreadable_hosts,
                    fullest_disk: fleet.fullest_disk_percent,
                };
                metrics::record_fleet(fleet, counts.finished_at);
            }
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
