//! How long an organization's credit lasts.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use super::low_credit::low_credit_mark;
use super::slice::Span;
use crate::domain::history::Period;
use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// The future of the balance if no agent starts or stops. The last second that the API can show stands for all later
/// dates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// What billing runs could not charge, and carried debt.
    pub owed: Money,
    /// The cost of all open spans in dollars per hour.
    pub burn_per_hour: Money,
    /// Hours until the balance is zero, rounded down to two decimals; `None` if nothing is being spent.
    pub hours_left: Option<Decimal>,
    /// When the balance falls to the low-credit mark; `None` if never, or if it is not above it now.
    pub low_at: Option<DateTime<Utc>>,
    /// When the balance is zero; `None` if never.
    pub empty_at: Option<DateTime<Utc>>,
}

/// What a forecast starts from.
#[derive(Clone, Copy, Debug)]
pub struct Position<'a> {
    pub balance: Money,
    pub carried_debt: Money,
    /// The low-credit mark that the owner has set.
    pub own_low_credit_mark: Option<Money>,
    /// The spans of which something is not charged.
    pub spans: &'a [Span],
    /// The hour up to which the organization is decided; `None` if no run has decided it.
    pub decided_through: Option<DateTime<Utc>>,
}

impl Position<'_> {
    /// What billing runs could not charge, and carried debt.
    #[must_use]
    pub fn owed(&self) -> Money {
        let unpaid = self.decided_through.map(|through| self.unpaid(through));
        self.carried_debt + unpaid.unwrap_or(Money::ZERO)
    }

    fn unpaid(&self, through: DateTime<Utc>) -> Money {
        let spans = self.spans.iter();
        spans.map(|span| span.uncharged(through)).sum()
    }
}

/// The forecast at `now`. Time that is metered but not yet charged counts as spent.
#[must_use]
pub fn forecast(position: &Position<'_>, now: DateTime<Utc>, prices: &Prices) -> Forecast {
    let open = position.spans.iter().filter(|span| span.ended_at.is_none());
    let burn: Decimal = open.map(|span| span.hourly_rate).sum();
    let left = position.balance - position.carried_debt - position.unpaid(now);
    let hours_until = |amount: Money| {
        let above = (left - amount).to_decimal().max(Decimal::ZERO);
        above.checked_div(burn)
    };
    let last = Period::ever().to - TimeDelta::seconds(1);
    let reached = |amount| {
        let seconds = hours_until(amount)?.checked_mul(Decimal::from(3600));
        let at = seconds
            .and_then(|seconds| seconds.to_i64())
            .and_then(TimeDelta::try_seconds)
            .and_then(|length| now.checked_add_signed(length));
        Some(at.map_or(last, |at| at.min(last)))
    };
    let mark = low_credit_mark(position.own_low_credit_mark, burn, prices);
    Forecast {
        owed: position.owed(),
        burn_per_hour: Money::rounded(burn),
        hours_left: hours_until(Money::ZERO).map(|hours| {
            hours
                .round_dp_with_strategy(2, RoundingStrategy::ToZero)
                .normalize()
        }),
        low_at: if left > mark { reached(mark) } else { None },
        empty_at: reached(Money::ZERO),
    }
}
