//! The fleet's snapshot in `DynamoDB`, and the lease of whoever renews it. Owns: the items and how a
//! snapshot is laid out in them, and the client, made when it is first needed. Does not own: when a
//! snapshot is too old, who asks for another one (`app`).
//!
//! It is a cache: losing the table loses nothing. What every item must keep to is that a reader never
//! sees half a snapshot, nor one that somebody wrote whose lease was over:
//! - `lease`/`lease`: who renews, until when, and the fencing token, one more with each lease.
//! - `snapshot#0` and `snapshot#1`: the parts of two snapshots, each under the token of its lease. A
//!   writer takes the place that the head does not name, and never overwrites a newer token's part.
//! - `snapshot`/`head`: which place and token hold. It is written last, and only while the lease's
//!   token is still the writer's.

mod client;
mod item;
mod lease;
mod parts;
mod read;
mod write;

use std::fmt;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::OnceCell;

use crate::domain::fleet::Snapshot;
pub use lease::Lease;

/// A snapshot is kept for so long.
pub const KEPT: TimeDelta = TimeDelta::hours(24);

/// There is no telling what is cached. What it displays holds no text of anybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// `DynamoDB` gave no answer, or refused one.
    #[error("the cache does not answer")]
    Away,
    /// What is stored cannot be read.
    #[error("what is cached cannot be read")]
    Broken,
}

/// A cached snapshot.
#[derive(Clone, Debug)]
pub struct Cached {
    /// What was cached. It does not know how old it is by now: see [`Snapshot::seen_at`].
    pub snapshot: Snapshot,
    /// The token of the lease it was written under: newer ones are larger.
    pub token: u64,
    /// When the pass began that it is of.
    pub began: DateTime<Utc>,
    /// From when on it counts as gone.
    pub(crate) expires_at: DateTime<Utc>,
}

/// One table.
pub struct Cache {
    table: String,
    endpoint: Option<String>,
    client: OnceCell<Client>,
    /// The last snapshot that was read: while its token holds, only the head is read.
    copy: Mutex<Option<Arc<Cached>>>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache")
    }
}

impl Cache {
    /// The table of this name, where the SDK's own settings say: region, role,
    /// `AWS_ENDPOINT_URL_DYNAMODB`. Nothing is opened before the first use.
    #[must_use]
    pub fn new(table: String) -> Self {
        Self {
            table,
            endpoint: None,
            client: OnceCell::new(),
            copy: Mutex::default(),
        }
    }

    /// The table of this name in a stand-in for `DynamoDB`, with a region and credentials that are made
    /// up.
    #[must_use]
    pub fn at(endpoint: &str, table: String) -> Self {
        Self {
            endpoint: Some(endpoint.to_owned()),
            ..Self::new(table)
        }
    }
}
