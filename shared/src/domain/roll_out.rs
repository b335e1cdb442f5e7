//! Rolling out a new version of the default image to the agents that run another one. Owns: what can happen to a roll-out
//! and to each agent, and when failures pause it. Does not own: carrying it out (`app::agent::roll_out`,
//! `app::agent::image_restarts`).

use super::words::words;

/// How many agents are restarted at the same time, unless the operator says otherwise.
pub const DEFAULT_RESTARTS_AT_ONCE: i32 = 3;
pub const MAX_RESTARTS_AT_ONCE: i32 = 20;
/// How many percent of an organization's running agents are restarted at the same time. One always may be.
pub const ORGANIZATION_PERCENT: i64 = 20;
/// A pause depends on so many of the last restarts.
pub const RECENT_RESTARTS: i64 = 20;
/// Fewer restarts say nothing about the image.
const MIN_RESTARTS: i64 = 5;
/// If more percent of the last restarts failed, the roll-out pauses.
const MAX_FAILED_PERCENT: i64 = 20;
/// What the owner reads when a restart has ended because its starts failed.
pub const RESTART_NOT_STARTED: &str =
    "The agent could not be started again after an update of its image: five starts have failed";

words! {
    pub enum RollOutState {
        Running = "running",
        /// No restart is begun. Those under way go on.
        Paused = "paused",
        /// An operator ended it. Restarts under way go on.
        Cancelled = "cancelled",
        /// No running agent is left that it could restart.
        Done = "done",
    }

    /// What a roll-out did with an agent.
    pub enum RestartOutcome {
        /// It runs the new version.
        Restarted = "restarted",
        /// It could not be started with the new version, and is put back on the one that it ran before.
        Failed = "failed",
        /// It was left as it was, or somebody else stopped it meanwhile.
        Skipped = "skipped",
    }
}

/// The last restarts that succeeded or failed, [`RECENT_RESTARTS`] of them at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentRestarts {
    pub decided: i64,
    pub failed: i64,
}

impl RecentRestarts {
    /// Why the roll-out pauses; `None` if it goes on.
    #[must_use]
    pub fn pause_reason(self) -> Option<String> {
        let Self { decided, failed } = self;
        let is_too_many = decided >= MIN_RESTARTS && failed * 100 > decided * MAX_FAILED_PERCENT;
        is_too_many.then(|| {
            format!("{failed} of the last {decided} restarts failed; their agents are put back")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f69_a_roll_out_pauses_when_more_than_a_fifth_of_the_last_restarts_failed() {
        for (decided, failed, pauses) in [
            (0, 0, false),
            (4, 4, false),
            (5, 1, false),
            (5, 2, true),
            (20, 4, false),
            (20, 5, true),
        ] {
            let recent = RecentRestarts { decided, failed };
            let reason = recent.pause_reason();
            assert_eq!(reason.is_some(), pauses, "{recent:?}");
        }
        let recent = RecentRestarts {
            decided: 20,
            failed: 5,
        };
        assert_eq!(
            recent.pause_reason().as_deref(),
            Some("5 of the last 20 restarts failed; their agents are put back")
        );
    }
}
