//! Faults on this side: network, DNS, SSH key, file descriptors. Owns: when most of the fleet becomes unreadable in one
//! run, which says nothing about the hosts.
//!
//! A run sees a shard, which may be a region of one provider: its hosts can fail together. What tells that from a fault on
//! this side is time: runs over other shards go on reading theirs, and no invocation can read these.

use chrono::{DateTime, TimeDelta, Utc};

use super::observation::{HostInspection, HostReadError, OwnFault};

/// In a smaller fleet the rule would never let an agent be lost: its few hosts can fail at the same time.
const MIN_HOSTS: usize = 3;
/// How long a fault of one invocation, or of its machine, can keep a shard from being read: each minute another one may
/// have its turn.
const MAX_SHARD_FAULT: TimeDelta = TimeDelta::minutes(5);
/// Two runs over another shard.
const READ_RECENTLY: TimeDelta = TimeDelta::minutes(2);

/// The hosts of other shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherHosts {
    pub hosts: i64,
    /// Those that were read since [`OtherHosts::read_since`].
    pub read_hosts: i64,
}

impl OtherHosts {
    #[must_use]
    pub fn read_since(now: DateTime<Utc>) -> DateTime<Utc> {
        now - READ_RECENTLY
    }

    /// Hosts of this shard that were not read since then have failed themselves. `None` if the fault may be on this side.
    #[must_use]
    pub fn failed_before(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        (2 * self.read_hosts > self.hosts).then(|| now - MAX_SHARD_FAULT)
    }
}

/// A host in a run.
#[derive(Clone, Copy, Debug)]
pub struct HostChange<'a> {
    /// Whether the runs before could not read it either.
    pub was_unread: bool,
    pub inspection: &'a HostInspection,
}

impl OwnFault {
    /// `None` if the hosts that could not be read may have failed themselves.
    #[must_use]
    pub fn find<'a>(hosts: impl IntoIterator<Item = HostChange<'a>>) -> Option<Self> {
        let (mut read, mut unread) = (0, 0);
        for host in hosts {
            let Err(error) = host.inspection.engine() else {
                read += 1;
                continue;
            };
            match error {
                // A host that presented another key was reached.
                HostReadError::HostKeyMismatch => read += 1,
                HostReadError::NotInspected | HostReadError::NotRegistered => {}
                // Without a key every host is unreadable, whatever it was before.
                error if host.was_unread && error != HostReadError::NoKey => {}
                _ => unread += 1,
            }
        }
        let hosts = read + unread;
        (hosts >= MIN_HOSTS && 2 * unread > hosts).then_some(Self {
            unread_hosts: unread,
            hosts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{failed, now, reached, read, unreachable};
    use super::*;

    #[test]
    fn f67_most_of_the_fleet_does_not_fail_in_one_run() {
        let well = || (false, read(vec![]));
        let lost = || (false, unreachable());
        let long_lost = || (true, unreachable());
        let other_key = || (false, failed(HostReadError::HostKeyMismatch));
        let no_key = |was_unread| (was_unread, failed(HostReadError::NoKey));
        let fault = |unread_hosts, hosts| {
            Some(OwnFault {
                unread_hosts,
                hosts,
            })
        };
        for (hosts, expected) in [
            (vec![], None),
            (vec![lost()], None),
            (vec![lost(), lost()], None),
            (vec![lost(), lost(), lost()], fault(3, 3)),
            (vec![lost(), lost(), well()], fault(2, 3)),
            (vec![lost(), lost(), lost(), well(), well()], fault(3, 5)),
            (vec![lost(), well(), well()], None),
            (vec![lost(), lost(), well(), well()], None),
            // Hosts that failed long ago say nothing about this run.
            (
                vec![long_lost(), long_lost(), long_lost(), lost(), well()],
                None,
            ),
            (
                vec![long_lost(), lost(), lost(), lost(), well()],
                fault(3, 4),
            ),
            (vec![long_lost(), long_lost(), long_lost()], None),
            // Hosts that presented another key were reached.
            (
                vec![
                    lost(),
                    lost(),
                    lost(),
                    other_key(),
                    other_key(),
                    other_key(),
                ],
                None,
            ),
            // Without our key none was, whatever it was before.
            (vec![no_key(true), no_key(true), no_key(false)], fault(3, 3)),
        ] {
            let changes = hosts.iter().map(|(was_unread, inspection)| HostChange {
                was_unread: *was_unread,
                inspection,
            });
            assert_eq!(OwnFault::find(changes), expected, "{hosts:?}");
        }
    }

    #[test]
    fn f67_only_while_most_of_the_other_hosts_are_read_have_those_of_a_shard_failed_themselves() {
        for (read_hosts, hosts, has_failed) in
            [(0, 0, false), (0, 9, false), (5, 10, false), (6, 10, true)]
        {
            let others = OtherHosts { hosts, read_hosts };
            let expected = has_failed.then(|| now() - TimeDelta::minutes(5));
            assert_eq!(others.failed_before(now()), expected, "{others:?}");
        }
        let two_minutes_ago = now() - TimeDelta::minutes(2);
        assert_eq!(OtherHosts::read_since(now()), two_minutes_ago);
    }

    #[test]
    fn f67_whether_an_error_counts_depends_on_whose_fault_it_can_be() {
        for (inspection, counts) in [
            (failed(HostReadError::TimedOut), true),
            (failed(HostReadError::AuthFailed), true),
            (failed(HostReadError::AddressRefused), true),
            (failed(HostReadError::NoKey), true),
            (reached(Err(HostReadError::Protocol)), true),
            (failed(HostReadError::HostKeyMismatch), false),
            (HostInspection::NotInspected, false),
        ] {
            let change = HostChange {
                was_unread: false,
                inspection: &inspection,
            };
            let found = OwnFault::find([change; 3]);
            assert_eq!(found.is_some(), counts, "{inspection:?}");
        }
    }
}
