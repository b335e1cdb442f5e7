//! The fleet's snapshot for readers. Owns: when a reader requests a refresh run, and how long it waits for
//! the first snapshot. Does not own: the run; nothing here connects to a host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::time::sleep;

use crate::cache::{Cache, CacheError, CachedSnapshot};
use crate::domain::timestamp::Timestamp;
use crate::events::{Event, Publisher};

/// How long a reader waits if nothing is cached. Below the function's own timeout of 29 s.
const FIRST_SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(20);
/// The wait before the cache is read again; it grows by half each time.
const MIN_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_millis(500);
/// How often a waiting reader requests a run. The cache passes on one request of all readers per interval.
const REQUEST_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct SnapshotRead {
    pub cached: Arc<CachedSnapshot>,
    /// By the database's clock.
    pub read_at: DateTime<Utc>,
}

/// The cached snapshot, however old. If none is cached, waits for the first; `None` if there is none in
/// time. A missing or stale snapshot makes one of all readers request a refresh run. `now` is the
/// database's time.
pub async fn fleet_snapshot(
    cache: &Cache,
    publisher: &Publisher,
    now: DateTime<Utc>,
) -> Result<Option<SnapshotRead>, CacheError> {
    let started = Instant::now();
    let mut last_request = None::<Instant>;
    let mut wait = MIN_WAIT;
    loop {
        let read_at = now + TimeDelta::from_std(started.elapsed()).unwrap_or_default();
        let result = cache.snapshot(read_at).await;
        let is_fresh = match &result {
            Ok(Some(cached)) => !cached.snapshot.overview.is_stale(read_at),
            Ok(None) | Err(CacheError::Unreadable) => false,
            Err(CacheError::Unavailable) => return Err(CacheError::Unavailable),
        };
        let is_request_due = last_request.is_none_or(|at| at.elapsed() >= REQUEST_INTERVAL);
        if !is_fresh && is_request_due {
            last_request = Some(Instant::now());
            request_refresh(cache, publisher, read_at).await;
        }
        if let Some(cached) = result? {
            return Ok(Some(SnapshotRead { cached, read_at }));
        }
        if started.elapsed() >= FIRST_SNAPSHOT_TIMEOUT {
            return Ok(None);
        }
        sleep(wait).await;
        wait = (wait * 3 / 2).min(MAX_WAIT);
    }
}

/// Requests a run unless another reader just did. A failure does not concern the reader: the next one
/// requests again.
async fn request_refresh(cache: &Cache, publisher: &Publisher, now: DateTime<Utc>) {
    if cache.claim_refresh_request(now).await == Ok(true) {
        let event = Event {
            kind: "fleet.refresh_requested".to_owned(),
            detail: json!({ "requestedAt": Timestamp(now) }),
        };
        publisher.publish(&[event]).await;
    }
}
