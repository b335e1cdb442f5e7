//! Every rule, and both sides of every boundary.

use super::AgentStatus::{Disconnected, Error, Pending, Provisioning, Running, Stopped};
use super::ContainerState::{Created, Dead, Exited, Paused, Removing, Restarting};
use super::DockerHealth::{Healthy, Starting, Unhealthy};
use super::Severity::{Critical, Info, Warning};
use super::*;
use crate::domain::observation::Unread;

const UP: ContainerState = ContainerState::Running;
const ODD: AgentStatus = AgentStatus::Unknown;
const UNREAD: [Unread; 11] = [
    Unread::Unreachable,
    Unread::TimedOut,
    Unread::AuthFailed,
    Unread::HostKeyMismatch,
    Unread::AddressRefused,
    Unread::NoKey,
    Unread::Protocol,
    Unread::ForwardingRefused,
    Unread::DockerUnavailable,
    Unread::Deadline,
    Unread::NotRegistered,
];

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
}

/// A container of this age in seconds.
fn seen(state: ContainerState, health: Option<DockerHealth>, age: i64) -> Observation {
    Observation::Read(Some(Seen {
        state,
        health,
        created_at: now() - TimeDelta::seconds(age),
    }))
}

/// An agent that was last heard this many milliseconds ago.
fn judge(status: AgentStatus, seen: Observation, heard: Option<i64>) -> Verdict {
    let expected = Expected {
        status,
        recorded: true,
        last_heartbeat_at: heard.map(|ms| now() - TimeDelta::milliseconds(ms)),
    };
    classify(&expected, seen, now())
}

fn check(
    rule: &str,
    (status, observation, heard): Case,
    (health, severity): (Health, Severity),
) -> Verdict {
    let verdict = judge(status, observation, heard);
    let found = (verdict.health, verdict.severity);
    assert_eq!(
        found,
        (health, severity),
        "rule {rule}: {status:?} {observation:?} {heard:?}"
    );
    assert!(!verdict.reason.is_empty());
    verdict
}

const GONE: Observation = Observation::Read(None);
const DOWN: Observation = Observation::NotRead(Unread::Unreachable);
const NO_DOCKER: Observation = Observation::NotRead(Unread::DockerUnavailable);
const NOWHERE: Observation = Observation::NoHost;
const FRESH: Option<i64> = Some(0);
const DAY: i64 = 86_400;

type Case = (AgentStatus, Observation, Option<i64>);

