//! What all decisions of a part of a billing run have in common.

use chrono::{DateTime, Utc};

use crate::domain::hour::Hour;
use crate::domain::pricing::Prices;

/// How a part of a run decides.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Metered time is charged up to this hour.
    pub period_end: Hour,
    /// Billing's clock. It only sets new shutdown dates.
    pub now: DateTime<Utc>,
    pub prices: &'a Prices,
    /// A part charges about this many slices of one organization: then it completes the hour and stops.
    pub max_charges: usize,
}
