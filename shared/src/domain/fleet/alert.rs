//! What is wrong with a host. Owns: the codes of alerts and incidents with their texts, each severity
//! having its own text (F31), and which alerts a host has. Does not own: the thresholds (`load`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::health::age;
use super::load::{CHECK_AGE, DRIFT, Resource, SLOTS_PERCENT};
use super::observation::{HostInspection, HostReadError, HostRow};
use super::severity::Severity;

/// A disabled host on which no agent is expected needs no attention when it is not read.
const UNUSED_HOST: &str = "The host is disabled and empty, and was not read";

/// What an alert or an incident is about, for programs. [`AlertCode::headline`] says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertCode {
    // The host has not been inspected for a long time.
    LastCheck,
    // The host is busy.
    #[serde(rename = "saturation")]
    SlotsTaken,
    Disk,
    DockerDisk,
    Memory,
    IoPressure,
    Load,
    /// Starts on the host fail, so that other hosts are preferred.
    SetAside,
    /// The agents are not isolated, or nothing shows that they are (F77).
    Isolation,
    /// Moves of agents away from the host have failed.
    MovesFailed,
    // Something to clean up.
    Drift,
    Pinned,
    #[serde(rename = "ghost_running")]
    UnclaimedRunning,
    #[serde(rename = "ghost_not_running")]
    UnclaimedNotRunning,
    /// An unclaimed container of an agent that lives on another host (F26).
    SecondContainer,
    // An agent's container; `health` says what each means.
    ContainerFailed,
    ContainerUnknown,
    ContainerMissing,
    ContainerDegraded,
    ContainerStale,
    // The whole fleet.
    /// Most of it became unreadable in one run.
    FleetUnreadable,
    NoHosts,
    NoHostRead,
    NoFreeSlot,
    FewFreeSlots,
    /// The audit of billing found something.
    BillingFindings,
    /// The roll-out of a new default image has paused by itself.
    RollOutPaused,
    /// In JSON the error's own word: `unreachable`. Never `too_long` or `not_registered`: see the
    /// conversion below.
    #[serde(untagged)]
    HostNotRead(HostReadError),
}

impl From<HostReadError> for AlertCode {
    fn from(error: HostReadError) -> Self {
        Self::HostNotRead(match error {
            HostReadError::ResponseTooLarge => HostReadError::Protocol,
            HostReadError::NotRegistered => HostReadError::NotInspected,
            error => error,
        })
    }
}

impl From<Resource> for AlertCode {
    fn from(resource: Resource) -> Self {
        match resource {
            Resource::Disk => Self::Disk,
            Resource::DockerDisk => Self::DockerDisk,
            Resource::Memory => Self::Memory,
            Resource::IoPressure => Self::IoPressure,
            Resource::Load => Self::Load,
        }
    }
}

impl AlertCode {
    /// Whether nothing is known about the host's containers.
    #[must_use]
    pub fn is_host_not_read(self) -> bool {
        matches!(self, Self::HostNotRead(_))
    }

    /// Whether the host could not be read. A host that presented another key was reached.
    #[must_use]
    pub fn is_unread_host(self) -> bool {
        self.is_host_not_read() && self != Self::HostNotRead(HostReadError::HostKeyMismatch)
    }

    /// Whether the critical alert means that the host takes no more agents.
    #[must_use]
    pub fn is_about_capacity(self) -> bool {
        matches!(
            self,
            Self::SlotsTaken
                | Self::Disk
                | Self::DockerDisk
                | Self::Memory
                | Self::IoPressure
                | Self::Load
        )
    }

    /// The text without figures.
    #[must_use]
    pub fn headline(self, severity: Severity) -> String {
        if let Self::HostNotRead(error) = self {
            return match severity {
                Severity::Critical | Severity::Warning => error.to_string(),
                Severity::Info => UNUSED_HOST.to_owned(),
            };
        }
        let (critical, other) = self.texts();
        let text = match severity {
            Severity::Critical => critical,
            Severity::Warning | Severity::Info => other,
        };
        text.to_owned()
    }

