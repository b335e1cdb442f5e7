//! Usage spans and their slices. Owns: cutting a span at full hours and pricing the pieces.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::domain::hour::Hour;
use crate::domain::ids::{AgentId, SpanId, UserId};
use crate::domain::money::Money;
use crate::domain::pricing::Prices;
use crate::domain::words::words;

const MICROSECONDS_PER_HOUR: i64 = 3_600_000_000;

words! {
    /// What a span meters.
    pub enum SpanKind {
        Running = "running",
        /// A stopped agent whose backup is kept.
        Idle = "idle",
    }
}

/// A period in which one agent is metered at one rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub id: SpanId,
    /// The agent may be deleted by now.
    pub agent_id: AgentId,
    /// Older agents are charged first.
    pub agent_created_at: DateTime<Utc>,
    pub user_id: UserId,
    /// The agent's name when the span began.
    pub agent_name: Option<String>,
    pub kind: SpanKind,
    /// The agent's own running rate in dollars per hour; `None` for the price list's.
    pub hourly_rate: Option<Decimal>,
    pub started_at: DateTime<Utc>,
    /// `None` while the span is open.
    pub ended_at: Option<DateTime<Utc>>,
    /// The end of what is charged; `None` if nothing is charged yet.
    pub billed_through: Option<DateTime<Utc>>,
}

/// The part of a span inside one clock hour: what one ledger row charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    #[must_use]
    pub fn seconds(&self) -> Decimal {
        Decimal::new(microseconds(self.start, self.end), 6)
    }
}

impl Span {
    /// Dollars per hour.
    #[must_use]
    pub fn rate(&self, prices: &Prices) -> Decimal {
        match self.kind {
            SpanKind::Running => self.hourly_rate.unwrap_or(prices.running_hourly),
            SpanKind::Idle => prices.idle_hourly,
        }
    }

    /// The first instant that is not charged.
    #[must_use]
    pub fn unbilled_from(&self) -> DateTime<Utc> {
        self.billed_through.unwrap_or(self.started_at)
    }

    /// The end of the metered time, at most `through`.
    #[must_use]
    pub fn end(&self, through: DateTime<Utc>) -> DateTime<Utc> {
        self.ended_at
            .map_or(through, |ended_at| ended_at.min(through))
    }

    /// The slice that begins at `from`, cut at the full hour, at the end of the span and at `through`.
    #[must_use]
    pub fn slice_at(
        &self,
        from: DateTime<Utc>,
        through: DateTime<Utc>,
        prices: &Prices,
    ) -> Option<Slice> {
        let end = self
            .end(through)
            .min(Hour::containing(from).next().instant());
        (from < end).then(|| Slice {
            start: from,
            end,
            amount: amount(self.rate(prices), microseconds(from, end)),
        })
    }

    /// The price of the time from `from` to `through`: the sum of its slices, without iterating over the full hours in
    /// between.
    #[must_use]
    pub fn worth(&self, from: DateTime<Utc>, through: DateTime<Utc>, prices: &Prices) -> Money {
        let Some(first) = self.slice_at(from, through, prices) else {
            return Money::ZERO;
        };
        let end = self.end(through);
        let last_hour = Hour::containing(end).instant();
        if first.end >= last_hour {
            let rest = self.slice_at(first.end, through, prices);
            return first.amount + rest.map_or(Money::ZERO, |slice| slice.amount);
        }
        let rate = self.rate(prices);
        let full_hours = microseconds(first.end, last_hour) / MICROSECONDS_PER_HOUR;
        let per_hour = amount(rate, MICROSECONDS_PER_HOUR);
        first.amount
            + Money::rounded(per_hour.to_decimal() * Decimal::from(full_hours))
            + amount(rate, microseconds(last_hour, end))
    }
}

/// The price of `microseconds` at `rate` dollars per hour: rate x seconds / 3600, half-even to six
/// decimals. Exact for rates below 10^9 with four decimals: the product has at most 25 digits, and
/// the quotient's distance from a tie is far above the 28th digit.
#[must_use]
pub fn amount(rate: Decimal, microseconds: i64) -> Money {
    Money::rounded(rate * Decimal::from(microseconds) / Decimal::from(MICROSECONDS_PER_HOUR))
}

/// Microseconds from `start` to `end`. The database stores no finer time.
pub(super) fn microseconds(start: DateTime<Utc>, end: DateTime<Utc>) -> i64 {
    end.timestamp_micros() - start.timestamp_micros()
}
