//! Positions in lists that are read page by page, newest row first.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The last row of the page before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagePosition {
    pub created_at: DateTime<Utc>,
    /// The row's primary key. A bare UUID: lists of different rows share this type.
    pub id: Uuid,
}
