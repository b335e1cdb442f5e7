//! Lanes: stops and starts have queues and workers of their own, so that slow starts delay no stop (F74). Owns: how many
//! jobs of an organization and on a host run at a time, how many webhooks of its jobs are called, when a due job is
//! announced again, and what operators see of a lane. Does not own: how many workers a lane has (`template.yaml`).

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::job::JobClass;
use super::limits::{LimitName, OrganizationLimits};

/// How many stops of an organization run at a time. A stop can take minutes, and an agent can make it slow on purpose:
/// with a fifth of the lane's workers, an organization leaves room for the others.
const MAX_RUNNING_STOPS: i32 = 4;
/// How many jobs of a lane run on a host at a time. More than an organization's stops, so that one organization does not
/// occupy a host. Each worker has a connection of its own, and OpenSSH refuses some when more than ten log in at once.
pub const MAX_RUNNING_ON_HOST: i32 = 6;
/// A job that was announced and that no worker has claimed is announced again after this time. The queues keep an event
/// as long (`MessageRetentionPeriod` in `template.yaml`), so that no queue holds two events about one job.
pub const ANNOUNCE_AGAIN_AFTER: TimeDelta = TimeDelta::minutes(2);
/// How many jobs of a lane a sweep announces. A worker that has ended a job goes on with a waiting one, so this is no
/// limit on how many jobs run in a minute.
pub const MAX_ANNOUNCED: i64 = 200;
/// How many webhooks of an organization's jobs are called at a time. A receiver can keep a worker for ten seconds: with a
/// tenth of the lane's workers, an organization leaves room for the jobs of others.
pub const MAX_WEBHOOK_CALLS: i64 = 3;
/// How many events about due webhooks of an organization's jobs wait in the queues at a time. More than are called at a
/// time, so that receivers which answer are called without a pause.
pub const MAX_WEBHOOKS_ANNOUNCED: i64 = 5;

/// How many jobs of a lane run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningJobs {
    pub of_organization: i64,
    /// On the host of the waiting job's agent; zero if the agent has no host.
    pub on_host: i64,
}

/// How many jobs of a lane may run of an organization, unless an operator has set another number.
#[must_use]
pub fn default_max_running(lane: JobClass) -> i32 {
    match lane {
        JobClass::Start => LimitName::RunningStarts.default_value(),
        JobClass::Stop => MAX_RUNNING_STOPS,
    }
}

/// Whether one more job may run beside these.
#[must_use]
pub fn has_room(lane: JobClass, limits: OrganizationLimits, running: RunningJobs) -> bool {
    let max_running = match lane {
        JobClass::Start => limits.allowed(LimitName::RunningStarts),
        JobClass::Stop => MAX_RUNNING_STOPS,
    };
    running.of_organization < i64::from(max_running)
        && running.on_host < i64::from(MAX_RUNNING_ON_HOST)
}

/// The jobs of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneBacklog {
    /// Jobs that wait for a worker.
    pub due: u64,
    /// Jobs that a worker has.
    pub running: u64,
    /// Since when the job that has waited longest is due.
    pub oldest_due_at: Option<DateTime<Utc>>,
}

impl LaneBacklog {
    /// How long the oldest job has waited; zero if none waits.
    #[must_use]
    pub fn age(&self, now: DateTime<Utc>) -> TimeDelta {
        let age = self.oldest_due_at.map(|at| now - at);
        age.unwrap_or_default().max(TimeDelta::zero())
    }
}

/// The jobs of both lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    pub stops: LaneBacklog,
    pub starts: LaneBacklog,
}

impl Backlog {
    /// Jobs that wait for a worker.
    #[must_use]
    pub fn due(&self) -> u64 {
        self.stops.due + self.starts.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(lane: JobClass, of_organization: i64, on_host: i64) -> bool {
        let running = RunningJobs {
            of_organization,
            on_host,
        };
        has_room(lane, OrganizationLimits::default(), running)
    }

    #[test]
    fn a_job_waits_while_its_organization_or_its_host_has_as_many_as_may_run() {
        assert!(room(JobClass::Stop, 3, 5) && !room(JobClass::Stop, 4, 5));
        assert!(room(JobClass::Start, 9, 5) && !room(JobClass::Start, 10, 5));
        for lane in JobClass::ALL {
            assert!(room(*lane, 0, 5) && !room(*lane, 0, 6), "{lane:?}");
        }
    }

    #[test]
    fn an_operators_limit_counts_for_starts_only() {
        let limits = OrganizationLimits {
            running_starts: Some(1),
            ..OrganizationLimits::default()
        };
        let running = RunningJobs {
            of_organization: 1,
            on_host: 0,
        };
        assert!(!has_room(JobClass::Start, limits, running));
        assert!(has_room(JobClass::Stop, limits, running));
    }

    #[test]
    fn what_runs_by_default_is_what_has_room_by_default() {
        for lane in JobClass::ALL {
            let max_running = i64::from(default_max_running(*lane));
            assert!(room(*lane, max_running - 1, 0), "{lane:?}");
            assert!(!room(*lane, max_running, 0), "{lane:?}");
        }
    }

    #[test]
    fn the_backlog_is_that_of_both_lanes() {
        let lane = |due| LaneBacklog {
            due,
            running: 100,
            oldest_due_at: None,
        };
        let backlog = Backlog {
            stops: lane(2),
            starts: lane(5),
        };
        assert_eq!(backlog.due(), 7);
    }

    #[test]
    fn an_empty_lane_and_a_clock_that_runs_ahead_have_no_age() {
        let now = DateTime::UNIX_EPOCH;
        let due_at = |at| LaneBacklog {
            oldest_due_at: at,
            ..LaneBacklog::default()
        };
        let seconds = |backlog: LaneBacklog| backlog.age(now).num_seconds();
        assert_eq!(seconds(due_at(None)), 0);
        assert_eq!(seconds(due_at(Some(now + TimeDelta::seconds(5)))), 0);
        assert_eq!(seconds(due_at(Some(now - TimeDelta::seconds(5)))), 5);
    }
}
