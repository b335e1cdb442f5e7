//! How busy a host is. Owns: its own figures, and every threshold for them.

use chrono::TimeDelta;

use super::isolation::PacketFilter;
use super::severity::Severity;

/// A host's own figures. `None` for what the host did not report. Percentages are rounded down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The load average of the last minute, in hundredths.
    pub load_1m_hundredths: Option<u64>,
    /// The number of processors.
    pub cpus: Option<u64>,
    /// Memory that is not available, in percent.
    pub memory_used_percent: Option<u64>,
    /// Use of the root file system, in percent.
    pub disk_used_percent: Option<u64>,
    /// Use of the file system that holds Docker's data, in percent. `None` if that is the root file system.
    pub docker_disk_used_percent: Option<u64>,
    /// Share of the last minute in which some process waited for I/O, in percent.
    pub io_pressure_percent: Option<u64>,
    pub packet_filter: PacketFilter,
}

/// From this use of its disk on, what nobody needs is removed from a host (F76): before the disk is an alert.
pub const CLEANUP_DISK_PERCENT: u64 = 80;
/// From this use of its disk on, a host counts as degraded. It lies between the warning, which leaves time to
/// clean up, and the limit from which the host gets no more agents.
pub const DEGRADED_DISK_PERCENT: u64 = 90;

/// A value that equals a threshold has reached it.
pub(super) struct Thresholds<T> {
    pub(super) warning: T,
    pub(super) critical: T,
}

/// Allocated slots, in percent.
pub(super) const SLOTS_PERCENT: Thresholds<i64> = Thresholds {
    warning: 85,
    critical: 100,
};
/// A host that reaches a critical threshold of these four gets no more agents (F27).
const DISK_PERCENT: Thresholds<u64> = Thresholds {
    warning: 85,
    critical: 95,
};
const MEMORY_PERCENT: Thresholds<u64> = Thresholds {
    warning: 85,
    critical: 95,
};
const IO_PRESSURE_PERCENT: Thresholds<u64> = Thresholds {
    warning: 40,
    critical: 70,
};
const LOAD_HUNDREDTHS_PER_CPU: Thresholds<u64> = Thresholds {
    warning: 200,
    critical: 400,
};
/// Containers more or fewer than the database expects.
pub(super) const DRIFT: Thresholds<u64> = Thresholds {
    warning: 1,
    critical: 2,
};
/// Time since the last inspection.
pub(super) const CHECK_AGE: Thresholds<TimeDelta> = Thresholds {
    warning: TimeDelta::minutes(5),
    critical: TimeDelta::minutes(15),
};

