//! Where an organization's credit is going. Owns: the figures an owner plans by.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use super::slice::Span;
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// An outlook from now on, as if nothing starts or stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// What ticks could not charge.
    pub owed: Money,
    /// Dollars per hour all open spans cost together.
    pub burn_per_hour: Money,
    /// Hours until nothing is left, two decimals, rounded down; none = nothing is being spent.
    pub hours_left: Option<Decimal>,
    /// When the balance reaches the warning mark; none = never, or it is below already.
    pub low_at: Option<DateTime<Utc>>,
    /// When nothing is left; none = never.
    pub empty_at: Option<DateTime<Utc>>,
}

/// Looks ahead from `now`. Time that is metered but not yet charged counts as spent.
/// `decided_through`: the last tick that decided this organization; none = no tick has.
#[must_use]
pub fn forecast(
    balance: Money,
    spans: &[Span],
    decided_through: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    prices: &Prices,
) -> Forecast {
    let unpaid = |through: DateTime<Utc>| -> Money {
        spans
            .iter()
            .map(|span| span.worth(span.unbilled_from(), through, prices))
            .sum()
    };
    let open = spans.iter().filter(|span| span.ended_at.is_none());
    let burn: Decimal = open.map(|span| span.rate(prices)).sum();
    let left = balance - unpaid(now);
    let hours_until = |mark: Money| {
        let above = (left - mark).to_decimal().max(Decimal::ZERO);
        above.checked_div(burn).filter(|_| burn > Decimal::ZERO)
    };
    let reached = |mark| {
        let seconds = (hours_until(mark)? * Decimal::from(3600)).to_i64()?;
        now.checked_add_signed(TimeDelta::try_seconds(seconds)?)
    };
    Forecast {
        owed: decided_through.map_or(Money::ZERO, unpaid),
        burn_per_hour: Money::rounded(burn),
        hours_left: hours_until(Money::ZERO).map(|hours| {
            hours
                .round_dp_with_strategy(2, RoundingStrategy::ToZero)
                .normalize()
        }),
        low_at: if left > prices.low_credit {
            reached(prices.low_credit)
        } else {
            None
        },
        empty_at: reached(Money::ZERO),
    }
}
