//! Which charges a span has. Owns: their keys, from how far the span is charged.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::{Builder, Uuid};

use super::period::Period;
use crate::domain::hour::Hour;
use crate::domain::ids::SpanId;

/// What tells one charge from another. The order is that of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChargeKey {
    pub period_start: DateTime<Utc>,
    pub span: SpanId,
}

const MICROSECONDS_PER_MILLISECOND: u64 = 1_000;
/// Keeps the identifiers of charges apart from those of entries, which have a number below 1,000 here.
const CHARGE_MARK: u64 = 1_000;

impl ChargeKey {
    /// The charge's identifier on the wire: a version 8 UUID like that of an entry, with 1,000 added to the 12 bits of
    /// the microseconds.
    #[must_use]
    pub fn uuid(self) -> Uuid {
        let micros = u64::try_from(self.period_start.timestamp_micros()).unwrap_or_default();
        let millis = micros / MICROSECONDS_PER_MILLISECOND;
        let rest = micros % MICROSECONDS_PER_MILLISECOND + CHARGE_MARK;
        let span = u64::try_from(self.span.get()).unwrap_or_default();
        let value = u128::from(millis) << 80 | u128::from(rest) << 64 | u128::from(span);
        Builder::from_custom_bytes(value.to_be_bytes()).into_uuid()
    }
}

/// How far a span is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChargedSpan {
    pub id: SpanId,
    pub started_at: DateTime<Utc>,
    /// Exclusive.
    pub charged_to: DateTime<Utc>,
}

/// The keys of a span's charges that begin in a period, newest first. Those of time that was written off have no charge.
pub fn charge_keys(span: ChargedSpan, period: Period) -> impl Iterator<Item = ChargeKey> {
    let end = span.charged_to.min(period.to);
    let last = (end > span.started_at).then(|| {
        let hour = Hour::containing(end - TimeDelta::microseconds(1)).instant();
        hour.max(span.started_at)
    });
    let earlier = move |start: &DateTime<Utc>| {
        let hour = Hour::containing(*start - TimeDelta::microseconds(1)).instant();
        (*start > span.started_at).then(|| hour.max(span.started_at))
    };
    std::iter::successors(last, earlier)
        .take_while(move |start| *start >= period.from)
        .map(move |period_start| ChargeKey {
            period_start,
            span: span.id,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{TransactionId, ledger_position};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    fn starts(started_at: &str, charged_to: &str, period: Period) -> Vec<String> {
        let span = ChargedSpan {
            id: SpanId::new(7),
            started_at: at(started_at),
            charged_to: at(charged_to),
        };
        let keys = charge_keys(span, period);
        keys.map(|key| key.period_start.format("%H:%M:%S%.f").to_string())
            .collect()
    }

    #[test]
    fn a_span_has_one_charge_per_clock_hour_that_it_touches() {
        for (started_at, charged_to, expected) in [
            (
                "10:20:00",
                "13:00:00",
                vec!["12:00:00", "11:00:00", "10:20:00"],
            ),
            (
                "10:00:00",
                "12:00:00.000001",
                vec!["12:00:00", "11:00:00", "10:00:00"],
            ),
            ("10:20:00", "10:20:00.000001", vec!["10:20:00"]),
            ("10:59:59.999999", "11:00:00", vec!["10:59:59.999999"]),
            ("10:20:00", "10:20:00", vec![]),
        ] {
            let day = |time: &str| format!("2026-03-01T{time}Z");
            let found = starts(&day(started_at), &day(charged_to), Period::ever());
            assert_eq!(found, expected, "{started_at} to {charged_to}");
        }
    }

    #[test]
    fn only_charges_that_begin_in_the_period_are_listed() {
        let period = Period {
            from: at("2026-03-01T10:20:00Z"),
            to: at("2026-03-01T12:00:00Z"),
        };
        let found = starts("2026-03-01T09:30:00Z", "2026-03-01T20:00:00Z", period);
        assert_eq!(found, ["11:00:00"]);
        let found = starts("2026-03-01T10:20:00Z", "2026-03-01T20:00:00Z", period);
        assert_eq!(found, ["11:00:00", "10:20:00"]);
    }

    #[test]
    fn the_identifier_of_a_charge_is_that_of_no_entry_and_of_no_other_charge() {
        let keys = [
            ("10:00:00", 1),
            ("10:00:00", 2),
            ("10:00:00.000999", 1),
            ("10:00:00.001", 1),
        ];
        let ids = keys.map(|(time, span)| {
            let key = ChargeKey {
                period_start: at(&format!("2026-03-01T{time}Z")),
                span: SpanId::new(span),
            };
            key.uuid()
        });
        for id in ids {
            assert_eq!(id.get_version_num(), 8);
            assert_eq!(ledger_position(TransactionId::new(id)), None);
        }
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
