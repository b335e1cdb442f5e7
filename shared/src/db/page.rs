//! Positions in lists that are read page by page, newest row first.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The last row of the page before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagePosition {
    pub created_at: DateTime<Utc>,
    /// The row's number in the ledger; `None` in other lists, and for a ledger row of another application.
    pub seq: Option<i64>,
    /// The row's primary key. A bare UUID: lists of agents and of ledger rows share this type.
    pub id: Uuid,
}
