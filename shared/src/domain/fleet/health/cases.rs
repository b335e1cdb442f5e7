//! Every rule, and both sides of every boundary.

use super::AgentStatus::{Disconnected, Error, Pending, Provisioning, Running, Stopped};
use super::ContainerState::{Created, Dead, Exited, Paused, Removing, Restarting, Stopping};
use super::DockerHealth::{Healthy, Starting, Unhealthy};
use super::Severity::{Critical, Info, Warning};
use super::*;
use crate::domain::fleet::HostReadError;

const UP: ContainerState = ContainerState::Running;
const ODD: AgentStatus = AgentStatus::Unknown;
const READ_ERRORS: [HostReadError; 12] = [
    HostReadError::Unreachable,
    HostReadError::TimedOut,
    HostReadError::AuthFailed,
    HostReadError::HostKeyMismatch,
    HostReadError::AddressRefused,
    HostReadError::NoKey,
    HostReadError::Protocol,
    HostReadError::ResponseTooLarge,
    HostReadError::ForwardingRefused,
    HostReadError::DockerUnavailable,
    HostReadError::NotInspected,
    HostReadError::NotRegistered,
];

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
}

/// `age` in seconds.
fn seen(state: ContainerState, health: Option<DockerHealth>, age: i64) -> AgentObservation {
    AgentObservation::Container(ContainerCondition {
        state,
        health,
        created_at: now() - TimeDelta::seconds(age),
    })
}

/// `heartbeat_age` in milliseconds.
fn judge(
    status: AgentStatus,
    observation: AgentObservation,
    heartbeat_age: Option<i64>,
) -> Verdict {
    let expected = ExpectedState {
        status,
        has_container_name: true,
        last_heartbeat_at: heartbeat_age.map(|ms| now() - TimeDelta::milliseconds(ms)),
    };
    classify(&expected, observation, now())
}

fn check(
    rule: &str,
    (status, observation, heartbeat_age): Case,
    (health, severity): (Health, Severity),
) -> Verdict {
    let verdict = judge(status, observation, heartbeat_age);
    assert_eq!(
        (verdict.health, verdict.severity),
        (health, severity),
        "rule {rule}: {status:?} {observation:?} {heartbeat_age:?}"
    );
    assert!(!verdict.reason.is_empty());
    verdict
}

const GONE: AgentObservation = AgentObservation::NoContainer;
const DOWN: AgentObservation = AgentObservation::HostNotRead(HostReadError::Unreachable);
const NO_DOCKER: AgentObservation = AgentObservation::HostNotRead(HostReadError::DockerUnavailable);
const NOWHERE: AgentObservation = AgentObservation::NoHost;
const FRESH: Option<i64> = Some(0);
const DAY: i64 = 86_400;

type Case = (AgentStatus, AgentObservation, Option<i64>);

/// The rules in their order: number, case, expected verdict.
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
        ("6",  (Stopped, seen(Stopping, None, DAY), None), (Health::Degraded, Warning)),
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
        ("8",  (Running, seen(Stopping, well, DAY), FRESH), (Health::Degraded, Warning)),
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
    let mut cases_by_rule = [0; 18];
    for (rule, case, expected) in rules() {
        check(rule, case, expected);
        cases_by_rule[rule.parse::<usize>().expect("a rule")] += 1;
    }
    assert!(!cases_by_rule.contains(&0), "{cases_by_rule:?}");
}

#[test]
fn f18_a_responding_agent_is_healthy_however_old_its_container_is() {
    let year = seen(UP, None, 365 * DAY);
    check("17", (Running, year, Some(60_000)), (Health::Healthy, Info));
    // F18: the only heartbeat that was ever written was the one of the start.
    let only_at_start = Some(365 * DAY * 1_000);
    check(
        "15",
        (Running, year, only_at_start),
        (Health::Stale, Critical),
    );
}

#[test]
fn f19_agents_of_an_unread_host_are_unknown_and_never_missing() {
    let mut reasons = Vec::new();
    for error in READ_ERRORS {
        for status in [Running, Disconnected, Provisioning] {
            let not_read = AgentObservation::HostNotRead(error);
            let verdict = check("2", (status, not_read, None), (Health::Unknown, Warning));
            assert!(verdict.reason.ends_with(&error.to_string()));
            reasons.push(verdict.reason);
        }
    }
    reasons.dedup();
    assert_eq!(
        reasons.len(),
        READ_ERRORS.len(),
        "each error has its own reason"
    );
}

#[test]
fn f20_only_a_running_container_is_healthy() {
    for state in [
        Created, Paused, Restarting, Stopping, Removing, Exited, Dead,
    ] {
        let verdict = judge(Running, seen(state, Some(Healthy), DAY), FRESH);
        assert_ne!(verdict.health, Health::Healthy, "{state:?}");
    }
}

#[test]
fn an_unknown_docker_state_gives_unknown_health() {
    for status in [Pending, Provisioning, Running, Stopped, Disconnected] {
        let odd = seen(ContainerState::Unknown, Some(Healthy), DAY);
        check("0", (status, odd, FRESH), (Health::Unknown, Warning));
    }
}

#[test]
fn a_time_in_the_future_has_age_zero() {
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
fn a_running_agent_is_silent_from_five_minutes_after_its_last_heartbeat() {
    let heard = |ms: i64| Some(now() - TimeDelta::milliseconds(ms));
    for (status, last_heartbeat_at, is_silent) in [
        (Running, heard(299_999), false),
        (Running, heard(300_000), true),
        (Running, heard(DAY * 1_000), true),
        (Running, heard(-1), false),
        (Running, None, false),
        (Disconnected, heard(DAY * 1_000), false),
        (Stopped, heard(DAY * 1_000), false),
    ] {
        let silent = silent_since(status, last_heartbeat_at, now());
        let expected = last_heartbeat_at.filter(|_| is_silent);
        assert_eq!(silent, expected, "{status:?} {last_heartbeat_at:?}");
    }
}

#[test]
fn f31_no_two_severities_share_a_reason() {
    let verdicts: Vec<Verdict> = rules()
        .into_iter()
        .map(|(_, (status, observation, heartbeat_age), _)| {
            judge(status, observation, heartbeat_age)
        })
        .collect();
    for one in &verdicts {
        let other = verdicts
            .iter()
            .find(|other| other.reason == one.reason && other.severity != one.severity);
        assert_eq!(other, None);
    }
}

#[test]
fn the_most_severe_sorts_first_and_words_are_those_of_the_api() {
    assert!(Critical < Warning && Warning < Info);
    let words = serde_json::to_string(&[Health::Missing, Health::Stale]).expect("json");
    assert_eq!(words, r#"["missing","stale"]"#);
    let words = serde_json::to_string(&[Critical, Warning, Info]).expect("json");
    assert_eq!(words, r#"["critical","warning","info"]"#);
}
