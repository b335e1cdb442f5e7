//! Jobs: what is done outside the request. Owns: the kinds, their retries, the sentences they fail
//! with. Does not own: doing them (`app::job::run`).

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Serialize, Serializer};

/// Tries of a start job.
pub const START_ATTEMPTS: i32 = 3;
/// Without progress for this long, the worker is taken for dead.
pub const STALE_AFTER: TimeDelta = TimeDelta::minutes(5);
/// How long a start usually takes: what clients are told to expect.
pub const USUAL_START: TimeDelta = TimeDelta::seconds(90);

/// The kinds of jobs that are ours. The table holds others, which are left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Starts an agent.
    Provision,
    /// Gives an agent an earlier state, and starts it where it does not run.
    Restore,
    /// Stops an agent and keeps what it needs to go on later.
    Suspend,
    /// Stops an agent and removes all of it.
    Delete,
}

impl JobKind {
    /// Reads the database's word; none for a job of somebody else's.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Provision, Self::Restore, Self::Suspend, Self::Delete]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }

    /// The database's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provision => "milady_provision",
            Self::Restore => "milady_restore",
            Self::Suspend => "milady_suspend",
            Self::Delete => "milady_delete",
        }
    }

    /// What it does, in one word.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Restore => "restore",
            Self::Suspend => "suspend",
            Self::Delete => "delete",
        }
    }

    /// Whether it can end with a running container. An agent has at most one such job, and at most
    /// one of the others.
    #[must_use]
    pub fn starts(self) -> bool {
        matches!(self, Self::Provision | Self::Restore)
    }

    /// Tries it gets; none = until it succeeds: what was asked to stop must stop.
    #[must_use]
    pub fn max_attempts(self) -> Option<i32> {
        self.starts().then_some(START_ATTEMPTS)
    }

    /// When to try again after `attempts` tries; none when it has had all of them.
    #[must_use]
    pub fn retry_after(self, attempts: i32) -> Option<TimeDelta> {
        if self.max_attempts().is_some_and(|most| attempts >= most) {
            return None;
        }
        Some(match attempts {
            ..=1 => TimeDelta::seconds(30),
            2 => TimeDelta::minutes(2),
            _ => TimeDelta::minutes(15),
        })
    }
}

impl Serialize for JobKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One thing a job has done or is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Which: `credit`, `host`, ...
    pub name: &'static str,
    /// `running`, `done` or `failed`.
    pub status: &'static str,
    /// Since when; in JSON with milliseconds, as all dates are.
    #[serde(serialize_with = "milliseconds")]
    pub at: DateTime<Utc>,
}

fn milliseconds<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Why a try of a job ended without success. What it displays is shown to the owner: it holds no
/// address, no name of a host and no text of a driver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobFailure {
    /// The gate refused: trying again would not help before the owner pays.
    #[error("{0}")]
    Credit(String),
    /// The agent is gone or in a state that does not allow it.
    #[error("{0}")]
    NotNow(&'static str),
    /// What the job says of itself cannot be understood.
    #[error("The job is malformed")]
    Malformed,
    /// Something outside did not work, and may work later.
    #[error("{0}")]
    Outside(String),
    /// It cannot be done as it is asked for, now or later.
    #[error("{0}")]
    Refused(String),
}

impl JobFailure {
    /// Whether the same job may succeed later.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Outside(_))
    }
}

/// What a job is told whose worker showed no progress for too long.
pub const STALE: &str = "The worker stopped before the job was finished";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_end_after_three_tries_and_stops_never_do() {
        let seconds =
            |kind: JobKind, attempts| kind.retry_after(attempts).map(|wait| wait.num_seconds());
        for kind in [JobKind::Provision, JobKind::Restore] {
            assert_eq!(
                [1, 2, 3, 4].map(|n| seconds(kind, n)),
                [Some(30), Some(120), None, None]
            );
        }
        for kind in [JobKind::Suspend, JobKind::Delete] {
            let waits = [1, 2, 3, 4, 1_000].map(|n| seconds(kind, n));
            assert_eq!(
                waits,
                [Some(30), Some(120), Some(900), Some(900), Some(900)]
            );
        }
    }

    #[test]
    fn the_words_are_read_as_they_are_written() {
        for kind in [
            JobKind::Provision,
            JobKind::Restore,
            JobKind::Suspend,
            JobKind::Delete,
        ] {
            assert_eq!(JobKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(JobKind::parse("image_generation"), None);
    }
}
