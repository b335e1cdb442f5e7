//! Usage spans and their slices. Owns: cutting a span at full hours and pricing the pieces.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use uuid::Uuid;

use crate::domain::hour::Hour;
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

const MICROSECONDS_PER_HOUR: i64 = 3_600_000_000;

/// What a span meters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A running agent.
    Running,
    /// A stopped agent whose backup is kept.
    Idle,
}

impl Kind {
    /// Reads the database's word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "running" => Some(Self::Running),
            "idle" => Some(Self::Idle),
            _ => None,
        }
    }

    /// The database's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Idle => "idle",
        }
    }
}

/// A stretch of time in which one agent was metered at one rate, as far as it is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The span.
    pub id: Uuid,
    /// The agent, which may be gone.
    pub agent_id: Uuid,
    /// Decides who is charged first.
    pub agent_created_at: DateTime<Utc>,
    /// The agent's owner.
    pub user_id: Uuid,
    /// The agent's name when the span began.
    pub agent_name: Option<String>,
    /// What is metered.
    pub kind: Kind,
    /// The agent's own running rate, in dollars per hour; none = the price list's.
    pub hourly_rate: Option<Decimal>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended; none = still open.
    pub ended_at: Option<DateTime<Utc>>,
    /// Charged up to here; none = nothing charged yet.
    pub billed_through: Option<DateTime<Utc>>,
}

/// The part of a span inside one clock hour: what one ledger row charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Its first instant.
    pub start: DateTime<Utc>,
    /// The instant after its last.
    pub end: DateTime<Utc>,
    /// Its price.
    pub amount: Money,
}

impl Slice {
    /// The clock hour it lies in.
    #[must_use]
    pub fn hour(&self) -> Hour {
        Hour::containing(self.start)
    }

    /// Its length in seconds.
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
            Kind::Running => self.hourly_rate.unwrap_or(prices.running_hourly),
            Kind::Idle => prices.idle_hourly,
        }
    }

    /// The first instant not yet charged.
    #[must_use]
    pub fn unbilled_from(&self) -> DateTime<Utc> {
        self.billed_through.unwrap_or(self.started_at)
    }

    /// Where its metered time ends, looked at up to `through`.
    #[must_use]
    pub fn end(&self, through: DateTime<Utc>) -> DateTime<Utc> {
        self.ended_at
            .map_or(through, |ended_at| ended_at.min(through))
    }

    /// The first slice at or after `from`, of what is metered up to `through`.
    #[must_use]
    pub fn slice_at(
        &self,
        from: DateTime<Utc>,
        through: DateTime<Utc>,
        prices: &Prices,
    ) -> Option<Slice> {
        let end = self.end(through).min(Hour::containing(from).next().start());
        (from < end).then(|| Slice {
            start: from,
            end,
            amount: amount(self.rate(prices), microseconds(from, end)),
        })
    }

    /// What its uncharged time from `from` up to `through` is worth: the sum of its slices, without
    /// walking the hours between the first and the last.
    #[must_use]
    pub fn worth(&self, from: DateTime<Utc>, through: DateTime<Utc>, prices: &Prices) -> Money {
        let Some(first) = self.slice_at(from, through, prices) else {
            return Money::ZERO;
        };
        let end = self.end(through);
        let last_hour = Hour::containing(end).start();
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

/// Microseconds from `start` to `end`: the database's grain.
pub(super) fn microseconds(start: DateTime<Utc>, end: DateTime<Utc>) -> i64 {
    end.timestamp_micros() - start.timestamp_micros()
}
