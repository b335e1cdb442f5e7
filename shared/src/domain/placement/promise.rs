//! What agents are promised of a host's processors and memory. Owns: how much may be promised in total, and limits that
//! fit the host.

use crate::domain::container::ResourceLimits;

/// How often each processor may be promised: agents wait most of the time.
const MAX_PROMISES_PER_CPU: i64 = 8;
/// How often each byte of memory may be promised: few agents use all that they may. Beyond that, agents that use what
/// they were promised would be killed by the kernel.
const MAX_PROMISES_PER_BYTE: i64 = 2;
const NANO_CPUS: i64 = 1_000_000_000;

/// What a host has, as its Docker Engine says. `None` for what it did not say: it limits nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostSize {
    pub cpus: Option<i64>,
    pub memory_bytes: Option<i64>,
}

impl HostSize {
    /// Limits that the host can keep. Docker refuses a container with more processors than the host has (F82).
    #[must_use]
    pub fn fit(self, limits: ResourceLimits) -> ResourceLimits {
        let nano_cpus = self.cpus.map(|cpus| cpus.saturating_mul(NANO_CPUS));
        ResourceLimits {
            nano_cpus: lower(limits.nano_cpus, nano_cpus),
            memory_bytes: lower(limits.memory_bytes, self.memory_bytes),
            pids: limits.pids,
        }
    }

    /// Whether this many agents may have these limits here.
    #[must_use]
    pub fn can_promise(self, limits: ResourceLimits, agents: i64) -> bool {
        let limits = self.fit(limits);
        let nano_cpus = self.cpus.map(|cpus| cpus.saturating_mul(NANO_CPUS));
        is_within(limits.nano_cpus, agents, nano_cpus, MAX_PROMISES_PER_CPU)
            && is_within(
                limits.memory_bytes,
                agents,
                self.memory_bytes,
                MAX_PROMISES_PER_BYTE,
            )
    }
}

fn lower(limit: Option<i64>, available: Option<i64>) -> Option<i64> {
    match (limit, available) {
        (Some(limit), Some(available)) => Some(limit.min(available)),
        (limit, _) => limit,
    }
}

fn is_within(limit: Option<i64>, agents: i64, available: Option<i64>, promises: i64) -> bool {
    let (Some(limit), Some(available)) = (limit, available) else {
        return true;
    };
    limit.saturating_mul(agents) <= available.saturating_mul(promises)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::container::AGENT_LIMITS;

    const GIB: i64 = 1 << 30;

    fn size(cpus: i64, gib: i64) -> HostSize {
        HostSize {
            cpus: Some(cpus),
            memory_bytes: Some(gib * GIB),
        }
    }

    #[test]
    fn f82_limits_fit_the_host() {
        for (host, cpus, gib) in [
            (size(1, 1), 1, 1),
            (size(2, 2), 2, 2),
            (size(64, 512), 2, 2),
            (HostSize::default(), 2, 2),
        ] {
            let expected = ResourceLimits {
                nano_cpus: Some(cpus * NANO_CPUS),
                memory_bytes: Some(gib * GIB),
                pids: AGENT_LIMITS.pids,
            };
            assert_eq!(host.fit(AGENT_LIMITS), expected, "{host:?}");
        }
        let unlimited = ResourceLimits {
            nano_cpus: None,
            memory_bytes: None,
            pids: None,
        };
        assert_eq!(size(1, 1).fit(unlimited), unlimited);
    }

    #[test]
    fn what_is_promised_is_limited_by_what_is_there() {
        for (host, agents) in [
            // By the processors, of which each agent may use two.
            (size(2, 64), 8),
            (size(16, 512), 64),
            // By the memory, of which each agent may use 2 GiB.
            (size(16, 8), 8),
            // An agent may use all of a small host.
            (size(1, 1), 2),
        ] {
            assert!(host.can_promise(AGENT_LIMITS, agents), "{host:?}");
            assert!(!host.can_promise(AGENT_LIMITS, agents + 1), "{host:?}");
        }
        assert!(HostSize::default().can_promise(AGENT_LIMITS, i64::MAX));
        assert!(!size(2, 2).can_promise(AGENT_LIMITS, i64::MAX));
    }
}
