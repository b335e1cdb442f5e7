//! Where an agent goes. Owns: which hosts are too busy, which ports are tried, and which images may run.
//! Does not own: asking hosts (`hosts`), nor the slots (`db::hosts::slots`).

/// A host's own figures; what it did not say is none. Percentages are rounded down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The load of the last minute, in hundredths.
    pub load_1m_hundredths: Option<u64>,
    /// Processors.
    pub cpus: Option<u64>,
    /// Memory that cannot be had, in percent.
    pub memory_used_percent: Option<u64>,
    /// The root file system's use, in percent.
    pub disk_used_percent: Option<u64>,
    /// Share of the last minute in which something waited for I/O, in percent.
    pub io_pressure_percent: Option<u64>,
}

/// What a host must stay below to be given more work.
const DISK_PERCENT: u64 = 95;
const MEMORY_PERCENT: u64 = 95;
const IO_PRESSURE_PERCENT: u64 = 70;
const LOAD_PER_CPU: u64 = 4;

/// Whether a host has no room for more, whatever slots it has (F27). What it did not say does not count
/// against it.
#[must_use]
pub fn is_saturated(facts: &HostFacts) -> bool {
    let at_least = |value: Option<u64>, limit: u64| value.is_some_and(|value| value >= limit);
    let load = match (facts.load_1m_hundredths, facts.cpus) {
        (Some(load), Some(cpus)) => {
            load >= LOAD_PER_CPU.saturating_mul(cpus.max(1)).saturating_mul(100)
        }
        _ => false,
    };
    load || at_least(facts.disk_used_percent, DISK_PERCENT)
        || at_least(facts.memory_used_percent, MEMORY_PERCENT)
        || at_least(facts.io_pressure_percent, IO_PRESSURE_PERCENT)
}

/// Ports of a host that lead to agents' bridges.
const BRIDGE: std::ops::Range<u16> = 18_790..19_790;
/// Ports of a host that lead to agents' pages.
const WEB: std::ops::Range<u16> = 20_000..25_000;

/// The ports of one agent on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// To its bridge.
    pub bridge: u16,
    /// To its pages.
    pub web: u16,
}

/// Free ports, searched from a random place on so that two searches seldom meet; none if the host has
/// none left.
#[must_use]
pub fn free_ports(taken: &[u16], random: u64) -> Option<Ports> {
    let pick = |range: std::ops::Range<u16>| {
        let length = u64::from(range.end - range.start);
        let offset = random % length;
        (0..length)
            .filter_map(|step| u16::try_from((offset + step) % length).ok())
            .map(|step| range.start + step)
            .find(|port| !taken.contains(port))
    };
    Some(Ports {
        bridge: pick(BRIDGE)?,
        web: pick(WEB)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f27_a_saturated_host_gets_nothing_more() {
        let calm = HostFacts {
            load_1m_hundredths: Some(799),
            cpus: Some(2),
            memory_used_percent: Some(94),
            disk_used_percent: Some(94),
            io_pressure_percent: Some(69),
        };
        assert!(!is_saturated(&calm));
        assert!(!is_saturated(&HostFacts::default()));
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
                io_pressure_percent: Some(70),
                ..calm.clone()
            },
        ] {
            assert!(is_saturated(&busy), "{busy:?}");
        }
    }

    #[test]
    fn ports_are_free_in_their_ranges_and_run_out() {
        for random in [0, 1, 999, 4_999, u64::MAX] {
            let ports = free_ports(&[], random).expect("ports");
            assert!(BRIDGE.contains(&ports.bridge) && WEB.contains(&ports.web));
            let next = free_ports(&[ports.bridge, ports.web], random).expect("ports");
            assert!(next.bridge != ports.bridge && next.web != ports.web);
        }
        let all: Vec<u16> = BRIDGE.collect();
        assert_eq!(free_ports(&all, 7), None);
        let all_but_one: Vec<u16> = BRIDGE.filter(|port| *port != 19_000).collect();
        assert_eq!(
            free_ports(&all_but_one, 900).map(|ports| ports.bridge),
            Some(19_000)
        );
    }
}
