//! The time of one run. Owns: that all times of a run come from one reading of the database's clock.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

/// The database's clock as read at the start of a run, carried on by this process's monotonic clock. No
/// query is needed to know the time, and the clock of the machine does not matter.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    started_at: DateTime<Utc>,
    started: Instant,
}

impl RunClock {
    /// `now` is the database's time.
    #[must_use]
    pub fn start(now: DateTime<Utc>) -> Self {
        Self {
            started_at: now,
            started: Instant::now(),
        }
    }

    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let elapsed = TimeDelta::from_std(self.started.elapsed()).unwrap_or_default();
        self.started_at + elapsed
    }
}