impl<T: PartialOrd> Thresholds<T> {
    /// `None` below the warning threshold.
    pub(super) fn severity(&self, value: &T) -> Option<Severity> {
        if *value >= self.critical {
            Some(Severity::Critical)
        } else {
            (*value >= self.warning).then_some(Severity::Warning)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Disk,
    /// The disk of Docker's data, if it is another one (F89).
    DockerDisk,
    Memory,
    IoPressure,
    Load,
}

/// A resource of a host that has reached a threshold.
pub(super) struct Shortage {
    pub(super) resource: Resource,
    pub(super) severity: Severity,
    /// The value that reached it: `96 %`.
    pub(super) figure: String,
}

impl HostFacts {
    /// Whether the host is too busy for more agents, however many slots are free (F27). A figure that the
    /// host did not report does not count against it.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        let mut shortages = self.shortages().into_iter();
        shortages.any(|shortage| shortage.severity == Severity::Critical)
    }

    /// Use of the fuller of the root file system and Docker's own, in percent.
    #[must_use]
    pub fn fuller_disk_used_percent(&self) -> Option<u64> {
        self.disk_used_percent.max(self.docker_disk_used_percent)
    }

    /// Whether the disk is so full that the host counts as degraded.
    pub(super) fn has_full_disk(&self) -> bool {
        self.fuller_disk_used_percent()
            .is_some_and(|used| used >= DEGRADED_DISK_PERCENT)
    }

    pub(super) fn shortages(&self) -> Vec<Shortage> {
        let percentage = |resource, value: Option<u64>, thresholds: &Thresholds<u64>| {
            let value = value?;
            Some(Shortage {
                resource,
                severity: thresholds.severity(&value)?,
                figure: format!("{value} %"),
            })
        };
        let shortages = [
            percentage(Resource::Disk, self.disk_used_percent, &DISK_PERCENT),
            percentage(
                Resource::DockerDisk,
                self.docker_disk_used_percent,
                &DISK_PERCENT,
            ),
            percentage(Resource::Memory, self.memory_used_percent, &MEMORY_PERCENT),
            percentage(
                Resource::IoPressure,
                self.io_pressure_percent,
                &IO_PRESSURE_PERCENT,
            ),
            self.load_shortage(),
        ];
        shortages.into_iter().flatten().collect()
    }

    fn load_shortage(&self) -> Option<Shortage> {
        let load = self.load_1m_hundredths?;
        let cpus = self.cpus?.max(1);
        let thresholds = Thresholds {
            warning: LOAD_HUNDREDTHS_PER_CPU.warning.saturating_mul(cpus),
            critical: LOAD_HUNDREDTHS_PER_CPU.critical.saturating_mul(cpus),
        };
        let processors = if cpus == 1 { "processor" } else { "processors" };
        Some(Shortage {
            resource: Resource::Load,
            severity: thresholds.severity(&load)?,
            figure: format!("load {} on {cpus} {processors}", format_hundredths(load)),
        })
    }
}

/// Two decimals, as the kernel prints a load average: `4.05`.
#[must_use]
pub fn format_hundredths(hundredths: u64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_begins_at_its_warning_threshold_and_names_the_figure() {
        let loaded = |load, cpus| HostFacts {
            load_1m_hundredths: Some(load),
            cpus: Some(cpus),
            ..HostFacts::default()
        };
        let full = |disk, docker_disk| HostFacts {
            disk_used_percent: disk,
            docker_disk_used_percent: docker_disk,
            ..HostFacts::default()
        };
        let warning = |figure| Some((Severity::Warning, figure));
        let critical = |figure| Some((Severity::Critical, figure));
        for (facts, expected) in [
            (loaded(399, 2), None),
            (loaded(400, 2), warning("load 4.00 on 2 processors")),
            (loaded(799, 2), warning("load 7.99 on 2 processors")),
            (loaded(405, 1), critical("load 4.05 on 1 processor")),
            (full(Some(84), None), None),
            (full(Some(85), Some(84)), warning("85 %")),
            (full(None, Some(95)), critical("95 %")),
        ] {
            let shortages = facts.shortages();
            assert!(shortages.len() <= 1, "{facts:?}");
            let shortage = shortages.first();
            let found = shortage.map(|shortage| (shortage.severity, shortage.figure.as_str()));
            assert_eq!(found, expected, "{facts:?}");
        }
        assert_eq!(
            full(Some(40), Some(97)).fuller_disk_used_percent(),
            Some(97)
        );
        assert_eq!(full(Some(40), None).fuller_disk_used_percent(), Some(40));
        assert_eq!(full(None, None).fuller_disk_used_percent(), None);
        for (facts, expected) in [
            (full(None, None), false),
            (full(Some(DEGRADED_DISK_PERCENT - 1), None), false),
            (full(Some(DEGRADED_DISK_PERCENT), None), true),
            (full(Some(40), Some(DEGRADED_DISK_PERCENT)), true),
        ] {
            assert_eq!(facts.has_full_disk(), expected, "{facts:?}");
        }
    }

    #[test]
    fn f27_a_host_is_overloaded_when_one_figure_reaches_its_critical_threshold() {
        let calm = HostFacts {
            load_1m_hundredths: Some(799),
            cpus: Some(2),
            memory_used_percent: Some(94),
            disk_used_percent: Some(94),
            docker_disk_used_percent: Some(94),
            io_pressure_percent: Some(69),
            packet_filter: PacketFilter::Unknown,
        };
        assert!(!calm.is_overloaded());
        assert!(!HostFacts::default().is_overloaded());
        for busy in [
            HostFacts {
                load_1m_hundredths: Some(800),
                ..calm.clone()
            },
            HostFacts {
                load_1m_hundredths: Some(45_100),
                cpus: Some(0),
                ..calm.clone()
            },
            HostFacts {
                memory_used_percent: Some(95),
                ..calm.clone()
            },
            HostFacts {
                disk_used_percent: Some(95),
                ..calm.clone()
            },
            HostFacts {
                docker_disk_used_percent: Some(95),
                ..calm.clone()
            },
            HostFacts {
                io_pressure_percent: Some(70),
                ..calm.clone()
            },
        ] {
            assert!(busy.is_overloaded(), "{busy:?}");
        }
    }
}
