//! The inspection of the fleet: every minute, and when somebody asked for it.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::app::fleet::refresh::{Counts, Refresh, RefreshError, Refreshed, fleet_refresh};
use crate::cache::Cache;
use crate::hosts::Fleet;
use crate::lambda::Invocation;

/// What a pass may take at most: the next one begins a minute after it.
const LONGEST: Duration = Duration::from_secs(50);
/// What is left of the invocation when a pass must be over.
const RESERVE: Duration = Duration::from_secs(2);

/// What the function needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// The hosts.
    pub fleet: Fleet,
    /// Where the snapshot goes.
    pub cache: Cache,
}

/// What was done: counts only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    outcome: &'static str,
    hosts: usize,
    read: usize,
    late: usize,
    heard: u64,
    disconnected: usize,
    regained: usize,
    lost: usize,
    slots: usize,
}

/// Why the fleet was not looked at.
#[derive(Debug, thiserror::Error)]
pub enum FleetRefreshError {
    /// The invocation has no id of the usual form.
    #[error("the invocation has no id")]
    NoId,
    /// The pass failed. The next minute is the retry.
    #[error(transparent)]
    Pass(#[from] RefreshError),
}

/// Looks at the fleet. An event `fleet.refresh_requested` whose question was answered meanwhile is done.
///
/// # Errors
/// [`FleetRefreshError`].
pub async fn handle(
    deps: &Deps,
    event: Value,
    invocation: Invocation,
) -> Result<Answer, FleetRefreshError> {
    let owner = Uuid::try_parse(&invocation.request_id).map_err(|_| FleetRefreshError::NoId)?;
    let refresh = Refresh {
        pool: &deps.pool,
        fleet: &deps.fleet,
        cache: &deps.cache,
    };
    let left = invocation
        .deadline
        .map(|deadline| deadline.saturating_duration_since(Instant::now() + RESERVE));
    let within = left.map_or(LONGEST, |left| left.min(LONGEST));
    let done = Box::pin(fleet_refresh(&refresh, asked(&event), owner, within)).await?;
    let (outcome, counts) = match done {
        Refreshed::Done(counts) => ("done", counts),
        Refreshed::Busy => ("busy", Counts::default()),
        Refreshed::Fresh => ("fresh", Counts::default()),
        Refreshed::Overtaken => ("overtaken", Counts::default()),
    };
    Ok(Answer {
        outcome,
        hosts: counts.hosts,
        read: counts.read,
        late: counts.late,
        heard: counts.heard,
        disconnected: counts.disconnected,
        regained: counts.regained,
        lost: counts.lost,
        slots: counts.slots,
    })
}

/// When somebody asked; none for the schedule's event.
fn asked(event: &Value) -> Option<DateTime<Utc>> {
    event["detail"]["requestedAt"].as_str()?.parse().ok()
}
