//! Limits on what an organization may have and request, and on how large an agent's settings may be. Owns: their names
//! and values, when a request exceeds one, and what its caller is told. Does not own: counting.

use std::fmt;
use std::ops::RangeInclusive;

use chrono::{DateTime, TimeDelta, Utc};

use super::words::words;

pub const MAX_AGENT_NAME_CHARS: usize = 100;
pub const MAX_VARIABLE_NAME_BYTES: usize = 128;
/// Of all variables of an agent, names and values together. An agent that never ran keeps them in the database that
/// charges everybody, so 200 agents must not store more than some 25 MB there. Linux starts no process with a variable of
/// 128 KiB or more.
pub const MAX_ENVIRONMENT_BYTES: usize = 65_536;
/// Likewise: the agent gets its configuration in an environment variable.
pub const MAX_CONFIG_BYTES: usize = 65_536;
pub const MAX_IMAGE_BYTES: usize = 255;

/// For keys whose own limit is not positive, and for callers without a key.
pub const DEFAULT_REQUESTS_PER_MINUTE: i32 = 1_000;
/// The name of the limit on requests in refusals. Each key has its own.
pub const REQUESTS: &str = "requestsPerKeyAndMinute";
/// The name in refusals of the limit on the starts of all agents, which follows from the limits on agents and on their starts.
pub const STARTS_OF_ALL_AGENTS: &str = "startsPerHour";
/// The name in refusals of the limit on tests of a webhook: one within `webhook::TEST_INTERVAL`.
pub const WEBHOOK_TESTS: &str = "testsPerWebhookAndTenSeconds";

words! {
    /// A limit that operators can change for one organization. The words are on the wire.
    pub enum LimitName {
        /// In any state: an agent that never ran takes up space, too.
        Agents = "agents",
        /// Starts and restores that wait or run.
        ActiveStarts = "activeStarts",
        /// Starts and restores that a worker has begun. Further ones are not refused, but wait.
        RunningStarts = "runningStarts",
        /// Requests that hold a connection for long: streams, calls of the bridge and reads of logs, and requests that
        /// wait for a job, which are not refused, but do not wait.
        OpenStreams = "openStreams",
        /// Attempts to start or restore the agent, whether or not they succeeded: one that fails costs its owner nothing,
        /// although its container ran until then. A start that waits for its first attempt counts as one.
        StartsPerAgentAndHour = "startsPerAgentAndHour",
        /// Backups that owners requested and whose agents are being asked for their state.
        RunningSnapshots = "runningSnapshots",
        /// Backups that owners requested of any agent. Like the two below, it counts those that failed, too.
        SnapshotsPerHour = "snapshotsPerHour",
        /// Backups that an owner requested, of up to 50 MB each.
        SnapshotsPerAgentAndHour = "snapshotsPerAgentAndHour",
        /// The same within a minute, so that an hour's backups do not come all at once.
        SnapshotsPerAgentAndMinute = "snapshotsPerAgentAndMinute",
    }
}

impl LimitName {
    /// What holds for an organization unless an operator has set another value.
    #[must_use]
    pub fn default_value(self) -> i32 {
        match self {
            Self::Agents => 200,
            Self::ActiveStarts => 50,
            // Each snapshot sends up to 50 MB to the database.
            Self::RunningStarts | Self::StartsPerAgentAndHour | Self::RunningSnapshots => 10,
            Self::OpenStreams => 20,
            // 3 GB an hour at most.
            Self::SnapshotsPerHour => 60,
            Self::SnapshotsPerAgentAndHour => 6,
            Self::SnapshotsPerAgentAndMinute => 1,
        }
    }

    /// The values that an operator can set.
    #[must_use]
    pub fn bounds(self) -> RangeInclusive<i32> {
        match self {
            Self::Agents | Self::ActiveStarts | Self::SnapshotsPerHour => 0..=10_000,
            // With 0, starts would be accepted and wait for ever.
            Self::RunningStarts => 1..=1_000,
            Self::OpenStreams | Self::StartsPerAgentAndHour | Self::RunningSnapshots => 0..=1_000,
            Self::SnapshotsPerAgentAndHour | Self::SnapshotsPerAgentAndMinute => 0..=9,
        }
    }
}

