//! Shards: parts of a fleet that different invocations inspect. Owns: how a fleet is cut, which hosts and agents a shard
//! has, and which of several runs counts for a host, also while the fleet is cut in another way than before.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One invocation inspects so many hosts within 20 seconds, with a twentieth of them silent.
pub const MAX_SHARD_HOSTS: usize = 500;

/// The hosts whose names are in a range, and the agents whose rows name them. Names are compared by their bytes. By default
/// the whole fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    pub number: i32,
    /// The first name. `None` for the first shard, which has the agents without a host, too.
    pub first: Option<String>,
    /// The name before which the range ends. `None` for the last shard.
    pub end: Option<String>,
}

impl Shard {
    /// Cuts the fleet with these hosts into shards of about the same size: in a shard of a few hosts, a fault on this side
    /// could not be told from one of the hosts.
    #[must_use]
    pub fn cut(mut node_ids: Vec<String>) -> Vec<Self> {
        node_ids.sort_unstable();
        let count = node_ids.len().div_ceil(MAX_SHARD_HOSTS).max(1);
        let first = |index: usize| {
            let is_inner = index > 0 && index < count;
            is_inner.then(|| node_ids[index * node_ids.len() / count].clone())
        };
        let shards = (0..).zip(0..count).map(|(number, index)| Self {
            number,
            first: first(index),
            end: first(index + 1),
        });
        shards.collect()
    }

    /// Whether a row with this `node_id` belongs to the shard.
    #[must_use]
    pub fn contains(&self, node_id: Option<&str>) -> bool {
        let Some(node_id) = node_id else {
            return self.first.is_none();
        };
        self.first.as_deref().is_none_or(|first| node_id >= first)
            && self.end.as_deref().is_none_or(|end| node_id < end)
    }
}

/// A run over a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRun {
    pub shard: Shard,
    /// That of the run's lease.
    pub token: i64,
    /// When the run ended.
    pub refreshed_at: DateTime<Utc>,
}

/// Runs over shards, which may overlap. For a host counts the newest run over a shard that it is in.
#[derive(Debug)]
pub struct ShardRuns<'a>(Vec<&'a ShardRun>);

impl<'a> ShardRuns<'a> {
    #[must_use]
    pub fn of(runs: impl IntoIterator<Item = &'a ShardRun>) -> Self {
        let mut runs: Vec<&ShardRun> = runs.into_iter().collect();
        let all = runs.clone();
        runs.sort_by_cached_key(|run| Reverse((ended_at(run, &all), run.token, run.shard.number)));
        Self(runs)
    }

    #[must_use]
    pub fn is_newest(&self, run: &ShardRun) -> bool {
        self.0.first().is_some_and(|newest| *newest == run)
    }

    /// Whether each host is in one of the shards.
    #[must_use]
    pub fn cover_fleet(&self) -> bool {
        // The name before which all are covered.
        let mut covered_to = None::<&str>;
        loop {
            let mut ends = Vec::new();
            for run in &self.0 {
                if run.shard.contains(covered_to) {
                    ends.push(run.shard.end.as_deref());
                }
            }
            match ends.iter().max() {
                None => return false,
                Some(_) if ends.contains(&None) => return true,
                Some(furthest) => covered_to = *furthest,
            }
        }
    }

    /// Whether the run is the one that counts for the rows with this `node_id`.
    #[must_use]
    pub fn counts(&self, run: &ShardRun, node_id: Option<&str>) -> bool {
        let mut runs = self.0.iter();
        let newest = runs.find(|newest| newest.shard.contains(node_id));
        newest.is_some_and(|newest| *newest == run)
    }
}

/// When the run ended, but not before an earlier run over the same shard: after the database has failed over, its clock may
/// be behind.
fn ended_at(run: &ShardRun, all: &[&ShardRun]) -> DateTime<Utc> {
    let earlier = all
        .iter()
        .filter(|other| other.shard.number == run.shard.number && other.token < run.token);
    earlier
        .map(|other| other.refreshed_at)
        .fold(run.refreshed_at, DateTime::max)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn each_row_belongs_to_one_shard_and_shards_are_about_the_same_size() {
        for hosts in [0_usize, 1, 499, 500, 501, 1_000, 1_001, 5_000] {
            let names: Vec<String> = (0..hosts)
                .map(|n| format!("Host-{}", n * 7_919 % 10_007))
                .collect();
            let shards = Shard::cut(names.clone());
            assert_eq!(shards.len(), hosts.div_ceil(500).max(1), "{hosts}");
            let mut sizes = vec![0; shards.len()];
            for name in &names {
                let of_name: Vec<&Shard> = shards
                    .iter()
                    .filter(|shard| shard.contains(Some(name)))
                    .collect();
                assert_eq!(of_name.len(), 1, "{name}: {of_name:?}");
                sizes[usize::try_from(of_name[0].number).expect("an index")] += 1;
            }
            let (least, most) = (sizes.iter().min(), sizes.iter().max());
            let (least, most) = (least.expect("a shard"), most.expect("a shard"));
            assert!(*most <= MAX_SHARD_HOSTS && most - least <= 1, "{sizes:?}");
            for odd in [
                None,
                Some(""),
                Some("\u{10ffff}"),
                Some("host-1"),
                Some("Z"),
            ] {
                let count = shards.iter().filter(|shard| shard.contains(odd)).count();
                assert_eq!(count, 1, "{odd:?}");
            }
        }
    }

    #[test]
    fn runs_cover_the_fleet_if_their_shards_leave_no_gap() {
        let covers = |ranges: &[(Option<&str>, Option<&str>)]| {
            let runs = (0..).zip(ranges).map(|(number, (first, end))| ShardRun {
                shard: Shard {
                    number,
                    first: first.map(str::to_owned),
                    end: end.map(str::to_owned),
                },
                token: 1,
                refreshed_at: DateTime::UNIX_EPOCH,
            });
            let runs: Vec<ShardRun> = runs.collect();
            ShardRuns::of(&runs).cover_fleet()
        };
        let (to_c, from_c) = ((None, Some("c")), (Some("c"), None));
        for (ranges, expected) in [
            (vec![], false),
            (vec![(None, None)], true),
            (vec![to_c], false),
            (vec![from_c], false),
            (vec![from_c, to_c], true),
            (vec![to_c, (Some("d"), None)], false),
            // The fleet was cut in another way before.
            (vec![(None, Some("f")), from_c], true),
            (vec![to_c, (Some("b"), Some("d")), (Some("d"), None)], true),
            (vec![to_c, (Some("b"), Some("c"))], false),
        ] {
            assert_eq!(covers(&ranges), expected, "{ranges:?}");
        }
    }

    #[test]
    fn of_two_runs_over_a_shard_the_later_lease_counts_also_if_the_clock_went_back() {
        let run = |number, token, seconds| ShardRun {
            shard: Shard {
                number,
                ..Shard::default()
            },
            token,
            refreshed_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds),
        };
        let (first, second, other) = (run(0, 1, 20), run(0, 2, 10), run(1, 1, 15));
        for all in [[&first, &second, &other], [&other, &second, &first]] {
            let runs = ShardRuns::of(all);
            assert!(runs.is_newest(&second), "{runs:?}");
            assert!(runs.counts(&second, Some("a")), "{runs:?}");
        }
        assert!(ShardRuns::of([&other, &second]).is_newest(&other));
    }
}
