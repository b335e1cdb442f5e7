//! Hosts that operators take out of service. Owns: when a host may be declared lost, what its agents' owners are told,
//! and what a drain does with each agent. Does not own: carrying it out (`app::node`, `app::agent::moves`).

use chrono::{DateTime, TimeDelta, Utc};

use super::agent::{AgentStatus, StatusConflict};
use super::words::words;

/// A host may be declared lost when it could not be read for this long.
pub const LOSS_AFTER: TimeDelta = TimeDelta::minutes(10);
/// An inspection that is older says nothing about now. Two that are further apart do not count as consecutive.
pub const INSPECTION_MAX_AGE: TimeDelta = TimeDelta::minutes(5);
/// How many agents of a host a drain moves at the same time, unless the operator says otherwise.
pub const DEFAULT_MOVES_AT_ONCE: i32 = 2;
pub const MAX_MOVES_AT_ONCE: i32 = 20;
/// After so many starts that failed, a move or a restart ends, and its agent stays in error: a further start would fail,
/// too.
pub const MAX_MOVE_STARTS: i32 = 5;
/// What the operator and the owner read then.
pub const MOVE_NOT_STARTED: &str =
    "The agent could not be started on another host: five starts have failed";
/// The same of an agent whose data cannot be copied in time.
pub const RETURN_NOT_STARTED: &str = "The agent cannot be moved, and could not be started again on its host: five starts have failed";

words! {
    /// Why a host takes no agents.
    pub enum WithdrawalKind {
        Drain = "drain",
        Loss = "loss",
    }

    /// Whether a host is there for agents.
    pub enum HostService {
        InService = "in_service",
        /// Its agents are moved to other hosts.
        Draining = "draining",
        /// It is empty.
        Drained = "drained",
        /// An operator declared it lost.
        Lost = "lost",
        /// It was declared lost and answers again.
        Returned = "returned",
    }

    /// What a drain does with an agent.
    pub enum DrainFate {
        /// It is stopped, and started on another host with a copy of its volume.
        Moves = "moves",
        /// That is under way.
        Moving = "moving",
        /// It cannot be moved now, because it is being started or stopped, or its host cannot be read.
        Waits = "waits",
        /// It goes on running: its data cannot be copied in time. The drain does not end as long as it runs there.
        Stays = "stays",
        /// It stands still, and the only copy of its state is on the host. The host cannot be removed.
        Unsaved = "unsaved",
        /// It stands still and has a backup, which its next start restores on another host. Its volume stays behind.
        Saved = "saved",
        /// It stands still and has no state.
        Empty = "empty",
    }
}

/// A host that the last inspections could not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnreadHost {
    /// The inspection before the first failed one.
    pub last_read_at: DateTime<Utc>,
    /// The first failed inspection.
    pub since: DateTime<Utc>,
    /// The last failed inspection.
    pub checked_at: DateTime<Utc>,
}

/// Checks whether a host may be declared lost.
pub fn check_loss(
    unread: Option<UnreadHost>,
    now: DateTime<Utc>,
) -> Result<UnreadHost, StatusConflict> {
    let unread = unread.ok_or(StatusConflict(
        "The host was read by its last inspection, so it is not lost",
    ))?;
    if now - unread.checked_at > INSPECTION_MAX_AGE {
        return Err(StatusConflict(
            "The host was not inspected in the last five minutes, so it is not known whether it can be read",
        ));
    }
    if unread.checked_at - unread.since < LOSS_AFTER {
        return Err(StatusConflict(
            "The host has not been unreadable for 10 minutes yet",
        ));
    }
    Ok(unread)
}

/// How long after a start of a move or a restart the next one is requested if it failed. `starts` counts that one, too.
#[must_use]
pub fn move_start_delay(starts: i32) -> TimeDelta {
    match starts {
        ..=1 => TimeDelta::minutes(15),
        2 => TimeDelta::minutes(30),
        3 => TimeDelta::hours(1),
        _ => TimeDelta::hours(2),
    }
}

/// What the owner of an agent is told when its host was declared lost.
#[must_use]
pub fn loss_text(last_backup_at: Option<DateTime<Utc>>) -> String {
    match last_backup_at {
        Some(at) => format!(
            "The agent's host was lost. A start restores the newest backup, of {}, on another host",
            at.format("%Y-%m-%d %H:%M UTC")
        ),
        None => "The agent's host was lost, and the agent has no backup. A start begins without its state on \
                 another host"
            .to_owned(),
    }
}

