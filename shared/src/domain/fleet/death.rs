//! Containers that die. Owns: which containers are looked at closely, when one that ends again and again counts as dead
//! (F73), until when it is charged, and the sentences for its owner. Does not own: reading it (`hosts`), nor what is done
//! with it (`app::fleet::deaths`).

use chrono::{DateTime, TimeDelta, Utc};

use super::observation::{ContainerObservation, ContainerState};

/// Docker starts a container that ends again, after pauses that grow to a minute. This often within [`RESTART_WINDOW`]
/// is no accident any more.
pub const MAX_RESTARTS: i64 = 5;
pub const RESTART_WINDOW: TimeDelta = TimeDelta::minutes(10);
/// A longer span between two times of a host's clock counts as this one: a host may say any time.
const MAX_SPAN: TimeDelta = TimeDelta::days(3_650);
/// How many lines at the end of a dead container's log are kept, and how many bytes of them.
pub const KEPT_LOG_LINES: u32 = 50;
pub const KEPT_LOG_BYTES: usize = 16 * 1024;

/// How a container ended, as its engine says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerEnd {
    pub exit_code: Option<i64>,
    /// The kernel killed it because it used up its memory.
    pub is_out_of_memory: bool,
    /// The limit of its memory.
    pub memory_bytes: Option<i64>,
}

impl ContainerEnd {
    /// The second half of a sentence for the owner. The exit codes are those of Docker and of POSIX shells.
    fn cause(&self) -> String {
        match (self.is_out_of_memory, self.memory_bytes, self.exit_code) {
            (true, Some(bytes), _) => {
                format!("it needed more memory than its limit of {}", memory(bytes))
            }
            (true, None, _) => "its host had no memory left".to_owned(),
            (false, _, Some(0)) => "its program ended without an error (exit code 0)".to_owned(),
            (false, _, Some(code @ (126 | 127))) => {
                format!("its command could not be run (exit code {code})")
            }
            (false, _, Some(137)) => "it was killed (exit code 137)".to_owned(),
            (false, _, Some(139)) => "its program crashed (exit code 139)".to_owned(),
            (false, _, Some(143)) => "it was told to end (exit code 143)".to_owned(),
            (false, _, Some(code)) => format!("its program failed with exit code {code}"),
            (false, _, None) => "Docker does not say why".to_owned(),
        }
    }

    /// For a container that ended before its agent was healthy.
    #[must_use]
    pub fn during_start(&self) -> String {
        format!(
            "The agent's container ended while it was being started: {}",
            self.cause()
        )
    }
}

/// `2 GiB`, `512 MiB`, rounded down.
fn memory(bytes: i64) -> String {
    let gibibytes = bytes >> 30;
    if bytes == gibibytes << 30 {
        format!("{gibibytes} GiB")
    } else {
        format!("{} MiB", bytes >> 20)
    }
}

/// What a run before has observed of a container that may be dying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AilingContainer {
    /// Docker's id: another container of the agent starts over.
    pub container_id: String,
    /// Since when its restarts are counted.
    pub began_at: DateTime<Utc>,
    /// How many there had been before.
    pub restarts_before: i64,
    /// The run that first saw it like this.
    pub observed_at: DateTime<Utc>,
    /// It does not run, and Docker does not start it.
    pub has_ended: bool,
}

/// What this run observes of it.
#[derive(Clone, Copy, Debug)]
pub struct CloseObservation<'a> {
    pub container_id: &'a str,
    /// By its host's clock.
    pub age: TimeDelta,
    /// How long ago it ended last, by its host's clock. `None` if it has never ended.
    pub ended_ago: Option<TimeDelta>,
    pub restart_count: i64,
    pub has_ended: bool,
    pub end: ContainerEnd,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diagnosis {
    /// Nothing is wrong with it.
    Sound,
    /// The next run decides.
    Ailing(AilingContainer),
    Dead(Death),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// Its agent is charged until then, or until the last answer of the agent if that was later.
    pub died_at: DateTime<Utc>,
    pub restarts: i64,
    /// Docker would go on starting it.
    pub is_restarted: bool,
    /// For the owner.
    pub reason: String,
}

/// Whether a container of an agent that should run deserves a closer look: it does not run, or has not run for long
/// although it is older. Docker's list does not say how often it was started.
#[must_use]
pub fn is_suspicious(container: &ContainerObservation) -> bool {
    match container.state() {
        ContainerState::Exited | ContainerState::Dead | ContainerState::Restarting => true,
        ContainerState::Running => {
            let uptime = container.status.strip_prefix("Up ").unwrap_or_default();
            uptime.starts_with("About a minute") || uptime.contains(" second")
        }
        _ => false,
    }
}

