//! Limits on what an owner may request: how often, where it costs us more than it costs the owner, and how large an
//! agent's settings may be. Owns: the limits' names and values, and when a request exceeds one.

use chrono::{DateTime, TimeDelta, Utc};

pub const MAX_AGENT_NAME_CHARS: usize = 100;
pub const MAX_VARIABLE_NAME_BYTES: usize = 128;
/// Linux starts no process with an environment variable of 128 KiB or more, its name and the terminating zero
/// included.
pub const MAX_VARIABLE_BYTES: usize = 120_000;
/// The agent gets its configuration in an environment variable too.
pub const MAX_CONFIG_BYTES: usize = 100_000;
pub const MAX_IMAGE_BYTES: usize = 255;

/// A limit on requests of one kind for one agent within an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The name in refusals.
    pub name: &'static str,
    pub max: usize,
}

/// Starts and restores, whether or not they succeeded: a start that fails costs its owner nothing.
pub const STARTS: Limit = Limit {
    name: "startsPerAgentAndHour",
    max: 10,
};
/// Backups that an owner requested, of up to 50 MB each. Below `MAX_BACKUPS`, because only kept ones are counted.
pub const SNAPSHOTS: Limit = Limit {
    name: "snapshotsPerAgentAndHour",
    max: 6,
};
/// The period in which requests count.
pub const PERIOD: TimeDelta = TimeDelta::hours(1);

/// For keys whose own limit is not positive, and for callers without a key.
pub const DEFAULT_REQUESTS_PER_MINUTE: i32 = 1_000;

/// A limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The limit {} of {} is reached; please try again later", .limit.name, .limit.max)]
pub struct LimitReached {
    pub limit: Limit,
    /// When the oldest request that counts ceases to.
    pub retry_after: TimeDelta,
}

impl LimitReached {
    /// Whole seconds, rounded up: a client that waits so long is not refused again.
    #[must_use]
    pub fn retry_after_seconds(self) -> u32 {
        let microseconds = self.retry_after.num_microseconds().unwrap_or_default();
        let seconds = u64::try_from(microseconds)
            .unwrap_or_default()
            .div_ceil(1_000_000);
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }
}

impl Limit {
    /// Refuses one more request after these within the last [`PERIOD`], newest first.
    pub fn check(self, recent: &[DateTime<Utc>], now: DateTime<Utc>) -> Result<(), LimitReached> {
        // A place is free as soon as the oldest of the last `max` requests no longer counts.
        let Some(oldest) = self.max.checked_sub(1).and_then(|index| recent.get(index)) else {
            return Ok(());
        };
        let retry_after = *oldest + PERIOD - now;
        if retry_after <= TimeDelta::zero() {
            return Ok(());
        }
        Err(LimitReached {
            limit: self,
            retry_after,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Limit = Limit {
        name: "test",
        max: 2,
    };

    fn minute(n: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(n)
    }

    #[test]
    fn a_limit_refuses_until_the_oldest_request_that_counts_is_an_hour_old() {
        for (recent, now, wait) in [
            (vec![], 0, None),
            (vec![30], 31, None),
            (vec![30, 10], 31, Some(39)),
            (vec![30, 10], 69, Some(1)),
            (vec![30, 10], 70, None),
            (vec![35, 30, 10], 69, Some(21)),
        ] {
            let recent: Vec<_> = recent.into_iter().map(minute).collect();
            let refused = TWO.check(&recent, minute(now)).err();
            assert_eq!(
                refused.map(|refusal| refusal.retry_after.num_minutes()),
                wait,
                "{recent:?} at {now}"
            );
        }
    }
}
