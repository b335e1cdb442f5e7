//! The order in which hosts are tried. Owns: which hosts qualify, and which of them are better.

use crate::domain::fleet::HostStatus;

/// An enabled host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    pub node_id: &'a str,
    /// By the last inspection.
    pub status: HostStatus,
    pub capacity: i32,
    pub allocated_count: i32,
    /// Whether the agent's volume is there.
    pub holds_volume: bool,
    /// Whether an earlier attempt of the job failed there.
    pub has_failed: bool,
    pub is_set_aside: bool,
}

impl Candidate<'_> {
    fn has_free_slot(&self) -> bool {
        self.allocated_count < self.capacity
    }

    /// Allocated slots in tenths, rounded down. Hosts with the same number are equally good: an exact order would send
    /// all starts of a moment to the same host.
    fn load(&self) -> i64 {
        i64::from(self.allocated_count.max(0)) * 10 / i64::from(self.capacity.max(1))
    }

    /// The lowest is the best. A host that is set aside comes last, but it is tried: if its trouble is over, the first
    /// start that succeeds there ends it.
    fn rank(&self) -> (bool, bool, u8, i64) {
        let health = match self.status {
            HostStatus::Healthy => 0,
            HostStatus::Unknown => 1,
            HostStatus::Degraded => 2,
            HostStatus::Offline => 3,
        };
        (self.is_set_aside, !self.holds_volume, health, self.load())
    }
}

/// Every host that qualifies, the best first, as indexes of `hosts`. Equally good hosts come in an order that depends on
/// `seed`.
///
/// A host on which the job failed does not qualify, unless the job failed on every host: then another one cannot help,
/// and the trouble may be over.
#[must_use]
pub fn rank(hosts: &[Candidate<'_>], seed: u64) -> Vec<usize> {
    let has_failed_everywhere = hosts.iter().all(|host| host.has_failed);
    let qualifies =
        |host: &Candidate<'_>| host.has_free_slot() && (!host.has_failed || has_failed_everywhere);
    let mut ranked: Vec<usize> = (0..hosts.len())
        .filter(|index| hosts.get(*index).is_some_and(qualifies))
        .collect();
    ranked.sort_by_cached_key(|index| {
        let host = hosts.get(*index);
        host.map(|host| (host.rank(), shuffled(host.node_id, seed)))
    });
    ranked
}

/// A number that looks random for each name and seed (FNV-1a, mixed as `SplitMix64` does).
fn shuffled(name: &str, seed: u64) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut mixed = hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A healthy, empty host.
    fn host(node_id: &str) -> Candidate<'_> {
        Candidate {
            node_id,
            status: HostStatus::Healthy,
            capacity: 20,
            allocated_count: 0,
            holds_volume: false,
            has_failed: false,
            is_set_aside: false,
        }
    }

    fn names<'a>(hosts: &[Candidate<'a>], seed: u64) -> Vec<&'a str> {
        let ranked = rank(hosts, seed).into_iter();
        ranked.map(|index| hosts[index].node_id).collect()
    }

    #[test]
    fn each_host_precedes_all_that_are_worse() {
        let fullest = Candidate {
            allocated_count: 19,
            ..host("fullest")
        };
        let order = [
            Candidate {
                holds_volume: true,
                status: HostStatus::Offline,
                ..fullest
            },
            host("empty"),
            Candidate {
                allocated_count: 2,
                ..host("a-tenth")
            },
            fullest,
            Candidate {
                status: HostStatus::Unknown,
                ..host("unknown")
            },
            Candidate {
                status: HostStatus::Degraded,
                ..host("degraded")
            },
            Candidate {
                status: HostStatus::Offline,
                ..host("offline")
            },
            Candidate {
                is_set_aside: true,
                holds_volume: true,
                ..host("set-aside-with-volume")
            },
            Candidate {
                is_set_aside: true,
                ..host("set-aside")
            },
        ];
        let mut reversed = order;
        reversed.reverse();
        for seed in 0..20 {
            let expected: Vec<&str> = order.iter().map(|host| host.node_id).collect();
            assert_eq!(names(&order, seed), expected, "{seed}");
            assert_eq!(names(&reversed, seed), expected, "{seed}");
        }
    }

    #[test]
    fn f66_every_host_with_a_free_slot_qualifies_unless_the_job_failed_there() {
        let names_of_many: Vec<String> = (0..500).map(|n| format!("host-{n}")).collect();
        let mut hosts: Vec<Candidate<'_>> = names_of_many.iter().map(|name| host(name)).collect();
        assert_eq!(rank(&hosts, 7).len(), 500);
        hosts[0].has_failed = true;
        hosts[1].allocated_count = 20;
        hosts[2].capacity = 0;
        let ranked: BTreeSet<usize> = rank(&hosts, 7).into_iter().collect();
        assert_eq!(ranked, (3..500).collect());
        assert_eq!(rank(&[], 7), [0; 0]);
    }

    #[test]
    fn f66_a_job_that_failed_on_every_host_tries_them_again() {
        let failed = |node_id| Candidate {
            has_failed: true,
            ..host(node_id)
        };
        assert_eq!(names(&[failed("a")], 1), ["a"]);
        // The other host is full now. It may be free at the next attempt.
        let full = Candidate {
            allocated_count: 20,
            ..host("b")
        };
        assert_eq!(names(&[failed("a"), full], 1), [""; 0]);
    }

    /// Reference values, computed elsewhere: FNV-1a of the name, mixed by the finalizer of `SplitMix64`.
    #[test]
    fn the_order_of_equally_good_hosts_is_that_of_a_known_hash() {
        for (name, seed, hash) in [
            ("", 0, 0xf52a_15e9_a9b5_e89b),
            ("a", 0, 0x02c0_bdbf_4814_20f8),
            ("host-1", 7, 0x751c_3805_6b9c_bc3f),
            ("host-2", u64::MAX, 0xf67a_78f3_eae7_7b1b),
        ] {
            assert_eq!(shuffled(name, seed), hash, "{name} {seed}");
        }
    }

    #[test]
    fn equally_good_hosts_come_in_an_order_that_the_seed_decides() {
        let hosts = ["a", "b", "c", "d"].map(|name| Candidate {
            allocated_count: i32::from(name > "b"),
            ..host(name)
        });
        let firsts: BTreeSet<&str> = (0..50).map(|seed| names(&hosts, seed)[0]).collect();
        assert_eq!(firsts, BTreeSet::from(["a", "b", "c", "d"]));
        assert_eq!(names(&hosts, 3), names(&hosts, 3));
    }
}
