//! Usage spans and their slices. Owns: cutting a span at full hours and pricing the pieces.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::domain::hour::Hour;
use crate::domain::ids::{AgentId, SpanId};
use crate::domain::money::Money;
use crate::domain::words::words;

const MICROSECONDS_PER_HOUR: i64 = 3_600_000_000;

words! {
    /// What a span meters.
    pub enum SpanKind {
        Running = "running",
        /// An agent without a container whose backup is kept.
        Idle = "idle",
    }
}

/// A period in which one agent is metered at one rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub id: SpanId,
    /// The agent may be deleted by now.
    pub agent_id: AgentId,
    /// Within an hour, older agents are charged first.
    pub agent_created_at: DateTime<Utc>,
    /// Dollars per hour.
    pub hourly_rate: Decimal,
    pub started_at: DateTime<Utc>,
    /// `None` while the span is open.
    pub ended_at: Option<DateTime<Utc>>,
    /// The end of what is charged, as the span's own row says it. The mark may be later.
    pub billed_through: Option<DateTime<Utc>>,
    /// Whether the span is charged as far as its organization's account says.
    pub caught_up: bool,
    /// The first instant that is not charged.
    pub mark: DateTime<Utc>,
}

/// The part of a span inside one clock hour: what one charge is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slice {
    pub start: DateTime<Utc>,
    /// Exclusive.
    pub end: DateTime<Utc>,
    pub amount: Money,
}

impl Slice {
    #[must_use]
    pub fn hour(&self) -> Hour {
        Hour::containing(self.start)
    }
}

impl Span {
    /// The mark of a span whose account is charged up to `charged_through`.
    #[must_use]
    pub fn mark_at(&self, charged_through: Option<DateTime<Utc>>) -> DateTime<Utc> {
        let own = self
            .started_at
            .max(self.billed_through.unwrap_or(self.started_at));
        match charged_through.filter(|_| self.caught_up) {
            Some(through) => own.max(self.end(through)),
            None => own,
        }
    }

    /// The end of the metered time, at most `through`.
    #[must_use]
    pub fn end(&self, through: DateTime<Utc>) -> DateTime<Utc> {
        self.ended_at
            .map_or(through, |ended_at| ended_at.min(through))
    }

    /// The slice that begins at `from`, cut at the full hour, at the end of the span and at `through`.
    #[must_use]
    pub fn slice_at(&self, from: DateTime<Utc>, through: DateTime<Utc>) -> Option<Slice> {
        let end = self
            .end(through)
            .min(Hour::containing(from).next().instant());
        (from < end).then(|| Slice {
            start: from,
            end,
            amount: amount(self.hourly_rate, microseconds(from, end)),
        })
    }

    /// The price of the span's time from `from` to `through`.
    #[must_use]
    pub fn worth(&self, from: DateTime<Utc>, through: DateTime<Utc>) -> Money {
        worth(self.hourly_rate, from, self.end(through))
    }

    /// The price of what is metered but not charged up to `through`.
    #[must_use]
    pub fn uncharged(&self, through: DateTime<Utc>) -> Money {
        self.worth(self.mark, through)
    }
}

/// The price of the time from `from` to `through` at `rate` dollars per hour: the sum of its slices, without iterating
/// over the full hours in between.
#[must_use]
pub fn worth(rate: Decimal, from: DateTime<Utc>, through: DateTime<Utc>) -> Money {
    let first_hour = Hour::at_or_after(from).instant();
    let last_hour = Hour::containing(through).instant();
    if through <= from {
        return Money::ZERO;
    }
    if last_hour < first_hour {
        return amount(rate, microseconds(from, through));
    }
    let full_hours = microseconds(first_hour, last_hour) / MICROSECONDS_PER_HOUR;
    let per_hour = amount(rate, MICROSECONDS_PER_HOUR);
    amount(rate, microseconds(from, first_hour))
        + Money::rounded(per_hour.to_decimal() * Decimal::from(full_hours))
        + amount(rate, microseconds(last_hour, through))
}

/// The price of `microseconds` at `rate` dollars per hour: rate x seconds / 3600, half-even to six
/// decimals. Exact for rates below 10^9 with four decimals: the product has at most 25 digits, and a
/// quotient that is not a tie differs from one well before its 28th digit.
#[must_use]
pub fn amount(rate: Decimal, microseconds: i64) -> Money {
    Money::rounded(rate * Decimal::from(microseconds) / Decimal::from(MICROSECONDS_PER_HOUR))
}

/// Microseconds from `start` to `end`. The database stores no finer time.
pub(super) fn microseconds(start: DateTime<Utc>, end: DateTime<Utc>) -> i64 {
    end.timestamp_micros() - start.timestamp_micros()
}