/// A limit on requests of one kind within a period: for one agent, or for all of an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub limit: LimitName,
    pub period: TimeDelta,
}

pub const STARTS: Rate = Rate {
    limit: LimitName::StartsPerAgentAndHour,
    period: TimeDelta::hours(1),
};
pub const SNAPSHOTS_PER_HOUR: Rate = Rate {
    limit: LimitName::SnapshotsPerHour,
    period: TimeDelta::hours(1),
};
pub const SNAPSHOTS_PER_AGENT_AND_HOUR: Rate = Rate {
    limit: LimitName::SnapshotsPerAgentAndHour,
    period: TimeDelta::hours(1),
};
pub const SNAPSHOTS_PER_AGENT_AND_MINUTE: Rate = Rate {
    limit: LimitName::SnapshotsPerAgentAndMinute,
    period: TimeDelta::minutes(1),
};

/// What operators have set for one organization. `None` stands for the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrganizationLimits {
    pub agents: Option<i32>,
    pub active_starts: Option<i32>,
    pub running_starts: Option<i32>,
    pub open_streams: Option<i32>,
    pub starts_per_agent_and_hour: Option<i32>,
    pub running_snapshots: Option<i32>,
    pub snapshots_per_hour: Option<i32>,
    pub snapshots_per_agent_and_hour: Option<i32>,
    pub snapshots_per_agent_and_minute: Option<i32>,
}

impl OrganizationLimits {
    fn value_mut(&mut self, limit: LimitName) -> &mut Option<i32> {
        match limit {
            LimitName::Agents => &mut self.agents,
            LimitName::ActiveStarts => &mut self.active_starts,
            LimitName::RunningStarts => &mut self.running_starts,
            LimitName::OpenStreams => &mut self.open_streams,
            LimitName::StartsPerAgentAndHour => &mut self.starts_per_agent_and_hour,
            LimitName::RunningSnapshots => &mut self.running_snapshots,
            LimitName::SnapshotsPerHour => &mut self.snapshots_per_hour,
            LimitName::SnapshotsPerAgentAndHour => &mut self.snapshots_per_agent_and_hour,
            LimitName::SnapshotsPerAgentAndMinute => &mut self.snapshots_per_agent_and_minute,
        }
    }

    pub fn set(&mut self, limit: LimitName, value: Option<i32>) {
        *self.value_mut(limit) = value;
    }

    /// What an operator has set.
    #[must_use]
    pub fn value(mut self, limit: LimitName) -> Option<i32> {
        *self.value_mut(limit)
    }

    /// What holds for the organization.
    #[must_use]
    pub fn allowed(self, limit: LimitName) -> i32 {
        self.value(limit).unwrap_or(limit.default_value())
    }

    /// Refuses one more if there are as many as allowed. `retry_after` is when one of them is expected to end.
    pub fn check(
        self,
        limit: LimitName,
        used: i64,
        retry_after: Option<TimeDelta>,
    ) -> Result<(), LimitReached> {
        let allowed = self.allowed(limit);
        if used < i64::from(allowed) {
            return Ok(());
        }
        Err(LimitReached {
            limit,
            is_of_all_agents: false,
            used,
            allowed,
            // Where none is allowed, waiting does not help.
            retry_after: retry_after.filter(|_| allowed > 0),
        })
    }

    /// Refuses one more beside those that end by these times, the earliest first.
    pub fn check_running(
        self,
        limit: LimitName,
        expiries: &[DateTime<Utc>],
        now: DateTime<Utc>,
    ) -> Result<(), LimitReached> {
        let allowed = usize::try_from(self.allowed(limit)).unwrap_or_default();
        let first_free = expiries.get(expiries.len().saturating_sub(allowed));
        let used = i64::try_from(expiries.len()).unwrap_or(i64::MAX);
        let retry_after = first_free.map(|expiry| *expiry - now);
        self.check(limit, used, retry_after)
    }

