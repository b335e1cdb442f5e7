//! Clock hours in UTC, by which usage is charged. Owns: cutting time at full hours.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Serialize, Serializer};

/// The start of a clock hour in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(DateTime<Utc>);

impl Hour {
    /// The hour that contains `at`.
    #[must_use]
    pub fn containing(at: DateTime<Utc>) -> Self {
        let second = at.timestamp();
        let start = DateTime::from_timestamp(second - second.rem_euclid(3_600), 0);
        Self(start.unwrap_or(at))
    }

    /// The first full hour at or after `at`.
    #[must_use]
    pub fn at_or_after(at: DateTime<Utc>) -> Self {
        let hour = Self::containing(at);
        if hour.0 == at { hour } else { hour.next() }
    }

    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + TimeDelta::hours(1))
    }

    /// The hour's start as a point in time.
    #[must_use]
    pub fn instant(self) -> DateTime<Utc> {
        self.0
    }
}

impl Serialize for Hour {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn an_instant_lies_between_the_full_hours_around_it() {
        for (instant, floor, ceiling) in [
            (
                "2026-03-01T10:00:00Z",
                "2026-03-01T10:00:00Z",
                "2026-03-01T10:00:00Z",
            ),
            (
                "2026-03-01T10:00:00.000001Z",
                "2026-03-01T10:00:00Z",
                "2026-03-01T11:00:00Z",
            ),
            (
                "2026-03-01T10:59:59.999999999Z",
                "2026-03-01T10:00:00Z",
                "2026-03-01T11:00:00Z",
            ),
            (
                "1969-12-31T23:30:00.5Z",
                "1969-12-31T23:00:00Z",
                "1970-01-01T00:00:00Z",
            ),
        ] {
            assert_eq!(
                Hour::containing(at(instant)).instant(),
                at(floor),
                "{instant}"
            );
            assert_eq!(
                Hour::at_or_after(at(instant)).instant(),
                at(ceiling),
                "{instant}"
            );
        }
    }
}
