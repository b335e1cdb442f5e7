//! Jobs: work on an agent outside the request. Owns: the names and classes of the kinds, the names of their steps, the
//! retry rules, and the texts that jobs fail with. Does not own: what else a kind is (`app::job::run::kind`).

use chrono::TimeDelta;
use serde::{Serialize, Serializer};

use super::ids::JobId;
use super::timestamp::Timestamp;
use super::words::words;

/// A worker that has recorded no progress for this long counts as dead. Live workers record some every 10 seconds.
pub const JOB_STALE_AFTER: TimeDelta = TimeDelta::minutes(5);
/// The error of a job whose worker counts as dead.
pub const STALE_JOB_ERROR: &str = "The worker stopped before the job was finished";
/// How long clients are told to expect a start to take.
pub const EXPECTED_START_DURATION: TimeDelta = TimeDelta::seconds(90);
/// The names of all kinds begin with it, because indexes of the table hold only the jobs whose kinds do.
const KIND_PREFIX: &str = "milady_";

words! {
    /// The kinds of jobs that this product runs. The table holds other applications' kinds too, which are never
    /// touched.
    pub enum JobKind {
        /// Starts an agent.
        Provision = "milady_provision",
        /// Restores an agent from a backup, and starts it if it is not running.
        Restore = "milady_restore",
        /// Stops an agent and keeps what it needs to be started again.
        Suspend = "milady_suspend",
        /// Stops an agent and removes everything that belongs to it.
        Delete = "milady_delete",
    }

    /// Whether a job starts or stops compute. An agent has at most one active job of each class, and the jobs of a class
    /// have a lane: see `domain::lane`.
    pub enum JobClass {
        /// The job can end with a running container.
        Start = "start",
        /// The job leaves the agent stopped, or finds that it is gone. One that moves an agent leaves it running if it
        /// cannot be moved.
        Stop = "stop",
    }

    /// `jobs.status`.
    pub enum JobStatus {
        /// Waits for its first or its next attempt.
        Pending = "pending",
        InProgress = "in_progress",
        Completed = "completed",
        /// Failed for good.
        Failed = "failed",
    }

    /// A step of a job. The names are on the wire.
    pub enum StepName {
        Credit = "credit",
        Cleanup = "cleanup",
        Database = "database",
        Place = "place",
        Pull = "pull",
        Create = "create",
        /// Copies the volume of an agent that is moved.
        Copy = "copy",
        Start = "start",
        Health = "health",
        Restore = "restore",
        /// Marks the agent as running.
        MarkRunning = "running",
        Snapshot = "snapshot",
        Stop = "stop",
        Volume = "volume",
    }

    pub enum StepStatus {
        Running = "running",
        Done = "done",
        Failed = "failed",
    }
}

impl JobKind {
    /// The names of all kinds, for queries.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|kind| kind.as_str()).collect()
    }

    #[must_use]
    pub fn class(self) -> JobClass {
        match self {
            Self::Provision | Self::Restore => JobClass::Start,
            Self::Suspend | Self::Delete => JobClass::Stop,
        }
    }

    #[must_use]
    pub fn is_start(self) -> bool {
        self.class() == JobClass::Start
    }

    /// The owner sees the failure after the last attempt of a start and can start the agent again. An agent that was asked
    /// to stop must stop.
    #[must_use]
    pub fn retry(self) -> RetryRule {
        match self.class() {
            JobClass::Start => RetryRule::AtMost { attempts: 3 },
            JobClass::Stop => RetryRule::UntilCompleted,
        }
    }

    #[must_use]
    pub fn verb(self) -> JobVerb {
        JobVerb(self)
    }
}

impl JobClass {
    /// The names of the kinds of this class, for queries.
    #[must_use]
    pub fn kind_names(self) -> Vec<&'static str> {
        let kinds = JobKind::ALL.iter().filter(|kind| kind.class() == self);
        kinds.map(|kind| kind.as_str()).collect()
    }
}

/// What a job does, in one word: the name of its kind without the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobVerb(JobKind);

impl JobVerb {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let name = self.0.as_str();
        name.strip_prefix(KIND_PREFIX).unwrap_or(name)
    }
}

impl Serialize for JobVerb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How often a job is attempted, and how long it waits between two attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryRule {
    AtMost { attempts: i32 },
    UntilCompleted,
}

impl RetryRule {
    /// `None` if there is no limit.
    #[must_use]
    pub fn max_attempts(self) -> Option<i32> {
        match self {
            Self::AtMost { attempts } => Some(attempts),
            Self::UntilCompleted => None,
        }
    }

    /// How long to wait before the next attempt after `attempts` attempts; `None` if no attempt is left.
    #[must_use]
    pub fn wait_after(self, attempts: i32) -> Option<TimeDelta> {
        if self.max_attempts().is_some_and(|max| attempts >= max) {
            return None;
        }
        Some(match attempts {
            ..=1 => TimeDelta::seconds(30),
            2 => TimeDelta::minutes(2),
            _ => TimeDelta::minutes(15),
        })
    }
}

/// A job that is due, and the lane that it waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueJob {
    pub id: JobId,
    pub lane: JobClass,
}