    /// Refuses one more request after these, the newest first.
    pub fn check_rate(
        self,
        rate: Rate,
        recent: &[DateTime<Utc>],
        now: DateTime<Utc>,
    ) -> Result<(), LimitReached> {
        let usage = RateUsage::new(rate.period, recent, self.allowed(rate.limit), now);
        self.check(rate.limit, usage.used, usage.retry_after)
    }

    /// Refuses one more start of any agent after these starts, the newest first. All agents that the organization may have,
    /// or has, may together be started as often as each of them may: otherwise an organization that deletes its agents and
    /// creates others could request starts without end.
    pub fn check_starts_of_all_agents(
        self,
        agents: i64,
        recent: &[DateTime<Utc>],
        now: DateTime<Utc>,
    ) -> Result<(), LimitReached> {
        let agents = i32::try_from(agents).unwrap_or(i32::MAX);
        let agents = agents.max(self.allowed(LimitName::Agents));
        let allowed = agents.saturating_mul(self.allowed(STARTS.limit));
        let RateUsage { used, retry_after } = RateUsage::new(STARTS.period, recent, allowed, now);
        if used < i64::from(allowed) {
            return Ok(());
        }
        Err(LimitReached {
            limit: STARTS.limit,
            is_of_all_agents: true,
            used,
            allowed,
            retry_after,
        })
    }
}

/// How much of a limit within a period is used.
struct RateUsage {
    used: i64,
    /// When there will be fewer than are allowed; `None` if there are fewer already, or if none is allowed.
    retry_after: Option<TimeDelta>,
}

impl RateUsage {
    /// `recent` has the newest request first.
    fn new(period: TimeDelta, recent: &[DateTime<Utc>], allowed: i32, now: DateTime<Utc>) -> Self {
        let used = recent.iter().take_while(|at| **at + period > now).count();
        let allowed = usize::try_from(allowed).unwrap_or_default();
        // A place is free as soon as the oldest of the last `allowed` requests no longer counts.
        let oldest = allowed.checked_sub(1).and_then(|index| recent.get(index));
        Self {
            used: i64::try_from(used).unwrap_or(i64::MAX),
            retry_after: oldest.map(|oldest| *oldest + period - now),
        }
    }
}

/// A limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReached {
    pub limit: LimitName,
    /// Whether all agents together have reached what follows from the limit: see [`STARTS_OF_ALL_AGENTS`].
    pub is_of_all_agents: bool,
    pub used: i64,
    pub allowed: i32,
    /// When the request can be repeated. `None` if waiting does not help.
    pub retry_after: Option<TimeDelta>,
}

impl LimitReached {
    /// The limit's name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        if self.is_of_all_agents {
            STARTS_OF_ALL_AGENTS
        } else {
            self.limit.as_str()
        }
    }

    /// Whole seconds, rounded up: a client that waits so long is not refused again.
    #[must_use]
    pub fn retry_after_seconds(self) -> Option<u32> {
        let microseconds = self.retry_after?.num_microseconds().unwrap_or_default();
        let seconds = u64::try_from(microseconds)
            .unwrap_or_default()
            .div_ceil(1_000_000);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX).max(1))
    }
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, per) = match self.limit {
            LimitName::Agents => ("Agents", "per organization"),
            LimitName::ActiveStarts => ("Starts that wait or run", "per organization"),
            LimitName::RunningStarts => ("Starts that run", "per organization"),
            LimitName::OpenStreams => ("Open streams", "per organization"),
            LimitName::StartsPerAgentAndHour if self.is_of_all_agents => {
                ("Starts of all agents", "an hour")
            }
            LimitName::StartsPerAgentAndHour => ("Starts of an agent", "an hour"),
            LimitName::RunningSnapshots => ("Snapshots that run", "per organization"),
            LimitName::SnapshotsPerHour => ("Snapshots of all agents", "an hour"),
            LimitName::SnapshotsPerAgentAndHour => ("Snapshots of an agent", "an hour"),
            LimitName::SnapshotsPerAgentAndMinute => ("Snapshots of an agent", "a minute"),
        };
        let advice = match (self.limit, self.retry_after) {
            (_, Some(_)) => "; please try again later",
            (LimitName::Agents, None) if self.allowed > 0 => "; delete one first",
            (_, None) => "",
        };
        let allowed = self.allowed;
        write!(f, "{what} are limited to {allowed} {per}{advice}")
    }
}