/// What follows from an observation and from the one before it. One observation of a container that has ended proves
/// nothing: all containers look like this while Docker itself is being restarted.
#[must_use]
pub fn diagnose(
    previous: Option<&AilingContainer>,
    current: &CloseObservation<'_>,
    now: DateTime<Utc>,
) -> Diagnosis {
    if current.restart_count == 0 && !current.has_ended {
        return Diagnosis::Sound;
    }
    let previous = previous.filter(|previous| {
        previous.container_id == current.container_id
            && previous.has_ended == current.has_ended
            && now - previous.began_at <= RESTART_WINDOW
    });
    let age = bounded(current.age);
    let window = previous.cloned().unwrap_or_else(|| {
        // All restarts of a young container lie within the window.
        let is_young = age <= RESTART_WINDOW && !current.has_ended;
        AilingContainer {
            container_id: current.container_id.to_owned(),
            began_at: if is_young { now - age } else { now },
            restarts_before: if is_young { 0 } else { current.restart_count },
            observed_at: now,
            has_ended: current.has_ended,
        }
    });
    let restarts = current.restart_count - window.restarts_before;
    let cause = current.end.cause();
    if current.has_ended && previous.is_some() {
        return Diagnosis::Dead(Death {
            died_at: current
                .ended_ago
                .map_or(window.observed_at, |ago| now - bounded(ago)),
            restarts: current.restart_count,
            is_restarted: false,
            reason: format!("The agent's container has ended: {cause}"),
        });
    }
    if !current.has_ended && restarts >= MAX_RESTARTS {
        return Diagnosis::Dead(Death {
            died_at: window.observed_at,
            restarts,
            is_restarted: true,
            reason: format!(
                "The agent's container ended {restarts} times within {} and was stopped: {cause}",
                minutes(now - window.began_at)
            ),
        });
    }
    Diagnosis::Ailing(window)
}

/// A span by a host's clock that ends now. Nothing began in the future.
fn bounded(span: TimeDelta) -> TimeDelta {
    span.clamp(TimeDelta::zero(), MAX_SPAN)
}

