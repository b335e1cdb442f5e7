//! What agents' containers use: processor, memory, network and disk. Owns: when a host's figures are due, how long they
//! are kept, and how counters become rates. Does not own: asking an engine (`hosts`), storing samples (`cache`).
//!
//! A host is sampled every five minutes, not in every refresh run: an engine counts from the start of a container, so two
//! counters five minutes apart give the exact mean between them, and a run over many hosts asks a fifth of them.

use chrono::{DateTime, TimeDelta, Utc};

use super::ids::AgentId;

/// How often a host is sampled.
pub const INTERVAL: TimeDelta = TimeDelta::minutes(5);
/// How long samples are shown.
pub const SHOWN_FOR: TimeDelta = TimeDelta::hours(24);
/// Figures of this age are stale: two samples and more are missing.
pub const STALE_AFTER: TimeDelta = TimeDelta::minutes(15);
/// No rate spans more than this: what happened in a longer gap is not known.
const MAX_GAP: TimeDelta = TimeDelta::minutes(15);

/// What an engine says of a running container; `None` for what it does not say. All but the memory is counted since the
/// container was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerFigures {
    /// Time of processors, in nanoseconds.
    pub cpu_nanos: Option<u64>,
    /// Memory in use, without the part of the page cache that the kernel takes back first.
    pub memory_bytes: Option<u64>,
    /// The memory that the container may use; that of the host if it has no limit.
    pub memory_limit_bytes: Option<u64>,
    pub received_bytes: Option<u64>,
    pub sent_bytes: Option<u64>,
    /// Read from disks.
    pub read_bytes: Option<u64>,
    /// Written to disks.
    pub written_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentFigures {
    pub agent_id: AgentId,
    pub figures: ContainerFigures,
}

/// The figures of the agents on a host at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSample {
    pub at: DateTime<Utc>,
    pub agents: Vec<AgentFigures>,
}

impl HostSample {
    #[must_use]
    pub fn of(&self, agent_id: AgentId) -> Option<&ContainerFigures> {
        let mut agents = self.agents.iter();
        let agent = agents.find(|agent| agent.agent_id == agent_id)?;
        Some(&agent.figures)
    }
}

/// The figures of one agent: an entry per sample, `None` where nothing is known. Rates are means since the sample before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FigureSeries {
    pub memory_limit_bytes: Option<u64>,
    pub memory_bytes: Vec<Option<u64>>,
    /// Thousandths of a processor.
    pub cpu_millis: Vec<Option<u64>>,
    /// Per second, as all that follow.
    pub received_bytes: Vec<Option<u64>>,
    pub sent_bytes: Vec<Option<u64>>,
    pub read_bytes: Vec<Option<u64>>,
    pub written_bytes: Vec<Option<u64>>,
}

impl FigureSeries {
    /// The figures of one agent in the samples of its host, which are in the order of their times.
    #[must_use]
    pub fn of(samples: &[HostSample], agent_id: AgentId) -> Self {
        let mut series = Self::default();
        let mut previous = None;
        for sample in samples {
            let current = sample.of(agent_id).map(|figures| (sample.at, figures));
            series.push(previous, current);
            previous = current.or(previous);
        }
        series
    }

    fn push(
        &mut self,
        previous: Option<(DateTime<Utc>, &ContainerFigures)>,
        current: Option<(DateTime<Utc>, &ContainerFigures)>,
    ) {
        let figures = current.map(|(_, figures)| figures);
        let limit = figures.and_then(|figures| figures.memory_limit_bytes);
        self.memory_limit_bytes = limit.or(self.memory_limit_bytes);
        self.memory_bytes
            .push(figures.and_then(|figures| figures.memory_bytes));
        let increase = |counter: Counter| {
            let ((before, old), (at, new)) = (previous?, current?);
            let elapsed = at - before;
            let micros = u64::try_from(elapsed.num_microseconds()?).ok()?;
            // A counter that went back began anew with another start of the container.
            let increase = counter(new)?.checked_sub(counter(old)?)?;
            (micros > 0 && elapsed <= MAX_GAP).then_some(Increase { increase, micros })
        };
        let per_second = |counter: Counter| increase(counter).map(Increase::per_second);
        // Nanoseconds in microseconds are thousandths.
        self.cpu_millis.push(
            increase(|figures| figures.cpu_nanos).map(|change| change.increase / change.micros),
        );
        self.received_bytes
            .push(per_second(|figures| figures.received_bytes));
        self.sent_bytes
            .push(per_second(|figures| figures.sent_bytes));
        self.read_bytes
            .push(per_second(|figures| figures.read_bytes));
        self.written_bytes
            .push(per_second(|figures| figures.written_bytes));
    }
}

type Counter = fn(&ContainerFigures) -> Option<u64>;

