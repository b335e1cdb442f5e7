//! When a running agent is backed up. Owns: that the backups of all agents are spread over the day, and when a failed
//! attempt is repeated.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use super::ids::AgentId;

const SECONDS_OF_DAY: u64 = 86_400;
/// The last wait is repeated.
const RETRY_AFTER: [TimeDelta; 3] = [
    TimeDelta::minutes(15),
    TimeDelta::hours(1),
    TimeDelta::hours(4),
];
/// After so many failed attempts in a row an operator should look: a day without a backup is near.
pub const MANY_FAILURES: i32 = 3;

/// The next time of the day that is the agent's own. It follows from the agent's identifier, which is random.
#[must_use]
pub fn next_after(agent_id: AgentId, after: DateTime<Utc>) -> DateTime<Utc> {
    let (_, low) = agent_id.uuid().as_u64_pair();
    let second = i64::try_from(low % SECONDS_OF_DAY).unwrap_or_default();
    let midnight = after.date_naive().and_time(NaiveTime::MIN).and_utc();
    let today = midnight + TimeDelta::seconds(second);
    if today > after {
        today
    } else {
        today + TimeDelta::days(1)
    }
}

/// How long to wait after this many failed attempts in a row.
#[must_use]
pub fn retry_after(failures: i32) -> TimeDelta {
    let index = usize::try_from(failures - 1).unwrap_or_default();
    RETRY_AFTER[index.min(RETRY_AFTER.len() - 1)]
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn an_agents_time_comes_once_a_day() {
        // 3,661 seconds after midnight.
        let agent = AgentId::new(Uuid::from_u64_pair(7, 86_400 * 5 + 3_661));
        for (after, next) in [
            ("2026-03-01T00:00:00Z", "2026-03-01T01:01:01Z"),
            ("2026-03-01T01:01:00Z", "2026-03-01T01:01:01Z"),
            ("2026-03-01T01:01:01Z", "2026-03-02T01:01:01Z"),
            ("2026-03-31T23:59:59Z", "2026-04-01T01:01:01Z"),
        ] {
            assert_eq!(next_after(agent, at(after)), at(next), "{after}");
        }
    }

    #[test]
    fn the_agents_are_spread_over_the_day() {
        let midnight = at("2026-03-01T00:00:00Z");
        let mut hours = [0; 24];
        for n in 0..2_400_u64 {
            // As random as the digits of a random UUID.
            let low = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let agent = AgentId::new(Uuid::from_u64_pair(0, low));
            let due = next_after(agent, midnight);
            let hour = (due - midnight - TimeDelta::nanoseconds(1)).num_hours();
            hours[usize::try_from(hour).expect("an hour")] += 1;
        }
        assert!(hours.iter().all(|n| (50..=150).contains(n)), "{hours:?}");
    }

    #[test]
    fn failed_attempts_are_repeated_later_and_later() {
        let minutes = [1, 2, 3, 4, 100].map(|failures| retry_after(failures).num_minutes());
        assert_eq!(minutes, [15, 60, 240, 240, 240]);
    }
}
