//! What is wrong with a host. Owns: the thresholds.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::code::Code;
use super::pass::{NodeRow, Reading};
use crate::domain::health::{LATE_AFTER, STALE_AFTER, Severity, age};
use crate::domain::observation::Unread;
use crate::domain::placement::HostFacts;

/// Taken slots, in percent.
const SATURATION: (i64, i64) = (85, 100);
/// Use of the root file system and of the memory, in percent.
const DISK: (u64, u64) = (85, 95);
const MEMORY: (u64, u64) = (85, 95);
/// Share of the last minute in which something waited for I/O, in percent.
const IO_PRESSURE: (u64, u64) = (40, 70);
/// Load of the last minute per processor, in hundredths.
const LOAD: (u64, u64) = (200, 400);
/// Containers too many or too few.
const DRIFT: (u64, u64) = (1, 2);

/// Something that is wrong with a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub code: Code,
    /// The same in plain words, with the figure.
    pub text: String,
}

impl Alert {
    fn new(code: Code, severity: Severity, figure: &str) -> Self {
        let headline = code.headline(severity);
        let text = if figure.is_empty() {
            headline.to_owned()
        } else {
            format!("{headline}: {figure}")
        };
        Self {
            severity,
            code,
            text,
        }
    }
}

/// What a value means; both thresholds belong to what is above them.
fn level<T: PartialOrd>(value: &T, (warning, critical): &(T, T)) -> Option<Severity> {
    if value >= critical {
        Some(Severity::Critical)
    } else {
        (value >= warning).then_some(Severity::Warning)
    }
}

/// All that is wrong with a host. `expecting`: rows that expect a container there. The worst first, then
/// in the order of the codes.
pub(super) fn alerts(
    (row, reading): (&NodeRow, &Reading),
    (utilization, drift, expecting): (i64, Option<i64>, usize),
    now: DateTime<Utc>,
) -> Vec<Alert> {
    let mut found: Vec<Alert> = Vec::new();
    if let Err(why) = reading.docker() {
        let severity = match why {
            // It may be an attack, whatever is expected there.
            Unread::HostKeyMismatch => Severity::Critical,
            _ if !row.enabled && expecting == 0 => Severity::Info,
            Unread::Deadline => Severity::Warning,
            _ => Severity::Critical,
        };
        found.push(Alert::new(why.into(), severity, ""));
    }
    found.extend(last_check(row, reading, now));
    if row.enabled
        && let Some(severity) = level(&utilization, &SATURATION)
    {
        let figure = format!("{} of {} are taken", row.allocated_count, row.capacity);
        found.push(Alert::new(Code::Saturation, severity, &figure));
    }
    if let Ok(visit) = reading.visit() {
        found.extend(loads(&visit.facts));
        if visit.pinned_now {
            found.push(Alert::new(Code::Pinned, Severity::Info, ""));
        }
    }
    found.extend(drift.and_then(off_by));
    found.sort_by_key(|alert| alert.severity);
    found
}

/// How long a host that was not asked in this pass has not been asked.
fn last_check(row: &NodeRow, reading: &Reading, now: DateTime<Utc>) -> Option<Alert> {
    if reading.at().is_some() {
        return None;
    }
    let age = age(row.last_health_check.unwrap_or(row.created_at), now);
    let severity = level(&age, &(LATE_AFTER, STALE_AFTER))?;
    let since = match row.last_health_check {
        Some(_) => "the last check was",
        None => "never, it was registered",
    };
    let figure = format!("{since} {} minutes ago", age.num_minutes());
    Some(Alert::new(Code::LastCheck, severity, &figure))
}

fn loads(facts: &HostFacts) -> Vec<Alert> {
    let percent = |code, value: Option<u64>, limits| {
        let value = value?;
        let severity = level(&value, &limits)?;
        Some(Alert::new(code, severity, &format!("{value} %")))
    };
    let load = || {
        let (load, cpus) = (facts.load_1m_hundredths?, facts.cpus?.max(1));
        let limits = (LOAD.0.saturating_mul(cpus), LOAD.1.saturating_mul(cpus));
        let severity = level(&load, &limits)?;
        let processors = if cpus == 1 { "processor" } else { "processors" };
        let figure = format!("load {} on {cpus} {processors}", decimal(load));
        Some(Alert::new(Code::Load, severity, &figure))
    };
    let found = [
        percent(Code::Disk, facts.disk_used_percent, DISK),
        percent(Code::Memory, facts.memory_used_percent, MEMORY),
        percent(Code::IoPressure, facts.io_pressure_percent, IO_PRESSURE),
        load(),
    ];
    found.into_iter().flatten().collect()
}

fn off_by(drift: i64) -> Option<Alert> {
    let severity = level(&drift.unsigned_abs(), &DRIFT)?;
    let figure = format!(
        "{} too {}",
        drift.unsigned_abs(),
        if drift > 0 { "many" } else { "few" }
    );
    Some(Alert::new(Code::Drift, severity, &figure))
}