impl std::error::Error for LimitReached {}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(n: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(n)
    }

    fn minutes(of: &[i64]) -> Vec<DateTime<Utc>> {
        of.iter().copied().map(minute).collect()
    }

    fn with(limit: LimitName, value: i32) -> OrganizationLimits {
        let mut limits = OrganizationLimits::default();
        limits.set(limit, Some(value));
        limits
    }

    #[test]
    fn a_rate_refuses_until_the_oldest_request_that_counts_is_an_hour_old() {
        let two = with(STARTS.limit, 2);
        for (recent, now, wait) in [
            (vec![], 0, None),
            (vec![30], 31, None),
            (vec![30, 10], 31, Some(39)),
            (vec![30, 10], 69, Some(1)),
            (vec![30, 10], 70, None),
            (vec![35, 30, 10], 69, Some(21)),
        ] {
            let refused = two.check_rate(STARTS, &minutes(&recent), minute(now)).err();
            let waits = refused.map(|refused| refused.retry_after.expect("a time").num_minutes());
            assert_eq!(waits, wait, "{recent:?} at {now}");
        }
    }

    #[test]
    fn f49_each_limit_has_a_default_within_its_bounds_and_a_value_of_its_own() {
        for limit in LimitName::ALL {
            assert!(limit.bounds().contains(&limit.default_value()), "{limit:?}");
            let limits = with(*limit, 7);
            for other in LimitName::ALL {
                let expected = (other == limit).then_some(7);
                assert_eq!(limits.value(*other), expected, "{limit:?} {other:?}");
            }
        }
    }

    #[test]
    fn f49_a_stream_is_refused_until_enough_of_the_open_ones_have_ended() {
        let limit = LimitName::OpenStreams;
        let two = with(limit, 2);
        for (expiries, wait) in [
            (vec![], None),
            (vec![5], None),
            (vec![5, 9], Some(5)),
            // The limit was lowered: two of them must end.
            (vec![5, 9, 12], Some(9)),
        ] {
            let refused = two.check_running(limit, &minutes(&expiries), minute(0));
            let refused = refused.err();
            let waits = refused.map(|refused| refused.retry_after.expect("a time").num_minutes());
            assert_eq!(waits, wait, "{expiries:?}");
        }
    }

    #[test]
    fn f49_all_agents_may_be_started_as_often_as_each_of_them_may() {
        let mut limits = with(STARTS.limit, 2);
        limits.set(LimitName::Agents, Some(2));
        let refused = |agents, recent: &[i64], now| {
            let checked = limits.check_starts_of_all_agents(agents, &minutes(recent), minute(now));
            let refused = checked.err()?;
            let wait = refused.retry_after.expect("a time").num_minutes();
            Some((refused.name(), refused.used, refused.allowed, wait))
        };
        let four: &[i64] = &[30, 20, 10, 5];
        assert_eq!(refused(1, &four[..3], 31), None);
        let reached = Some(("startsPerHour", 4, 4, 34));
        assert_eq!(refused(1, four, 31), reached);
        assert_eq!(refused(1, four, 65), None);
        // An organization has more agents than it may if the limit was lowered.
        assert_eq!(refused(3, four, 31), None);
    }

    #[test]
    fn f49_where_none_is_allowed_nobody_is_told_to_wait() {
        let now = minute(1);
        let reached = |limit, used: &[DateTime<Utc>]| match limit {
            LimitName::OpenStreams | LimitName::RunningSnapshots => {
                with(limit, 0).check_running(limit, used, now)
            }
            LimitName::StartsPerAgentAndHour => with(limit, 0).check_rate(STARTS, used, now),
            _ => with(limit, 0).check(limit, 0, Some(TimeDelta::minutes(1))),
        };
        for used in [vec![], minutes(&[0]), minutes(&[2])] {
            for limit in LimitName::ALL {
                let refused = reached(*limit, &used).expect_err("a refusal");
                assert_eq!(refused.retry_after_seconds(), None, "{limit:?}");
                assert!(!refused.to_string().contains(';'), "{refused}");
            }
        }
    }
}
