//! The fleet's snapshot in `DynamoDB`, the lease of the run that renews it, and agents' figures. Owns: the items, how a
//! snapshot is laid out in them, and the client, which is built at the first use. Does not own: when a
//! snapshot is stale, and who requests another one (`app`).
//!
//! It is a cache: losing the table loses nothing. A reader never sees a half-written snapshot, nor one
//! whose writer had lost the lease:
//! - `lease`/`lease`: the owner, the end, and the fencing token, which grows with each lease.
//! - `snapshot#0` and `snapshot#1`: two buffers for the parts of a snapshot (double buffering), each part
//!   under the token of its lease. A writer uses the buffer that the head does not name, and never overwrites
//!   the part of a newer token.
//! - `snapshot`/`head`: the buffer, token and format of the valid snapshot. It is written last, and only if
//!   the lease's token is still the writer's.
//! - `figures#<host>`/`<number>`: what the agents on a host used, one item per five minutes. See `figures`.

mod client;
mod figures;
mod item;
mod lease;
mod parts;
mod read;
mod stored;
mod write;

use std::fmt;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::OnceCell;

use crate::domain::fleet::FleetSnapshot;
pub use figures::TakenSample;
pub use lease::Lease;

/// A snapshot of this age reads as absent, and `DynamoDB` may delete it.
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
    pub snapshot: FleetSnapshot,
    /// The token of the lease that it was written under.
    pub token: u64,
    /// When the run began.
    pub began_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
}

/// One table.
pub struct Cache {
    table: String,
    endpoint: Option<String>,
    client: OnceCell<Client>,
    /// The last snapshot that was read. As long as the head still describes it, only the head is read.
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
