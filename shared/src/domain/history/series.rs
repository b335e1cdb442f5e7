//! A balance over time. Owns: what it was at the end of each step, and what was charged and added in it.

use chrono::{DateTime, TimeDelta, Utc};

use super::period::{Period, days_around, hours_around};
use crate::domain::money::Money;
use crate::domain::words::words;

words! {
    pub enum StepLength {
        Hour = "hour",
        Day = "day",
    }
}

impl StepLength {
    #[must_use]
    pub fn duration(self) -> TimeDelta {
        match self {
            Self::Hour => TimeDelta::hours(1),
            Self::Day => TimeDelta::days(1),
        }
    }

    /// The whole steps that a period touches.
    #[must_use]
    pub fn around(self, period: Period) -> Period {
        match self {
            Self::Hour => hours_around(period),
            Self::Day => days_around(period),
        }
    }
}

/// What the ledger says of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalanceChange {
    /// The start of the step.
    pub at: DateTime<Utc>,
    /// What the usage entries of the step took.
    pub charged: Money,
    /// After the last entry of the step.
    pub balance: Money,
}

/// What is known of a balance.
#[derive(Clone, Debug)]
pub struct BalanceHistory {
    /// The steps in which something changed, in the order of time. The first may be from before the period.
    pub changes: Vec<BalanceChange>,
    /// Since when the balance is known, and what it was then; `None` if the organization has no billing account yet.
    pub opened: Option<Opening>,
    /// The present balance; `None` if the organization's row holds no valid amount.
    pub balance: Option<Money>,
    pub now: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    pub at: DateTime<Utc>,
    pub balance: Money,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesStep {
    pub at: DateTime<Utc>,
    /// At the end of the step, or now if the step is not over.
    pub balance: Money,
    pub charged: Money,
    /// What changed the balance besides usage charges. Negative if more was taken than added. The step's balance is
    /// that of the step before, less `charged`, plus `added`.
    pub added: Money,
}

/// The steps of a period up to now, from the first whose balance is known.
#[must_use]
pub fn series(history: &BalanceHistory, period: Period, length: StepLength) -> Vec<SeriesStep> {
    let mut changes = history.changes.iter().peekable();
    let mut balance = history.opened.map(|opening| opening.balance);
    let mut is_known = false;
    while let Some(change) = changes.next_if(|change| change.at < period.from) {
        balance = Some(change.balance);
        is_known = true;
    }
    let starts = std::iter::successors(Some(period.from), |at| Some(*at + length.duration()));
    let starts = starts.take_while(|at| *at < period.to && *at <= history.now);
    let mut steps = Vec::new();
    for at in starts {
        let end = at + length.duration();
        let change = changes.next_if(|change| change.at < end);
        let current = history.balance.filter(|_| history.now < end);
        is_known |= history.opened.is_some_and(|opening| opening.at < end);
        is_known |= change.is_some() || current.is_some();
        let Some(closing) = current.or(change.map(|change| change.balance)).or(balance) else {
            continue;
        };
        if !is_known {
            continue;
        }
        let charged = change.map_or(Money::ZERO, |change| change.charged);
        steps.push(SeriesStep {
            at,
            balance: closing,
            charged,
            added: closing - balance.unwrap_or(closing) + charged,
        });
        balance = Some(closing);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> DateTime<Utc> {
        let start: DateTime<Utc> = "2026-03-01T00:00:00Z".parse().expect("a time");
        start + TimeDelta::hours(hour)
    }

    fn money(text: &str) -> Money {
        Money::rounded(text.parse().expect("a decimal"))
    }

    fn change(hour: i64, charged: &str, balance: &str) -> BalanceChange {
        BalanceChange {
            at: at(hour),
            charged: money(charged),
            balance: money(balance),
        }
    }

    /// The steps of hours `from` to `to` as texts: hour, balance, charged, added.
    fn steps(history: &BalanceHistory, from: i64, to: i64) -> Vec<String> {
        let period = Period {
            from: at(from),
            to: at(to),
        };
        let steps = series(history, period, StepLength::Hour);
        let text = |step: &SeriesStep| {
            let hour = (step.at - at(0)).num_hours();
            format!("{hour}: {} -{} +{}", step.balance, step.charged, step.added)
        };
        steps.iter().map(text).collect()
    }

    fn history() -> BalanceHistory {
        BalanceHistory {
            changes: vec![
                change(2, "1", "9"),
                change(4, "2", "12"),
                change(5, "0", "12"),
            ],
            opened: Some(Opening {
                at: at(2),
                balance: money("10"),
            }),
            balance: Some(money("11.5")),
            now: at(6) + TimeDelta::minutes(20),
        }
    }

    #[test]
    fn each_step_continues_the_one_before_up_to_now() {
        let expected = [
            "2: 9 -1 +0",
            "3: 9 -0 +0",
            "4: 12 -2 +5",
            "5: 12 -0 +0",
            "6: 11.5 -0 +-0.5",
        ];
        assert_eq!(steps(&history(), 0, 20), expected);
        assert_eq!(steps(&history(), 3, 5), expected[1..3]);
    }

    #[test]
    fn a_period_after_the_last_change_shows_its_balance() {
        let mut history = history();
        history.now = at(9);
        assert_eq!(
            steps(&history, 7, 20),
            ["7: 12 -0 +0", "8: 12 -0 +0", "9: 11.5 -0 +-0.5"]
        );
    }

    #[test]
    fn without_an_account_only_the_present_balance_is_known() {
        let history = BalanceHistory {
            changes: Vec::new(),
            opened: None,
            ..history()
        };
        assert_eq!(steps(&history, 0, 20), ["6: 11.5 -0 +0"]);
    }

    #[test]
    fn an_invalid_balance_leaves_what_the_ledger_says() {
        let history = BalanceHistory {
            balance: None,
            ..history()
        };
        assert_eq!(steps(&history, 5, 20), ["5: 12 -0 +0", "6: 12 -0 +0"]);
    }
}