    /// The texts of a critical alert and of others. A code with only one severity has the same text twice.
    fn texts(self) -> (&'static str, &'static str) {
        let same = |text| (text, text);
        match self {
            Self::HostNotRead(_) => same(UNUSED_HOST),
            Self::LastCheck => (
                "The host has not been inspected for a long time",
                "The host's inspection is late",
            ),
            Self::SlotsTaken => ("All slots are taken", "Few slots are left"),
            Self::Disk => ("The disk is almost full", "The disk is filling up"),
            Self::DockerDisk => (
                "Docker's disk is almost full",
                "Docker's disk is filling up",
            ),
            Self::Memory => ("The memory is almost used up", "The memory is running low"),
            Self::IoPressure => ("The disk cannot keep up", "The disk is busy"),
            Self::Load => ("The processors are overloaded", "The processors are busy"),
            Self::SetAside => same("Starts on the host fail; other hosts are preferred"),
            Self::Isolation => (
                "The agents are not isolated",
                "Nothing shows that the agents are isolated",
            ),
            Self::MovesFailed => same("Agents could not be moved to other hosts"),
            Self::Drift => (
                "Containers do not match the database",
                "One container does not match the database",
            ),
            Self::Pinned => same("The host's key was pinned at its first connection"),
            Self::UnclaimedRunning => same("An unclaimed container is running"),
            Self::UnclaimedNotRunning => same("An unclaimed container is left over"),
            Self::SecondContainer => same("An agent has a second container"),
            Self::ContainerFailed => same("has failed"),
            Self::ContainerUnknown => same("is in an unknown state"),
            Self::ContainerMissing => same("is missing"),
            Self::ContainerDegraded => same("is degraded"),
            Self::ContainerStale => ("is silent", "is silent, but its container is healthy"),
            Self::FleetUnreadable => same("Most of the fleet became unreadable at once"),
            Self::NoHosts => same("No host is enabled"),
            Self::NoHostRead => same("No host was read"),
            Self::NoFreeSlot => same("No agent can be placed"),
            Self::FewFreeSlots => same("The fleet is filling up"),
            Self::BillingFindings => same("Billing does not add up"),
            Self::RollOutPaused => same("The roll-out of the default image has paused"),
        }
    }
}

/// Something that is wrong with a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    pub severity: Severity,
    pub code: AlertCode,
    /// The headline, and the figure where there is one: `The disk is filling up: 86 %`.
    pub text: String,
}

impl Alert {
    fn new(code: AlertCode, severity: Severity) -> Self {
        Self {
            severity,
            code,
            text: code.headline(severity),
        }
    }

    fn with_figure(code: AlertCode, severity: Severity, figure: &str) -> Self {
        let text = format!("{}: {figure}", code.headline(severity));
        Self {
            severity,
            code,
            text,
        }
    }
}

/// What the alerts of a host depend on.
pub(super) struct HostCondition<'a> {
    pub(super) row: &'a HostRow,
    pub(super) inspection: &'a HostInspection,
    /// Allocated slots, in percent.
    pub(super) utilization_pct: i64,
    /// `None` if Docker was not read.
    pub(super) drift: Option<i64>,
    /// The number of rows that expect a container on the host.
    pub(super) expected_containers: usize,
}

/// The most severe alert comes first.
pub(super) fn alerts(host: &HostCondition<'_>, now: DateTime<Utc>) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = Vec::new();
    alerts.extend(not_read(host));
    alerts.extend(last_check(host, now));
    alerts.extend(slots_taken(host));
    alerts.extend(set_aside(host));
    alerts.extend(moves_failed(host));
    if let Ok(observation) = host.inspection.observation() {
        let shortages = observation.facts.shortages().into_iter();
        alerts.extend(shortages.map(|shortage| {
            Alert::with_figure(
                shortage.resource.into(),
                shortage.severity,
                &shortage.figure,
            )
        }));
        let is_used = host.row.enabled || host.expected_containers > 0;
        let gap = observation.isolation_gap().filter(|_| is_used);
        alerts.extend(
            gap.map(|gap| {
                Alert::with_figure(AlertCode::Isolation, gap.severity(), &gap.to_string())
            }),
        );
        if observation.pinned_by_this_run {
            alerts.push(Alert::new(AlertCode::Pinned, Severity::Info));
        }
    }
    alerts.extend(host.drift.and_then(drift));
    alerts.sort_by_key(|alert| alert.severity);
    alerts
}

fn not_read(host: &HostCondition<'_>) -> Option<Alert> {
    let error = host.inspection.engine().err()?;
    let severity = match error {
        // It may be an attack, even on a host that is not used.
        HostReadError::HostKeyMismatch => Severity::Critical,
        _ if !host.row.enabled && host.expected_containers == 0 => Severity::Info,
        HostReadError::NotInspected => Severity::Warning,
        _ => Severity::Critical,
    };
    Some(Alert::new(error.into(), severity))
}