/// A step that a job has begun, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    pub name: StepName,
    pub status: StepStatus,
    /// When the status was recorded.
    pub at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<StepProgress>,
}

/// How far a step is that copies data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepProgress {
    pub copied_bytes: u64,
    /// `None` if the size of the data is not known.
    pub total_bytes: Option<u64>,
}

/// Why an attempt of a job failed. The texts are shown to the owner: they hold no address, no name of a host and no
/// text of a driver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobFailure {
    /// The credit gate refused. Another attempt would not help before the owner pays.
    #[error("{0}")]
    Credit(String),
    /// The agent is gone, or its status does not allow the job.
    #[error("{0}")]
    StatusConflict(&'static str),
    /// The job's row cannot be understood.
    #[error("The job is malformed")]
    Malformed,
    /// A host failed. Another attempt may succeed, on another one.
    #[error("{0}")]
    Host(String),
    /// The host that the agent leaves failed. Another attempt may succeed; the new host is not to blame.
    #[error("{0}")]
    FormerHost(String),
    /// A service or the agent itself failed. Another attempt may succeed.
    #[error("{0}")]
    External(String),
    /// What was requested can never be done.
    #[error("{0}")]
    Refused(String),
}

impl JobFailure {
    /// Whether another attempt of the same job may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Host(_) | Self::FormerHost(_) | Self::External(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limited_job_waits_longer_each_time_and_an_unlimited_one_is_retried_without_end() {
        let waits = |rule: RetryRule| {
            let wait = |attempts| rule.wait_after(attempts).map(|wait| wait.num_seconds());
            [1, 2, 3, 4, 1_000].map(wait)
        };
        assert_eq!(
            waits(RetryRule::AtMost { attempts: 3 }),
            [Some(30), Some(120), None, None, None]
        );
        assert_eq!(
            waits(RetryRule::UntilCompleted),
            [Some(30), Some(120), Some(900), Some(900), Some(900)]
        );
    }

    #[test]
    fn starts_have_three_attempts_and_stops_are_retried_without_end() {
        for kind in [JobKind::Provision, JobKind::Restore] {
            assert_eq!(kind.retry(), RetryRule::AtMost { attempts: 3 });
        }
        for kind in [JobKind::Suspend, JobKind::Delete] {
            assert_eq!(kind.retry(), RetryRule::UntilCompleted);
        }
    }

    #[test]
    fn kinds_are_parsed_from_the_words_they_are_written_with() {
        for kind in JobKind::ALL {
            assert_eq!(JobKind::parse(kind.as_str()), Some(*kind));
        }
        assert_eq!(JobKind::parse("image_generation"), None);
    }

    #[test]
    fn the_indexes_hold_every_kind() {
        for kind in JobKind::ALL {
            assert!(kind.as_str().starts_with(KIND_PREFIX), "{kind:?}");
        }
    }

    #[test]
    fn every_kind_is_named_by_its_class_only() {
        let (starts, stops) = (JobClass::Start.kind_names(), JobClass::Stop.kind_names());
        assert_eq!(starts.len() + stops.len(), JobKind::ALL.len());
        assert!(starts.contains(&"milady_provision") && stops.contains(&"milady_suspend"));
    }

    #[test]
    fn each_kind_has_a_name_a_verb_and_a_class() {
        let kinds = [
            (JobKind::Provision, "milady_provision", "provision", true),
            (JobKind::Restore, "milady_restore", "restore", true),
            (JobKind::Suspend, "milady_suspend", "suspend", false),
            (JobKind::Delete, "milady_delete", "delete", false),
        ];
        assert_eq!(JobKind::names(), kinds.map(|(_, name, _, _)| name));
        for (kind, _, verb, is_start) in kinds {
            assert_eq!((kind.verb().as_str(), kind.is_start()), (verb, is_start));
            assert_eq!(serde_json::json!(kind.verb()), verb);
        }
    }

    #[test]
    fn only_what_a_host_or_a_service_failed_at_is_attempted_again() {
        let text = || "why".to_owned();
        for (failure, is_retryable) in [
            (JobFailure::Host(text()), true),
            (JobFailure::External(text()), true),
            (JobFailure::Credit(text()), false),
            (JobFailure::StatusConflict("why"), false),
            (JobFailure::Malformed, false),
            (JobFailure::Refused(text()), false),
        ] {
            assert_eq!(failure.is_retryable(), is_retryable, "{failure:?}");
        }
    }

    #[test]
    fn a_step_is_serialized_in_lower_case_with_milliseconds() {
        let step = Step {
            name: StepName::Credit,
            status: StepStatus::Done,
            at: Timestamp(chrono::DateTime::UNIX_EPOCH),
            progress: None,
        };
        let expected = serde_json::json!({
            "name": "credit", "status": "done", "at": "1970-01-01T00:00:00.000Z",
        });
        assert_eq!(serde_json::json!(step), expected);
        let copying = Step {
            progress: Some(StepProgress {
                copied_bytes: 5,
                total_bytes: None,
            }),
            ..step
        };
        let expected = serde_json::json!({"copiedBytes": 5, "totalBytes": null});
        assert_eq!(serde_json::json!(copying)["progress"], expected);
        assert_eq!(serde_json::json!(StepName::MarkRunning), "running");
    }
}
