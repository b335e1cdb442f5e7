//! What all decisions of a part of a billing run have in common.

use chrono::{DateTime, Utc};

use crate::domain::hour::Hour;
use crate::domain::pricing::Prices;

/// How a part of a run decides.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The hour up to which time is charged.
    pub period_end: Hour,
    /// Billing's clock. It only sets new shutdown dates.
    pub now: DateTime<Utc>,
    pub prices: &'a Prices,
    /// A part is full at this many charges. The hour in which it fills is completed.
    pub max_charges: usize,
}