/// What the owner is told when the host answers again and is taken back into service before the agent was started
/// elsewhere.
pub const STATE_RETURNED: &str =
    "The agent's host was lost and has returned with the agent's state. A start continues with it";

/// What a drain's plan depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is another fact about the row"
)]
pub struct DrainedAgent {
    pub status: AgentStatus,
    /// Whether the row names a container.
    pub names_container: bool,
    pub is_unsaved: bool,
    pub has_backup: bool,
    /// Whether a move is under way.
    pub is_moving: bool,
    /// Whether its move was refused since the drain began.
    pub is_refused: bool,
    pub stop_requested: bool,
}

impl DrainFate {
    #[must_use]
    pub fn of(agent: DrainedAgent) -> Self {
        use AgentStatus::{Disconnected, Error, Pending, Provisioning, Running, Stopped, Unknown};
        match agent.status {
            _ if agent.is_moving => Self::Moving,
            Running if !agent.stop_requested && agent.is_refused => Self::Stays,
            Running if !agent.stop_requested => Self::Moves,
            Running | Disconnected | Provisioning | Unknown => Self::Waits,
            Error if agent.names_container => Self::Waits,
            Error | Stopped | Pending if agent.is_unsaved => Self::Unsaved,
            Error | Stopped | Pending if agent.has_backup => Self::Saved,
            Error | Stopped | Pending => Self::Empty,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    #[test]
    fn f65_a_host_may_be_declared_lost_after_ten_minutes_of_failed_inspections() {
        let unread = |since, checked| {
            Some(UnreadHost {
                last_read_at: at(since - 1),
                since: at(since),
                checked_at: at(checked),
            })
        };
        for (unread, now, is_allowed) in [
            (None, at(60), false),
            (unread(50, 60), at(60), true),
            (unread(50, 60), at(65), true),
            (unread(50, 60), at(66), false),
            (unread(51, 60), at(60), false),
            // Nobody looked in the meantime.
            (unread(51, 60), at(64), false),
        ] {
            assert_eq!(
                check_loss(unread, now).is_ok(),
                is_allowed,
                "{unread:?} {now}"
            );
        }
    }

    #[test]
    fn f70_the_starts_of_a_move_are_repeated_later_and_later() {
        let delays = (1..=MAX_MOVE_STARTS).map(|starts| move_start_delay(starts).num_minutes());
        assert_eq!(delays.collect::<Vec<_>>(), [15, 30, 60, 120, 120]);
    }

    #[test]
    fn the_owner_learns_of_the_backup_that_a_start_restores() {
        assert_eq!(
            loss_text(Some(at(61))),
            "The agent's host was lost. A start restores the newest backup, of 1970-01-01 01:01 UTC, on another host"
        );
        assert!(loss_text(None).contains("has no backup"));
    }

    #[test]
    fn f70_a_drain_moves_what_runs_and_says_what_stays_behind() {
        let agent = |status| DrainedAgent {
            status,
            names_container: status != AgentStatus::Stopped,
            is_unsaved: false,
            has_backup: true,
            is_moving: false,
            is_refused: false,
            stop_requested: false,
        };
        let running = agent(AgentStatus::Running);
        let stopped = agent(AgentStatus::Stopped);
        let failed = agent(AgentStatus::Error);
        for (agent, fate) in [
            (running, DrainFate::Moves),
            (
                DrainedAgent {
                    stop_requested: true,
                    ..running
                },
                DrainFate::Waits,
            ),
            (
                DrainedAgent {
                    is_moving: true,
                    ..stopped
                },
                DrainFate::Moving,
            ),
            (
                DrainedAgent {
                    is_refused: true,
                    ..running
                },
                DrainFate::Stays,
            ),
            (agent(AgentStatus::Provisioning), DrainFate::Waits),
            (agent(AgentStatus::Disconnected), DrainFate::Waits),
            (agent(AgentStatus::Unknown), DrainFate::Waits),
            (failed, DrainFate::Waits),
            (
                DrainedAgent {
                    names_container: false,
                    is_unsaved: true,
                    ..failed
                },
                DrainFate::Unsaved,
            ),
            (stopped, DrainFate::Saved),
            (
                DrainedAgent {
                    is_unsaved: true,
                    ..stopped
                },
                DrainFate::Unsaved,
            ),
            (
                DrainedAgent {
                    has_backup: false,
                    ..stopped
                },
                DrainFate::Empty,
            ),
        ] {
            assert_eq!(DrainFate::of(agent), fate, "{agent:?}");
        }
    }
}