/// Hundredths as the kernel prints them: `4.05`.
pub(super) fn decimal(hundredths: u64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::super::Metadata;
    use super::super::code::UNUSED;
    use super::super::pass::{Docker, Visit};
    use super::*;
    use crate::domain::placement::is_saturated;
    use chrono::TimeDelta;
    use uuid::Uuid;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
    }

    fn row(enabled: bool, checked: Option<i64>) -> NodeRow {
        NodeRow {
            id: Uuid::nil(),
            node_id: "a".to_owned(),
            capacity: 100,
            allocated_count: 85,
            enabled,
            last_health_check: checked.map(|seconds| now() - TimeDelta::seconds(seconds)),
            metadata: Metadata::default(),
            created_at: now() - TimeDelta::days(1),
            updated_at: now(),
        }
    }

    fn told(facts: HostFacts, pinned_now: bool) -> Reading {
        Reading::Reached(Box::new(Visit {
            at: now(),
            latency_ms: 1,
            pinned_now,
            facts,
            docker: Ok(Docker::default()),
        }))
    }

    fn refused(why: Unread) -> Reading {
        Reading::Refused { at: now(), why }
    }

    fn found(reading: &Reading, utilization: i64, drift: i64) -> Vec<Alert> {
        alerts(
            (&row(true, None), reading),
            (utilization, Some(drift), 1),
            now(),
        )
    }

    fn facts(io: u64, percent: u64, load: u64) -> Reading {
        let facts = HostFacts {
            load_1m_hundredths: Some(load),
            cpus: Some(2),
            memory_used_percent: Some(percent),
            disk_used_percent: Some(percent),
            io_pressure_percent: Some(io),
        };
        told(facts, false)
    }

    #[test]
    fn f31_thresholds_belong_to_what_is_above_them_and_each_severity_has_its_text() {
        assert_eq!(found(&facts(39, 84, 399), 84, 0), []);
        let codes = [
            Code::Saturation,
            Code::Disk,
            Code::Memory,
            Code::IoPressure,
            Code::Load,
        ];
        let (mut warnings, mut criticals) = (Vec::new(), Vec::new());
        for (reading, utilization, drift, severity) in [
            (facts(40, 85, 400), 85, 1, Severity::Warning),
            (facts(69, 94, 799), 99, -1, Severity::Warning),
            (facts(70, 95, 800), 100, 2, Severity::Critical),
            (facts(100, 100, 45_100), 101, -2, Severity::Critical),
        ] {
            let alerts = found(&reading, utilization, drift);
            assert!(alerts.iter().all(|alert| alert.severity == severity));
            let expected = [codes.as_slice(), &[Code::Drift]].concat();
            assert_eq!(
                alerts.iter().map(|alert| alert.code).collect::<Vec<_>>(),
                expected
            );
            let (worst, texts) = match severity {
                Severity::Critical => (true, &mut criticals),
                _ => (false, &mut warnings),
            };
            // What takes no more by this table is what gets no more agents (F27).
            assert_eq!(
                reading
                    .visit()
                    .is_ok_and(|visit| is_saturated(&visit.facts)),
                worst
            );
            texts.extend(alerts.into_iter().map(|alert| {
                assert!(alert.text.starts_with(alert.code.headline(severity)));
                (alert.code, alert.code.headline(severity))
            }));
        }
        for (code, text) in &warnings {
            assert!(criticals.iter().all(|(_, other)| other != text), "{code:?}");
        }
    }

    #[test]
    fn f31_figures_are_told() {
        let texts = |reading: &Reading, utilization, drift| {
            let alerts = found(reading, utilization, drift);
            alerts
                .into_iter()
                .map(|alert| alert.text)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            texts(&facts(41, 96, 405), 85, -1),
            [
                "The disk is almost full: 96 %",
                "The memory is almost used up: 96 %",
                "Few slots are left: 85 of 100 are taken",
                "The disk is busy: 41 %",
                "The processors are busy: load 4.05 on 2 processors",
                "One container does not match the database: 1 too few",
            ]
        );
        assert_eq!(texts(&told(HostFacts::default(), false), 0, 0), [""; 0]);
    }

    #[test]
    fn a_host_that_was_not_read_says_why_and_an_unused_one_is_no_trouble() {
        let one = |enabled, reading: &Reading, expecting| {
            let row = row(enabled, Some(0));
            let found = alerts((&row, reading), (0, None, expecting), now());
            assert_eq!(found.len(), 1, "{found:?}");
            (found[0].severity, found[0].code, found[0].text.clone())
        };
        let gone = refused(Unread::Unreachable);
        let text = "The host cannot be reached".to_owned();
        let critical = (Severity::Critical, Code::Unreachable, text);
        assert_eq!(one(true, &gone, 0), critical);
        assert_eq!(one(false, &gone, 1), critical);
        let unused = (Severity::Info, Code::Unreachable, UNUSED.to_owned());
        assert_eq!(one(false, &gone, 0), unused);
        let other = one(false, &refused(Unread::HostKeyMismatch), 0);
        assert_eq!(
            (other.0, other.1),
            (Severity::Critical, Code::HostKeyMismatch)
        );
        let skipped = one(true, &Reading::NotInspected, 9);
        assert_eq!(
            (skipped.0, skipped.1),
            (Severity::Warning, Code::NotInspected)
        );
        let pinned = one(true, &told(HostFacts::default(), true), 0);
        assert_eq!((pinned.0, pinned.1), (Severity::Info, Code::Pinned));
    }

    #[test]
    fn a_host_that_is_passed_over_again_and_again_is_told_of() {
        for (checked, severity) in [
            (Some(-60), None),
            (Some(299), None),
            (Some(300), Some(Severity::Warning)),
            (Some(899), Some(Severity::Warning)),
            (Some(900), Some(Severity::Critical)),
            (None, Some(Severity::Critical)),
        ] {
            let found = last_check(&row(true, checked), &Reading::NotInspected, now());
            assert_eq!(found.map(|alert| alert.severity), severity, "{checked:?}");
        }
        let asked = refused(Unread::TimedOut);
        assert_eq!(last_check(&row(true, None), &asked, now()), None);
    }
}
