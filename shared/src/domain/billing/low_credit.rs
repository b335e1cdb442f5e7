//! Low credit: from which balance on the owner is warned, and how often.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;

use crate::domain::money::Money;
use crate::domain::pricing::Prices;

/// Without a mark of its own, an organization is warned when its balance lasts for fewer hours than these. A weekend and
/// a day: whoever reads the mail on Monday can still pay.
const MARK_HOURS: i64 = 72;
/// Low credit is announced at most once in this time.
const NOTICE_INTERVAL: TimeDelta = TimeDelta::hours(24);

/// The balance below which the owner is warned: their own mark, or the low-credit limit, or what the open spans cost in
/// 72 hours if that is more. `burn` is their cost per hour.
#[must_use]
pub fn low_credit_mark(own: Option<Money>, burn: Decimal, prices: &Prices) -> Money {
    own.unwrap_or_else(|| Money::rounded(burn * Decimal::from(MARK_HOURS)).max(prices.low_credit))
}

/// Whether low credit may be announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LowCreditNotice {
    /// When it was announced last.
    pub noticed_at: Option<DateTime<Utc>>,
    /// Whether the balance has stood above the mark for an hour since then.
    pub is_armed: bool,
}

/// Of an organization that was never warned.
impl Default for LowCreditNotice {
    fn default() -> Self {
        Self {
            noticed_at: None,
            is_armed: true,
        }
    }
}

impl LowCreditNotice {
    /// What holds after the run at `at`, and whether that run announces low credit. `low_since` is what the run before it
    /// found: runs are an hour apart, so two of them that find the balance above the mark mean that it stood there for an
    /// hour. A shutdown warning says that the balance is low, so it stands for the announcement.
    pub(super) fn after(
        self,
        low_since: Option<DateTime<Utc>>,
        is_low: bool,
        warns_of_shutdown: bool,
        at: DateTime<Utc>,
    ) -> (Self, bool) {
        if !is_low {
            let is_armed = self.is_armed || low_since.is_none();
            return (Self { is_armed, ..self }, false);
        }
        let is_too_early = self
            .noticed_at
            .is_some_and(|noticed_at| at < noticed_at + NOTICE_INTERVAL);
        let announces = self.is_armed && !is_too_early && !warns_of_shutdown;
        let after = if announces || warns_of_shutdown {
            Self {
                noticed_at: Some(at),
                is_armed: false,
            }
        } else {
            self
        };
        (after, announces)
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    fn hour(n: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(n * 3600, 0).expect("a time")
    }

    #[test]
    fn the_mark_is_the_owners_or_what_agents_cost_in_three_days() {
        let prices = Prices::default();
        let usd = Money::rounded;
        for (own, burn, mark) in [
            (None, dec!(0), dec!(2)),
            (None, dec!(0.02), dec!(2)),
            (None, dec!(0.04), dec!(2.88)),
            (Some(usd(dec!(0))), dec!(0.04), dec!(0)),
            (Some(usd(dec!(50))), dec!(0.04), dec!(50)),
        ] {
            assert_eq!(low_credit_mark(own, burn, &prices), usd(mark), "{own:?}");
        }
    }

    /// The hours at which low credit is announced, if the balance is low in these hours.
    fn announced(is_low: impl Fn(i64) -> bool) -> Vec<i64> {
        let mut notice = LowCreditNotice::default();
        let mut low_since = None;
        let mut hours = Vec::new();
        for at in 1..=200 {
            let (after, announces) = notice.after(low_since, is_low(at), false, hour(at));
            low_since = is_low(at).then(|| low_since.unwrap_or(hour(at)));
            notice = after;
            if announces {
                hours.push(at);
            }
        }
        hours
    }

    #[test]
    fn low_credit_is_announced_once_while_the_balance_stays_low() {
        assert_eq!(announced(|at| at >= 5), [5]);
    }

    #[test]
    fn low_credit_is_announced_again_only_after_an_hour_above_the_mark() {
        // Above at one run only.
        assert_eq!(announced(|at| at != 50), [1]);
        // Above at two runs, which are an hour apart.
        assert_eq!(announced(|at| at != 50 && at != 51), [1, 52]);
    }

    #[test]
    fn low_credit_is_announced_at_most_once_a_day() {
        // Above for two hours of every four: the announcement waits until a day has passed.
        let hours = announced(|at| at % 4 < 2);
        assert!(hours.len() > 5, "{hours:?}");
        assert!(
            hours.windows(2).all(|pair| pair[1] - pair[0] >= 24),
            "{hours:?}"
        );
    }

    #[test]
    fn a_shutdown_warning_stands_for_the_announcement() {
        let notice = LowCreditNotice::default();
        let (after, announces) = notice.after(None, true, true, hour(1));
        assert!(!announces);
        assert_eq!(
            after.after(Some(hour(1)), true, false, hour(2)),
            (after, false)
        );
    }
}