/// A host that this run did not inspect and that no run has inspected for a long time.
fn last_check(host: &HostCondition<'_>, now: DateTime<Utc>) -> Option<Alert> {
    if host.inspection.inspected_at().is_some() {
        return None;
    }
    let (since, at) = match host.row.last_health_check {
        Some(at) => ("the last inspection was", at),
        None => ("never; registered", host.row.created_at),
    };
    let age = age(at, now);
    let severity = CHECK_AGE.severity(&age)?;
    let figure = format!("{since} {} minutes ago", age.num_minutes());
    Some(Alert::with_figure(AlertCode::LastCheck, severity, &figure))
}

fn slots_taken(host: &HostCondition<'_>) -> Option<Alert> {
    if !host.row.enabled {
        return None;
    }
    let severity = SLOTS_PERCENT.severity(&host.utilization_pct)?;
    let (taken, capacity) = (host.row.allocated_count, host.row.capacity);
    let figure = format!("{taken} of {capacity} are taken");
    Some(Alert::with_figure(AlertCode::SlotsTaken, severity, &figure))
}

fn set_aside(host: &HostCondition<'_>) -> Option<Alert> {
    let until = host.row.set_aside_until?;
    let figure = until.format("until %H:%M UTC, or a check of the host");
    let figure = figure.to_string();
    let alert = Alert::with_figure(AlertCode::SetAside, Severity::Warning, &figure);
    Some(alert)
}

fn moves_failed(host: &HostCondition<'_>) -> Option<Alert> {
    let agents = host.row.failed_moves;
    let figure = format!("{agents} in error");
    let alert = Alert::with_figure(AlertCode::MovesFailed, Severity::Warning, &figure);
    (agents > 0).then_some(alert)
}

