//! Hosts on which starts fail again and again. Owns: when a host is set aside, and for how long.

use std::collections::HashMap;
use std::hash::Hash;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::ids::{AgentId, OrganizationId};

/// How long a failed start counts against its host.
pub const SET_ASIDE_PERIOD: TimeDelta = TimeDelta::minutes(30);
/// So many failures set a host aside.
const MAX_FAILURES: usize = 3;

/// A start that failed on a host, where none has succeeded since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedStart {
    pub node_id: String,
    pub organization_id: OrganizationId,
    pub agent_id: AgentId,
    /// Whether the host failed, and not perhaps the agent's image.
    pub is_hosts_fault: bool,
    pub failed_at: DateTime<Utc>,
}

/// The hosts that are set aside, each with the time until which it is.
///
/// A host is set aside when it failed three agents within the period. A failure that may be due to the agent's image
/// counts, too, but only once for each organization: otherwise one organization could set every host aside.
#[must_use]
pub fn set_aside_hosts(
    failures: &[FailedStart],
    now: DateTime<Utc>,
) -> HashMap<String, DateTime<Utc>> {
    let mut by_host: HashMap<&str, Vec<&FailedStart>> = HashMap::new();
    for failure in failures {
        by_host.entry(&failure.node_id).or_default().push(failure);
    }
    let hosts = by_host.into_iter().filter_map(|(node_id, failures)| {
        let until = set_aside_until(&failures)?;
        (until > now).then(|| (node_id.to_owned(), until))
    });
    hosts.collect()
}

fn set_aside_until(failures: &[&FailedStart]) -> Option<DateTime<Utc>> {
    let failures = || failures.iter();
    let of_agents = failures()
        .filter(|failure| failure.is_hosts_fault)
        .map(|failure| (failure.agent_id, failure.failed_at));
    let of_organizations = failures().map(|failure| (failure.organization_id, failure.failed_at));
    let decisive = decisive_failure(of_agents).max(decisive_failure(of_organizations))?;
    Some(decisive + SET_ASIDE_PERIOD)
}

/// When the oldest of the newest three failures happened, of which each has another cause. `None` if there are fewer.
fn decisive_failure<C: Eq + Hash>(
    failures: impl Iterator<Item = (C, DateTime<Utc>)>,
) -> Option<DateTime<Utc>> {
    let mut newest: HashMap<C, DateTime<Utc>> = HashMap::new();
    for (cause, failed_at) in failures {
        let time = newest.entry(cause).or_insert(failed_at);
        *time = failed_at.max(*time);
    }
    let mut times: Vec<DateTime<Utc>> = newest.into_values().collect();
    times.sort_unstable();
    times.iter().rev().nth(MAX_FAILURES - 1).copied()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const HOSTS: bool = true;
    const PERHAPS_IMAGE: bool = false;

    fn minute(n: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(n)
    }

    fn failure(organization: u128, agent: u128, is_hosts_fault: bool, at: i64) -> FailedStart {
        FailedStart {
            node_id: "a".to_owned(),
            organization_id: OrganizationId::new(Uuid::from_u128(organization)),
            agent_id: AgentId::new(Uuid::from_u128(agent)),
            is_hosts_fault,
            failed_at: minute(at),
        }
    }

    #[test]
    fn f66_a_host_that_failed_three_agents_is_set_aside_until_the_first_failure_is_old() {
        for (failures, until) in [
            (vec![], None),
            (vec![failure(1, 1, HOSTS, 0), failure(1, 2, HOSTS, 5)], None),
            // One agent that fails again and again may be the cause itself.
            ((0..9).map(|n| failure(1, 1, HOSTS, n)).collect(), None),
            (
                vec![
                    failure(1, 1, HOSTS, 0),
                    failure(1, 2, HOSTS, 5),
                    failure(1, 3, HOSTS, 9),
                ],
                Some(30),
            ),
            // The newest three decide, and of each agent the newest.
            (
                vec![
                    failure(1, 1, HOSTS, 0),
                    failure(1, 2, HOSTS, 2),
                    failure(1, 3, HOSTS, 3),
                    failure(1, 1, HOSTS, 4),
                    failure(1, 4, HOSTS, 9),
                ],
                Some(33),
            ),
        ] {
            let until = until.map(minute);
            let found = set_aside_hosts(&failures, minute(10));
            assert_eq!(found.get("a").copied(), until, "{failures:?}");
            let reversed: Vec<FailedStart> = failures.iter().rev().cloned().collect();
            assert_eq!(set_aside_hosts(&reversed, minute(10)), found);
            if let Some(until) = until {
                let later = set_aside_hosts(&failures, until);
                assert_eq!(later, HashMap::new(), "{failures:?}");
            }
        }
    }

    #[test]
    fn f66_one_organizations_images_set_no_host_aside() {
        let of_one: Vec<FailedStart> = (0..200).map(|n| failure(1, n, PERHAPS_IMAGE, 0)).collect();
        assert_eq!(set_aside_hosts(&of_one, minute(1)), HashMap::new());
        let of_three = [1, 2, 3].map(|n| failure(n, n, PERHAPS_IMAGE, 0));
        let expected = HashMap::from([("a".to_owned(), minute(30))]);
        assert_eq!(set_aside_hosts(&of_three, minute(1)), expected);
    }

    #[test]
    fn failures_on_other_hosts_do_not_count() {
        let mut failures = [1, 2, 3].map(|n| failure(n, n, HOSTS, 0));
        failures[2].node_id = "b".to_owned();
        assert_eq!(set_aside_hosts(&failures, minute(1)), HashMap::new());
    }
}
