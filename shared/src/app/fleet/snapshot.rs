//! The fleet's snapshot for whoever looks at it. Owns: when another one is asked for, and how long
//! somebody waits for the first. Does not own: making it; nothing here reaches a host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::json;
use tokio::time::sleep;

use crate::cache::{Cache, CacheError, Cached};
use crate::events::{Event, Publisher};

/// What somebody waits for the first snapshot.
const WITHIN: Duration = Duration::from_secs(20);
/// The first and the longest wait before the cache is looked at again.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// How often one that waits asks for a pass; the cache lets one of all through.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// A snapshot and the time at which it was looked at.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The snapshot.
    pub cached: Arc<Cached>,
    /// By billing's clock.
    pub at: DateTime<Utc>,
}

/// The snapshot there is, `now` or, if there is none, as soon as there is one; none when there was none
/// in time. If it is stale or missing, one of all who look asks for another one.
///
/// # Errors
/// [`CacheError`].
pub async fn fleet_snapshot(
    cache: &Cache,
    publisher: &Publisher,
    now: DateTime<Utc>,
) -> Result<Option<Seen>, CacheError> {
    let began = Instant::now();
    let (mut asked, mut wait) = (None::<Instant>, FIRST_WAIT);
    loop {
        let at = now + TimeDelta::from_std(began.elapsed()).unwrap_or_default();
        let found = cache.snapshot(at).await;
        let fresh = match &found {
            Ok(Some(cached)) => !cached.snapshot.is_stale(at),
            Ok(None) | Err(CacheError::Broken) => false,
            Err(CacheError::Away) => return Err(CacheError::Away),
        };
        if !fresh && asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
            asked = Some(Instant::now());
            ask(cache, publisher, at).await;
        }
        if let Some(cached) = found? {
            return Ok(Some(Seen { cached, at }));
        }
        if began.elapsed() >= WITHIN {
            return Ok(None);
        }
        sleep(wait).await;
        wait = (wait * 3 / 2).min(LONGEST_WAIT);
    }
}

/// Asks for a pass unless somebody just did. Whether that works changes nothing for who looks: the next
/// one asks again.
async fn ask(cache: &Cache, publisher: &Publisher, at: DateTime<Utc>) {
    if cache.refresh_ask(at).await == Ok(true) {
        let requested_at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let event = Event {
            kind: "fleet.refresh_requested".to_owned(),
            detail: json!({ "requestedAt": requested_at }),
        };
        publisher.publish(&[event]).await;
    }
}
