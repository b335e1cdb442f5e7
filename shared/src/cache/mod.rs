//! The fleet's snapshot and agents' figures in `DynamoDB`. Owns: the items, how a snapshot is laid out in them, and the
//! client, which is built at the first use. Does not own: when a snapshot is stale, who requests another one (`app`), and
//! which run may renew it (`db::hosts::leases`).
//!
//! It is a cache: losing the table loses nothing. Each run over a shard writes its own part of the snapshot. A reader never
//! sees a half-written part, nor one that was written while a newer run over the shard was writing:
//! - `fence`/`<shard>`: the token of the newest lease of the shard whose owner has begun to write.
//! - `sections#<shard>#<buffer>` and `digest#<shard>#<buffer>`: what a run wrote, each item under the token of its lease. A
//!   run uses a buffer that the head does not name, and never overwrites the item of a newer token. Readers get the
//!   sections; the digest is for putting the overview together.
//! - `overview#<shard>#<buffer>`: the totals and incidents of the fleet as the run over this shard has put them together,
//!   each item under the version of the head.
//! - `snapshot`/`head-of-shards`: which of all these the valid snapshot consists of. This *head* is written last, only if the
//!   fence's token is still the writer's, and only if no other run has written it meanwhile: then the overview is put
//!   together anew.
//! - `figures#<host>`/`<number>`: what the agents on a host used, one item per five minutes. See `figures`.

mod client;
mod figures;
mod finished;
mod item;
mod parts;
mod piece;
mod read;
mod request;
mod stored;
mod write;

use std::fmt;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::OnceCell;

pub use figures::TakenSample;
pub use finished::{FinishedIncidents, FinishedOverview, FinishedSnapshot, Section};
pub use piece::{Piece, PiecedBody};
use stored::RunEntry;
pub use write::{NewRun, RenderOverview};

/// What a run wrote reads as absent at this age, and `DynamoDB` may delete it.
pub const SNAPSHOT_EXPIRES_AFTER: TimeDelta = TimeDelta::hours(24);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// `DynamoDB` gave no answer, or refused the call.
    #[error("the cache does not answer")]
    Unavailable,
    /// The stored items are not what this module writes.
    #[error("the cached snapshot cannot be read")]
    Unreadable,
}

#[derive(Clone, Debug)]
pub struct CachedSnapshot {
    pub snapshot: FinishedSnapshot,
    /// Another one for each snapshot.
    pub version: i64,
    expires_at: DateTime<Utc>,
    runs: Vec<CachedRun>,
}

/// The sections that a run over a shard wrote, also those that do not count.
#[derive(Clone, Debug)]
struct CachedRun {
    entry: RunEntry,
    sections: Vec<Arc<Section>>,
}

/// One table.
pub struct Cache {
    table: String,
    endpoint: Option<String>,
    client: OnceCell<Client>,
    /// The last snapshot that was read. What the head still describes of it is not read again.
    last_read: Mutex<Option<Arc<CachedSnapshot>>>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache")
    }
}

impl Cache {
    /// The table of this name, by the SDK's own settings: region, role, `AWS_ENDPOINT_URL_DYNAMODB`. Opens
    /// no connection.
    #[must_use]
    pub fn new(table: String) -> Self {
        Self {
            table,
            endpoint: None,
            client: OnceCell::new(),
            last_read: Mutex::default(),
        }
    }

    /// The table of this name in an emulator, with a made-up region and credentials.
    #[must_use]
    pub fn at(endpoint: &str, table: String) -> Self {
        Self {
            endpoint: Some(endpoint.to_owned()),
            ..Self::new(table)
        }
    }
}