fn minutes(span: TimeDelta) -> String {
    match span.num_minutes() {
        ..=1 => "a minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    }
}

/// What is kept of a log. Postgres cannot hold U+0000.
#[must_use]
pub fn kept_log(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ago, container, now};
    use super::*;

    fn end(exit_code: i64) -> ContainerEnd {
        ContainerEnd {
            exit_code: Some(exit_code),
            ..ContainerEnd::default()
        }
    }

    fn out_of_memory(memory_bytes: Option<i64>) -> ContainerEnd {
        ContainerEnd {
            is_out_of_memory: true,
            memory_bytes,
            ..end(137)
        }
    }

    fn restarted(count: i64) -> CloseObservation<'static> {
        CloseObservation {
            container_id: "c1",
            age: TimeDelta::days(1),
            ended_ago: Some(TimeDelta::seconds(3)),
            restart_count: count,
            has_ended: false,
            end: end(1),
        }
    }

    fn ailing(minutes: i64, restarts_before: i64, has_ended: bool) -> AilingContainer {
        AilingContainer {
            container_id: "c1".to_owned(),
            began_at: ago(minutes),
            restarts_before,
            observed_at: ago(minutes),
            has_ended,
        }
    }

    #[test]
    fn f88_the_owner_reads_which_limit_was_reached_or_how_the_program_ended() {
        for (end, cause) in [
            (
                out_of_memory(Some(2 << 30)),
                "it needed more memory than its limit of 2 GiB",
            ),
            (
                out_of_memory(Some(1536 << 20)),
                "it needed more memory than its limit of 1536 MiB",
            ),
            (
                out_of_memory(Some(512 << 20)),
                "it needed more memory than its limit of 512 MiB",
            ),
            (out_of_memory(None), "its host had no memory left"),
            (end(0), "its program ended without an error (exit code 0)"),
            (end(3), "its program failed with exit code 3"),
            (end(126), "its command could not be run (exit code 126)"),
            (end(127), "its command could not be run (exit code 127)"),
            (end(137), "it was killed (exit code 137)"),
            (end(139), "its program crashed (exit code 139)"),
            (end(143), "it was told to end (exit code 143)"),
            (ContainerEnd::default(), "Docker does not say why"),
        ] {
            let expected =
                format!("The agent's container ended while it was being started: {cause}");
            assert_eq!(end.during_start(), expected);
        }
    }

    #[test]
    fn f73_five_restarts_within_ten_minutes_are_a_death() {
        let dead_at = |diagnosis: Diagnosis| match diagnosis {
            Diagnosis::Dead(death) => Some((death.died_at, death.restarts)),
            Diagnosis::Ailing(_) | Diagnosis::Sound => None,
        };
        for (previous, restarts, expected) in [
            // An old container: only what was counted since the first look.
            (None, 100, None),
            (Some(ailing(1, 100, false)), 104, None),
            (Some(ailing(1, 100, false)), 105, Some((ago(1), 5))),
            (Some(ailing(10, 100, false)), 105, Some((ago(10), 5))),
            (Some(ailing(11, 100, false)), 105, None),
            // Another container, or one that had ended.
            (
                Some(AilingContainer {
                    container_id: "c2".to_owned(),
                    ..ailing(1, 100, false)
                }),
                105,
                None,
            ),
            (Some(ailing(1, 100, true)), 105, None),
        ] {
            let diagnosis = diagnose(previous.as_ref(), &restarted(restarts), now());
            assert_eq!(dead_at(diagnosis), expected, "{previous:?} {restarts}");
        }
        // A young container: all its restarts, and it is charged until the run that sees them.
        let young = CloseObservation {
            age: TimeDelta::minutes(10),
            ..restarted(5)
        };
        assert_eq!(dead_at(diagnose(None, &young, now())), Some((now(), 5)));
        assert_eq!(
            diagnose(None, &restarted(0), now()),
            Diagnosis::Sound,
            "a container that was never restarted"
        );
    }

    #[test]
    fn f73_the_owner_reads_how_often_a_container_ended_within_what_time() {
        for (minutes, within) in [(10, "10 minutes"), (2, "2 minutes"), (1, "a minute")] {
            let young = CloseObservation {
                age: TimeDelta::minutes(minutes),
                ..restarted(6)
            };
            let reason = format!(
                "The agent's container ended 6 times within {within} and was stopped: its program failed with exit code 1"
            );
            let expected = Death {
                died_at: now(),
                restarts: 6,
                is_restarted: true,
                reason,
            };
            assert_eq!(diagnose(None, &young, now()), Diagnosis::Dead(expected));
        }
    }

    #[test]
    fn a_young_container_that_has_ended_is_counted_from_the_first_look() {
        let ended = CloseObservation {
            age: TimeDelta::minutes(3),
            has_ended: true,
            ..restarted(2)
        };
        let first = Diagnosis::Ailing(ailing(0, 2, true));
        assert_eq!(diagnose(None, &ended, now()), first);
    }

    #[test]
    fn what_is_kept_of_a_log_can_be_stored() {
        assert_eq!(kept_log("one\ntwo"), "one\ntwo");
        assert_eq!(kept_log("a\0b\0"), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn f73_an_ended_container_is_dead_when_two_runs_see_it_and_since_it_ended() {
        let ended = CloseObservation {
            has_ended: true,
            ended_ago: Some(TimeDelta::minutes(7)),
            end: out_of_memory(Some(2 << 30)),
            ..restarted(0)
        };
        let first = Diagnosis::Ailing(AilingContainer {
            restarts_before: 0,
            ..ailing(0, 0, true)
        });
        assert_eq!(diagnose(None, &ended, now()), first);
        let second = diagnose(Some(&ailing(1, 0, true)), &ended, now());
        let expected = Death {
            died_at: ago(7),
            restarts: 0,
            is_restarted: false,
            reason:
                "The agent's container has ended: it needed more memory than its limit of 2 GiB"
                    .to_owned(),
        };
        assert_eq!(second, Diagnosis::Dead(expected));
        // It ran again meanwhile.
        assert_ne!(diagnose(Some(&ailing(1, 0, false)), &ended, now()), second);
    }

    #[test]
    fn a_host_whose_clock_says_any_time_dates_a_death_within_ten_years() {
        for (span, at) in [(TimeDelta::MIN, now()), (TimeDelta::MAX, now() - MAX_SPAN)] {
            let ended = CloseObservation {
                age: span,
                ended_ago: Some(span),
                has_ended: true,
                ..restarted(0)
            };
            let Diagnosis::Dead(death) = diagnose(Some(&ailing(1, 0, true)), &ended, now()) else {
                panic!("the container is dead");
            };
            assert_eq!(death.died_at, at);
            let restarting = CloseObservation {
                age: span,
                ..restarted(1)
            };
            let Diagnosis::Ailing(container) = diagnose(None, &restarting, now()) else {
                panic!("the next run decides");
            };
            assert_eq!(container.began_at, now());
        }
    }

    #[test]
    fn only_containers_that_have_not_run_for_long_are_looked_at_closely() {
        for (state, status, expected) in [
            ("running", "Up 3 hours", false),
            ("running", "Up 3 minutes (unhealthy)", false),
            ("running", "Up Less than a second", true),
            ("running", "Up 1 second", true),
            ("running", "Up 59 seconds (health: starting)", true),
            ("running", "Up About a minute", true),
            ("running", "Up About an hour", false),
            ("restarting", "Restarting (137) 3 seconds ago", true),
            ("exited", "Exited (0) 2 days ago", true),
            ("dead", "Dead", true),
            ("paused", "Up 3 hours (Paused)", false),
            ("created", "Created", false),
            ("removing", "Removal In Progress", false),
            ("hibernating", "Up 1 second", false),
        ] {
            let mut container = container(1, state);
            container.status = status.to_owned();
            assert_eq!(is_suspicious(&container), expected, "{state} {status}");
        }
    }
}
