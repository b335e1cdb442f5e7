//! Periods of time. Owns: rounding them to whole hours and days in UTC.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

use crate::domain::hour::Hour;

/// From `from` on, before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

impl Period {
    /// The years that the API can show: 1900 to 9999.
    #[must_use]
    pub fn ever() -> Self {
        let new_year = |year| {
            let day = NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or_default();
            day.and_time(NaiveTime::MIN).and_utc()
        };
        Self {
            from: new_year(1_900),
            to: new_year(10_000),
        }
    }

    #[must_use]
    pub fn length(&self) -> TimeDelta {
        self.to - self.from
    }

    #[must_use]
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && at < self.to
    }
}

/// The whole hours that a period touches.
#[must_use]
pub fn hours_around(period: Period) -> Period {
    Period {
        from: Hour::containing(period.from).instant(),
        to: Hour::at_or_after(period.to).instant(),
    }
}

/// The whole days in UTC that a period touches.
#[must_use]
pub fn days_around(period: Period) -> Period {
    let start_of_day = |at: DateTime<Utc>| at.date_naive().and_time(NaiveTime::MIN).and_utc();
    let last = start_of_day(period.to);
    let to = if last == period.to {
        last
    } else {
        last + TimeDelta::days(1)
    };
    Period {
        from: start_of_day(period.from),
        to,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(from: &str, to: &str) -> Period {
        let at = |text: &str| text.parse().expect("a time");
        Period {
            from: at(from),
            to: at(to),
        }
    }

    #[test]
    fn a_period_grows_to_whole_hours_and_days() {
        let ragged = period("2026-02-28T10:20:30Z", "2026-02-28T23:00:00.000001Z");
        assert_eq!(
            hours_around(ragged),
            period("2026-02-28T10:00:00Z", "2026-03-01T00:00:00Z")
        );
        assert_eq!(
            days_around(ragged),
            period("2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z")
        );
        let whole = period("2026-02-28T00:00:00Z", "2026-03-02T00:00:00Z");
        assert_eq!((hours_around(whole), days_around(whole)), (whole, whole));
    }
}