/// The rules in their order: number, what is expected and seen, what is thought of it.
#[rustfmt::skip]
fn rules() -> Vec<(&'static str, Case, (Health, Severity))> {
    let sick = Some(Unhealthy);
    let well = Some(Healthy);
    vec![
        ("0",  (ODD, GONE, None),                          (Health::Unknown, Warning)),
        ("0",  (ODD, DOWN, None),                          (Health::Unknown, Warning)),
        ("0",  (ODD, NOWHERE, None),                       (Health::Unknown, Warning)),
        ("0",  (ODD, seen(Exited, None, DAY), FRESH),      (Health::Unknown, Warning)),
        ("1",  (Error, seen(UP, well, DAY), FRESH),        (Health::Failed, Critical)),
        ("1",  (Error, DOWN, FRESH),                       (Health::Failed, Critical)),
        ("1",  (Error, GONE, FRESH),                       (Health::Failed, Critical)),
        ("2",  (Running, DOWN, FRESH),                     (Health::Unknown, Warning)),
        ("2",  (Running, NO_DOCKER, None),                 (Health::Unknown, Warning)),
        ("2",  (Disconnected, DOWN, Some(DAY * 1_000)),    (Health::Unknown, Warning)),
        ("2",  (Provisioning, DOWN, None),                 (Health::Unknown, Warning)),
        ("2",  (Running, NOWHERE, FRESH),                  (Health::Unknown, Warning)),
        ("2",  (Disconnected, NOWHERE, FRESH),             (Health::Unknown, Warning)),
        ("3",  (Stopped, GONE, None),                      (Health::Stopped, Info)),
        ("3",  (Stopped, DOWN, None),                      (Health::Stopped, Info)),
        ("3",  (Stopped, NOWHERE, None),                   (Health::Stopped, Info)),
        ("4",  (Pending, GONE, None),                      (Health::Warming, Info)),
        ("4",  (Pending, DOWN, None),                      (Health::Warming, Info)),
        ("4",  (Pending, NOWHERE, None),                   (Health::Warming, Info)),
        ("4",  (Provisioning, GONE, None),                 (Health::Warming, Info)),
        ("4",  (Provisioning, NOWHERE, None),              (Health::Warming, Info)),
        ("5",  (Running, GONE, FRESH),                     (Health::Missing, Critical)),
        ("5",  (Disconnected, GONE, FRESH),                (Health::Missing, Critical)),
        ("6",  (Stopped, seen(UP, well, DAY), FRESH),      (Health::Degraded, Warning)),
        ("6",  (Stopped, seen(Restarting, None, DAY), None), (Health::Degraded, Warning)),
        ("6",  (Stopped, seen(Exited, None, DAY), None),   (Health::Stopped, Info)),
        ("6",  (Stopped, seen(Dead, None, DAY), None),     (Health::Stopped, Info)),
        ("6",  (Stopped, seen(Created, None, DAY), None),  (Health::Stopped, Info)),
        ("6",  (Stopped, seen(Paused, None, DAY), None),   (Health::Stopped, Info)),
        ("6",  (Stopped, seen(Removing, None, DAY), None), (Health::Stopped, Info)),
        ("7",  (Running, seen(Exited, well, DAY), FRESH),  (Health::Failed, Critical)),
        ("7",  (Running, seen(Dead, None, DAY), FRESH),    (Health::Failed, Critical)),
        ("7",  (Provisioning, seen(Exited, None, 1), None), (Health::Failed, Critical)),
        ("8",  (Running, seen(Restarting, sick, DAY), FRESH), (Health::Degraded, Warning)),
        ("8",  (Running, seen(Paused, well, DAY), FRESH),  (Health::Degraded, Warning)),
        ("8",  (Running, seen(Removing, None, DAY), FRESH), (Health::Degraded, Warning)),
        ("9",  (Running, seen(Created, sick, DAY), None),  (Health::Warming, Info)),
        ("10", (Running, seen(UP, sick, 1), FRESH),        (Health::Failed, Critical)),
        ("10", (Pending, seen(UP, sick, 1), None),         (Health::Failed, Critical)),
        ("10", (Disconnected, seen(UP, sick, 1), None),    (Health::Failed, Critical)),
        ("11", (Disconnected, seen(UP, Some(Starting), DAY), None), (Health::Warming, Info)),
        ("12", (Pending, seen(UP, None, DAY), None),       (Health::Warming, Info)),
        ("12", (Provisioning, seen(UP, well, DAY), None),  (Health::Warming, Info)),
        ("13", (Disconnected, seen(UP, well, DAY), FRESH), (Health::Degraded, Warning)),
        ("14", (Running, seen(UP, None, 0), None),         (Health::Warming, Info)),
        ("14", (Running, seen(UP, well, 299), None),       (Health::Warming, Info)),
        ("14", (Running, seen(UP, well, 300), None),       (Health::Degraded, Warning)),
        ("14", (Running, seen(UP, None, DAY), None),       (Health::Degraded, Warning)),
        ("15", (Running, seen(UP, None, DAY), Some(900_000)), (Health::Stale, Critical)),
        ("15", (Running, seen(UP, well, DAY), Some(900_000)), (Health::Stale, Warning)),
        ("16", (Running, seen(UP, None, DAY), Some(899_999)), (Health::Degraded, Warning)),
        ("16", (Running, seen(UP, well, DAY), Some(899_000)), (Health::Degraded, Warning)),
        ("16", (Running, seen(UP, well, DAY), Some(300_000)), (Health::Degraded, Warning)),
        ("17", (Running, seen(UP, well, DAY), Some(299_999)), (Health::Healthy, Info)),
        ("17", (Running, seen(UP, None, DAY), Some(299_000)), (Health::Healthy, Info)),
        ("17", (Running, seen(UP, well, 1), FRESH),        (Health::Healthy, Info)),
    ]
}

