//! The beginning of a refresh run. Owns: that each shard of the fleet is inspected by an invocation of its own, and the form
//! of the event that asks for it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tracing::error;

use crate::db;
use crate::db::Database;
use crate::domain::fleet::Shard;
use crate::domain::timestamp::Timestamp;
use crate::events::{Event, Publisher};

pub const REFRESH_SHARD: &str = "fleet.refresh_shard";

/// What became of a run over the whole fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dispatch {
    /// The fleet is one shard, which the caller inspects itself.
    Here(Shard),
    /// Events ask for the runs over the shards.
    Sent { hosts: usize },
}

/// Asks for a run over each shard, if there are several. `requested_at` is `None` for a scheduled run.
pub async fn dispatch(
    pool: &Database,
    publisher: &Publisher,
    requested_at: Option<DateTime<Utc>>,
) -> sqlx::Result<Dispatch> {
    let names = db::hosts::inspection::host_names(&mut pool.statements()).await?;
    let hosts = names.len();
    let mut shards = Shard::cut(names);
    if shards.len() == 1
        && let Some(whole) = shards.pop()
    {
        return Ok(Dispatch::Here(whole));
    }
    let events = shards.iter().map(|shard| Event {
        kind: REFRESH_SHARD.to_owned(),
        detail: json!({ "shard": shard, "requestedAt": requested_at.map(Timestamp) }),
    });
    let events: Vec<Event> = events.collect();
    let outcome = publisher.publish(&events).await;
    let refused = outcome.accepted.iter().filter(|accepted| !**accepted);
    let refused = refused.count();
    if refused > 0 {
        error!(
            refused,
            "events that ask for runs over shards not published; their hosts are inspected a minute later"
        );
    }
    Ok(Dispatch::Sent { hosts })
}

/// The shard that an event asks for. `None` if the event asks for a run over the fleet.
#[must_use]
pub fn shard_of(event: &Value) -> Option<Shard> {
    let is_of_shard = event["detail-type"] == REFRESH_SHARD;
    let shard = serde_json::from_value(event["detail"]["shard"].clone());
    shard.ok().filter(|_| is_of_shard)
}