fn drift(drift: i64) -> Option<Alert> {
    let severity = DRIFT.severity(&drift.unsigned_abs())?;
    let amount = if drift > 0 { "many" } else { "few" };
    let figure = format!("{} too {amount}", drift.unsigned_abs());
    Some(Alert::with_figure(AlertCode::Drift, severity, &figure))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::fixtures::{failed, host_row, now, observed};
    use super::super::isolation::PacketFilter;
    use super::super::load::HostFacts;
    use super::*;

    /// A host with 85 of 100 slots taken, inspected this many seconds ago.
    fn row(enabled: bool, last_check_age: Option<i64>) -> HostRow {
        HostRow {
            capacity: 100,
            allocated_count: 85,
            enabled,
            last_health_check: last_check_age.map(|seconds| now() - TimeDelta::seconds(seconds)),
            created_at: now() - TimeDelta::days(1),
            ..host_row("a")
        }
    }

    fn observed_facts(facts: HostFacts, pinned_by_this_run: bool) -> HostInspection {
        let mut observation = observed(Ok(super::super::EngineObservation::default()));
        observation.facts = facts;
        observation.pinned_by_this_run = pinned_by_this_run;
        HostInspection::Observed(Box::new(observation))
    }

    fn alerts_of(inspection: &HostInspection, utilization_pct: i64, drift: i64) -> Vec<Alert> {
        let host = HostCondition {
            row: &row(true, None),
            inspection,
            utilization_pct,
            drift: Some(drift),
            expected_containers: 1,
        };
        alerts(&host, now())
    }

    fn facts(io_pressure: u64, percent: u64, load: u64) -> HostInspection {
        let facts = HostFacts {
            load_1m_hundredths: Some(load),
            cpus: Some(2),
            memory_used_percent: Some(percent),
            disk_used_percent: Some(percent),
            docker_disk_used_percent: Some(percent),
            io_pressure_percent: Some(io_pressure),
            packet_filter: PacketFilter::Unknown,
        };
        observed_facts(facts, false)
    }

    #[test]
    fn f31_a_value_on_a_threshold_reaches_it_and_each_severity_has_its_own_text() {
        assert_eq!(alerts_of(&facts(39, 84, 399), 84, 0), []);
        let expected_codes = [
            AlertCode::SlotsTaken,
            AlertCode::Disk,
            AlertCode::DockerDisk,
            AlertCode::Memory,
            AlertCode::IoPressure,
            AlertCode::Load,
            AlertCode::Drift,
        ];
        for (inspection, utilization, drift, severity) in [
            (facts(40, 85, 400), 85, 1, Severity::Warning),
            (facts(69, 94, 799), 99, -1, Severity::Warning),
            (facts(70, 95, 800), 100, 2, Severity::Critical),
            (facts(100, 100, 45_100), 101, -2, Severity::Critical),
        ] {
            let alerts = alerts_of(&inspection, utilization, drift);
            assert!(alerts.iter().all(|alert| alert.severity == severity));
            let codes: Vec<AlertCode> = alerts.iter().map(|alert| alert.code).collect();
            assert_eq!(codes, expected_codes);
            for alert in alerts {
                assert!(alert.text.starts_with(&alert.code.headline(severity)));
            }
        }
        let texts = |severity| expected_codes.map(|code| code.headline(severity));
        let warnings = texts(Severity::Warning);
        for critical in texts(Severity::Critical) {
            assert!(!warnings.contains(&critical), "{critical}");
        }
    }

    #[test]
    fn f31_alerts_contain_their_figures() {
        let texts = |inspection: &HostInspection, utilization, drift| {
            let alerts = alerts_of(inspection, utilization, drift);
            alerts
                .into_iter()
                .map(|alert| alert.text)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            texts(&facts(41, 96, 405), 85, -1),
            [
                "The disk is almost full: 96 %",
                "Docker's disk is almost full: 96 %",
                "The memory is almost used up: 96 %",
                "Few slots are left: 85 of 100 are taken",
                "The disk is busy: 41 %",
                "The processors are busy: load 4.05 on 2 processors",
                "One container does not match the database: 1 too few",
            ]
        );
        let no_facts = observed_facts(HostFacts::default(), false);
        assert_eq!(texts(&no_facts, 0, 0), [""; 0]);
    }

    #[test]
    fn an_unread_host_gives_one_alert_that_is_info_if_the_host_is_unused() {
        let only_alert = |enabled, inspection: &HostInspection, expected_containers| {
            let host = HostCondition {
                row: &row(enabled, Some(0)),
                inspection,
                utilization_pct: 0,
                drift: None,
                expected_containers,
            };
            let mut alerts = alerts(&host, now());
            assert_eq!(alerts.len(), 1, "{alerts:?}");
            alerts.remove(0)
        };
        let unreachable = failed(HostReadError::Unreachable);
        let alert = |severity, text: &str| Alert {
            severity,
            code: AlertCode::HostNotRead(HostReadError::Unreachable),
            text: text.to_owned(),
        };
        let critical = alert(Severity::Critical, "The host cannot be reached");
        assert_eq!(only_alert(true, &unreachable, 0), critical);
        assert_eq!(only_alert(false, &unreachable, 1), critical);
        let unused = alert(Severity::Info, UNUSED_HOST);
        assert_eq!(only_alert(false, &unreachable, 0), unused);
        let mismatch = only_alert(false, &failed(HostReadError::HostKeyMismatch), 0);
        assert_eq!(mismatch.severity, Severity::Critical);
        let not_inspected = only_alert(true, &HostInspection::NotInspected, 9);
        assert_eq!(not_inspected.severity, Severity::Warning);
        let pinned = only_alert(true, &observed_facts(HostFacts::default(), true), 0);
        assert_eq!(pinned.severity, Severity::Info);
        assert_eq!(pinned.code, AlertCode::Pinned);
    }

    #[test]
    fn a_host_that_runs_do_not_inspect_for_minutes_gives_an_alert() {
        let severity = |last_check_age, inspection| {
            let host = HostCondition {
                row: &row(true, last_check_age),
                inspection,
                utilization_pct: 0,
                drift: None,
                expected_containers: 0,
            };
            last_check(&host, now()).map(|alert| alert.severity)
        };
        for (last_check_age, expected) in [
            (Some(-60), None),
            (Some(299), None),
            (Some(300), Some(Severity::Warning)),
            (Some(899), Some(Severity::Warning)),
            (Some(900), Some(Severity::Critical)),
            (None, Some(Severity::Critical)),
        ] {
            let found = severity(last_check_age, &HostInspection::NotInspected);
            assert_eq!(found, expected, "{last_check_age:?}");
        }
        assert_eq!(severity(None, &failed(HostReadError::TimedOut)), None);
    }

    #[test]
    fn codes_serialize_as_one_word_and_parse_back() {
        for (code, word) in [
            (HostReadError::Unreachable.into(), "unreachable"),
            (HostReadError::NotInspected.into(), "not_inspected"),
            (HostReadError::NotRegistered.into(), "not_inspected"),
            (HostReadError::ResponseTooLarge.into(), "protocol"),
            (AlertCode::UnclaimedNotRunning, "ghost_not_running"),
            (AlertCode::LastCheck, "last_check"),
            (AlertCode::SlotsTaken, "saturation"),
        ] {
            assert_eq!(serde_json::json!(code), word);
            let parsed: AlertCode = serde_json::from_value(word.into()).expect("a code");
            assert_eq!(parsed, code);
        }
    }
}