/// By how much a counter increased, and in which time.
struct Increase {
    increase: u64,
    micros: u64,
}

impl Increase {
    fn per_second(self) -> u64 {
        let rate = u128::from(self.increase) * 1_000_000 / u128::from(self.micros);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

/// The number of the interval that a time lies in. Those of different hosts begin at different seconds, so that not all
/// hosts are sampled in the same run.
#[must_use]
pub fn interval_number(node_id: &str, at: DateTime<Utc>) -> i64 {
    let length = INTERVAL.num_seconds();
    let offset = node_id
        .bytes()
        .fold(0, |sum, byte| (sum * 31 + i64::from(byte)) % length);
    (at.timestamp() + offset).div_euclid(length)
}

/// Whether a host is sampled in a run that begins now. `last_run` is when the run over its shard before began; `None` if
/// there is no snapshot of it.
#[must_use]
pub fn is_due(node_id: &str, last_run: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    let number = |at| interval_number(node_id, at);
    last_run.is_none_or(|last_run| number(last_run) != number(now))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;

    fn minute(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn agent(number: u128) -> AgentId {
        AgentId::new(Uuid::from_u128(number))
    }

    fn used(seconds: u64, received_bytes: u64) -> ContainerFigures {
        ContainerFigures {
            cpu_nanos: Some(seconds * 1_000_000_000),
            memory_bytes: Some(1 << 20),
            memory_limit_bytes: Some(2 << 30),
            received_bytes: Some(received_bytes),
            ..ContainerFigures::default()
        }
    }

    fn sample(at: i64, figures: Option<ContainerFigures>) -> HostSample {
        let figures = figures.map(|figures| AgentFigures {
            agent_id: agent(1),
            figures,
        });
        let other = AgentFigures {
            agent_id: agent(2),
            figures: used(999_999, 999_999),
        };
        HostSample {
            at: minute(at),
            agents: figures.into_iter().chain([other]).collect(),
        }
    }

    #[test]
    fn rates_are_means_between_samples_of_the_same_start_of_a_container() {
        let unknown = ContainerFigures {
            memory_bytes: None,
            ..ContainerFigures::default()
        };
        let samples = [
            sample(0, Some(used(100, 0))),
            // 150 s of a processor in 300 s, and 600 bytes.
            sample(5, Some(used(250, 600))),
            // A sample was missed: the mean of ten minutes.
            sample(15, Some(used(310, 600))),
            // The container was started again.
            sample(20, Some(used(30, 300))),
            sample(25, Some(used(60, 600))),
            // It was not running.
            sample(30, None),
            sample(35, Some(used(120, 1_200))),
            // Too long ago.
            sample(51, Some(used(600, 9_000))),
            sample(56, Some(unknown)),
            // The sample before knew nothing.
            sample(56, Some(used(700, 9_000))),
        ];
        let series = FigureSeries::of(&samples, agent(1));
        let cpu = [
            None,
            Some(500),
            Some(100),
            None,
            Some(100),
            None,
            Some(100),
            None,
            None,
            None,
        ];
        assert_eq!(series.cpu_millis, cpu);
        let received = [
            None,
            Some(2),
            Some(0),
            None,
            Some(1),
            None,
            Some(1),
            None,
            None,
            None,
        ];
        assert_eq!(series.received_bytes, received);
        let known = [0, 1, 2, 3, 4, 6, 7, 9];
        let memory = (0..samples.len()).map(|at| known.contains(&at).then_some(1 << 20));
        assert_eq!(series.memory_bytes, memory.collect::<Vec<_>>());
        assert_eq!(series.memory_limit_bytes, Some(2 << 30));
        assert_eq!(series.sent_bytes, [None; 10]);
        let nobody = FigureSeries::of(&samples, agent(3));
        assert_eq!(nobody.cpu_millis, [None; 10]);
        assert_eq!(nobody.memory_limit_bytes, None);
    }

    #[test]
    fn each_host_is_due_once_in_five_minutes_and_not_all_at_the_same_time() {
        let mut minutes = BTreeSet::new();
        for host in ["a", "b", "host-0001", "host-0002", "eu-west-1", "ü"] {
            let due = (100..200).filter(|now| is_due(host, Some(minute(now - 1)), minute(*now)));
            let due: Vec<i64> = due.collect();
            assert_eq!(due.len(), 20, "{host}");
            assert!(due.windows(2).all(|pair| pair[1] - pair[0] == 5), "{host}");
            minutes.insert(due[0]);
            assert!(is_due(host, None, minute(100)));
            // After runs that did not take place.
            assert!(is_due(host, Some(minute(90)), minute(100)));
            assert!(!is_due(host, Some(minute(100)), minute(100)));
        }
        assert!(minutes.len() > 1, "{minutes:?}");
    }
}