#[test]
fn the_first_rule_that_applies_decides() {
    let mut told = [const { Vec::new() }; 18];
    for (rule, case, thought) in rules() {
        check(rule, case, thought);
        told[rule.parse::<usize>().expect("a rule")].push(thought);
    }
    assert!(told.iter().all(|cases| !cases.is_empty()));
}

#[test]
fn f18_an_agent_that_answers_is_not_stale_however_old_its_container_is() {
    let year = seen(UP, None, 365 * DAY);
    check("17", (Running, year, Some(60_000)), (Health::Healthy, Info));
    // What was wrong: the heartbeat of the start was the only one.
    let heard_at_the_start = Some(365 * DAY * 1_000);
    check(
        "15",
        (Running, year, heard_at_the_start),
        (Health::Stale, Critical),
    );
}

#[test]
fn f19_a_host_that_was_not_read_leaves_its_agents_unknown_and_never_missing() {
    let mut reasons = Vec::new();
    for why in UNREAD {
        for status in [Running, Disconnected, Provisioning] {
            let not_read = Observation::NotRead(why);
            let verdict = check("2", (status, not_read, None), (Health::Unknown, Warning));
            assert!(verdict.reason.ends_with(why.sentence()));
            reasons.push(verdict.reason);
        }
    }
    reasons.dedup();
    assert_eq!(reasons.len(), UNREAD.len(), "each says why");
}

#[test]
fn f20_only_a_running_container_is_healthy() {
    for state in [Created, Paused, Restarting, Removing, Exited, Dead] {
        let verdict = judge(Running, seen(state, Some(Healthy), DAY), FRESH);
        assert_ne!(verdict.health, Health::Healthy, "{state:?}");
    }
}

#[test]
fn a_state_of_docker_that_is_not_known_is_unknown() {
    for status in [Pending, Provisioning, Running, Stopped, Disconnected] {
        let odd = seen(ContainerState::Unknown, Some(Healthy), DAY);
        check("0", (status, odd, FRESH), (Health::Unknown, Warning));
    }
}

#[test]
fn what_a_fast_clock_puts_into_the_future_is_new() {
    let young = seen(UP, None, -7 * DAY);
    check("14", (Running, young, None), (Health::Warming, Info));
    let old = seen(UP, None, DAY);
    check(
        "17",
        (Running, old, Some(-7 * DAY * 1_000)),
        (Health::Healthy, Info),
    );
    assert_eq!(age(now() + TimeDelta::seconds(1), now()), TimeDelta::zero());
}

#[test]
fn f31_no_reason_stands_for_two_severities() {
    let told: Vec<Verdict> = rules()
        .into_iter()
        .map(|(_, (status, seen, heard), _)| judge(status, seen, heard))
        .collect();
    for one in &told {
        let other = told
            .iter()
            .find(|other| other.reason == one.reason && other.severity != one.severity);
        assert_eq!(other, None);
    }
}

#[test]
fn the_worst_comes_first_and_the_words_are_those_of_the_api() {
    assert!(Critical < Warning && Warning < Info);
    let words = serde_json::to_string(&[Health::Missing, Health::Stale]).expect("json");
    assert_eq!(words, r#"["missing","stale"]"#);
    let words = serde_json::to_string(&[Critical, Warning, Info]).expect("json");
    assert_eq!(words, r#"["critical","warning","info"]"#);
}
