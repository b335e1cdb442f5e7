//! What an inspection changes in an agent's life. Owns: how often and in which words something must have
//! been seen before a status follows it. One look proves nothing: a host that is not read, or a container
//! that is gone, counts when the pass before saw the same.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::Snapshot;
use super::container::ContainerView;
use super::node::{NodeStatus, NodeView};
use super::pass::{AgentRow, Pass};
use crate::domain::agent::{AgentStatus, Change};
use crate::domain::observation::{ContainerState, Observation, Unread};

/// Two passes further apart than this are not one after the other.
const RUNNING: TimeDelta = TimeDelta::minutes(10);

/// What is to happen to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip {
    /// The agent.
    pub agent_id: Uuid,
    /// Its organization.
    pub organization_id: Uuid,
    /// Where it is in its life as the pass saw it.
    pub from: AgentStatus,
    /// What happened to it.
    pub change: Change,
    /// Why, for its owner, where it does not run any more.
    pub reason: Option<&'static str>,
}

/// What the agent's row must say for a change to be made: that it should be there, now as before.
fn should_run(status: AgentStatus) -> bool {
    matches!(status, AgentStatus::Running | AgentStatus::Disconnected)
}

/// What is known of agents beside the rows.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Those whose rows said before the pass began that they should run: a container that was made during
    /// the pass may not have been seen.
    pub expected: HashSet<Uuid>,
    /// Those that answered themselves.
    pub alive: HashSet<Uuid>,
}

/// What this pass and the one before say of the agents.
#[must_use]
pub fn flips(
    pass: &Pass,
    before: Option<&Snapshot>,
    known: &Known,
    now: DateTime<Utc>,
) -> Vec<Flip> {
    let before = before.filter(|before| now - before.refreshed_at.0 <= RUNNING);
    let claims = pass.claims();
    let decide = |agent: &AgentRow| {
        if !should_run(agent.status) || !known.expected.contains(&agent.id) {
            return None;
        }
        let earlier = before.and_then(|before| Earlier::find(before, agent));
        let (change, reason) = match claims.observation(agent) {
            Observation::NotRead(why) => {
                let silent = earlier.as_ref().is_some_and(Earlier::was_not_read);
                let lost = is_the_hosts(why) && silent && !known.alive.contains(&agent.id);
                lost.then_some((Change::LoseHost, None))
            }
            Observation::Read(seen) => {
                let over = seen.is_none_or(|seen| seen.state.is_over());
                let earlier = earlier.as_ref().is_some_and(Earlier::was_over);
                let reason = match seen {
                    None => "The agent's container is gone from its host",
                    Some(_) => "The agent's container has ended",
                };
                match over {
                    true if earlier => Some((Change::LoseContainer, Some(reason))),
                    true => None,
                    false => Some((Change::RegainHost, None)),
                }
            }
            Observation::NoHost => None,
        }?;
        agent.status.after(change).ok()?;
        Some(Flip {
            agent_id: agent.id,
            organization_id: agent.organization_id,
            from: agent.status,
            change,
            reason,
        })
    };
    pass.agents.iter().filter_map(decide).collect()
}

/// Whether it is the host that was not read, and not we who did not come to it.
fn is_the_hosts(why: Unread) -> bool {
    !matches!(
        why,
        Unread::Deadline | Unread::NoKey | Unread::NotRegistered
    )
}

/// What the pass before saw of the same agent at the same place.
struct Earlier<'a> {
    node: &'a NodeView,
    container: &'a ContainerView,
}

impl<'a> Earlier<'a> {
    fn find(before: &'a Snapshot, agent: &AgentRow) -> Option<Self> {
        let node_id = agent.node_id.as_deref()?;
        let key = (Some(node_id), agent.id);
        let at = before
            .containers
            .binary_search_by(|view| (view.node_id.as_deref(), view.id).cmp(&key));
        let container = before.containers.get(at.ok()?)?;
        let node = before
            .nodes
            .binary_search_by(|node| node.node_id.as_str().cmp(node_id));
        let same = container.container_name == agent.container_name;
        Some(Self {
            node: before.nodes.get(node.ok()?)?,
            container,
        })
        .filter(|_| same && should_run(container.db_status))
    }

    fn was_not_read(&self) -> bool {
        match self.node.status {
            NodeStatus::Offline => true,
            NodeStatus::Degraded => !self.node.runtime.docker_readable,
            NodeStatus::Healthy | NodeStatus::Unknown => false,
        }
    }

    fn was_over(&self) -> bool {
        match self.container.runtime_present {
            Some(false) => true,
            Some(true) => {
                let word = self.container.runtime_state.as_deref().unwrap_or_default();
                let status = self.container.runtime_status.as_deref();
                ContainerState::read(word, status.unwrap_or_default()).is_over()
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::super::{Docker, Found, NodePass, Reading};
    use super::*;

    const GONE: Option<&str> = Some("The agent's container is gone from its host");
    const ENDED: Option<&str> = Some("The agent's container has ended");

    fn pass(reading: Reading, row: AgentRow) -> Pass {
        Pass {
            nodes: vec![node("a", reading)],
            agents: vec![row],
            backlog: 0,
        }
    }

    /// What becomes of agent 1 after two looks, the first of them `minutes` ago.
    fn after(
        (first, second): (Reading, Reading),
        (earlier, row): (AgentRow, AgentRow),
        (known, alive): (bool, bool),
        minutes: i64,
    ) -> Option<(Change, Option<&'static str>)> {
        let before = Snapshot::of(&pass(first, earlier), ago(minutes));
        let only = |yes: bool| HashSet::from_iter(yes.then_some(id(1)));
        let known = Known {
            expected: only(known),
            alive: only(alive),
        };
        let found = flips(&pass(second, row), Some(&before), &known, now());
        found
            .first()
            .map(|flip| (flip.change, flip.reason))
            .filter(|_| found.len() == 1)
    }

    fn disconnected() -> AgentRow {
        AgentRow {
            status: AgentStatus::Disconnected,
            ..agent(1, "a")
        }
    }

    fn no_docker() -> Reading {
        reached(Err(Unread::DockerUnavailable))
    }

    fn with(state: &str) -> Reading {
        read(vec![container(1, state)])
    }

    #[test]
    fn what_was_seen_twice_is_believed_and_nothing_before() {
        let lost = Some((Change::LoseHost, None));
        for (first, second, expected) in [
            (unreachable(), unreachable(), lost),
            (no_docker(), unreachable(), lost),
            (unreachable(), no_docker(), lost),
            (with("running"), unreachable(), None),
            (Reading::NotInspected, unreachable(), None),
            (unreachable(), Reading::NotInspected, None),
            (
                read(vec![]),
                read(vec![]),
                Some((Change::LoseContainer, GONE)),
            ),
            (
                with("exited"),
                read(vec![]),
                Some((Change::LoseContainer, GONE)),
            ),
            (
                read(vec![]),
                with("exited"),
                Some((Change::LoseContainer, ENDED)),
            ),
            (
                with("dead"),
                with("dead"),
                Some((Change::LoseContainer, ENDED)),
            ),
            (with("running"), read(vec![]), None),
            (with("running"), with("exited"), None),
            (unreachable(), read(vec![]), None),
            (read(vec![]), unreachable(), None),
            (read(vec![]), with("running"), None),
            (with("restarting"), with("restarting"), None),
            (with("paused"), with("paused"), None),
        ] {
            let shown = format!("{first:?} then {second:?}");
            let rows = (agent(1, "a"), agent(1, "a"));
            let found = after((first, second), rows, (true, false), 1);
            assert_eq!(found, expected, "{shown}");
        }
    }

    #[test]
    fn an_agent_is_back_when_its_host_is_read_and_it_is_there() {
        let back = Some((Change::RegainHost, None));
        for (second, expected) in [
            (with("running"), back),
            (with("paused"), back),
            (with("exited"), None),
            (read(vec![]), None),
            (unreachable(), None),
        ] {
            let shown = format!("{second:?}");
            let rows = (disconnected(), disconnected());
            let found = after((unreachable(), second), rows, (true, false), 1);
            assert_eq!(found, expected, "{shown}");
        }
        let rows = (disconnected(), disconnected());
        let twice = (read(vec![]), read(vec![]));
        let gone = Some((Change::LoseContainer, GONE));
        assert_eq!(after(twice, rows, (true, false), 1), gone);
    }

    #[test]
    fn f33_an_agent_that_answers_is_not_lost_with_docker() {
        let rows = (agent(1, "a"), agent(1, "a"));
        let twice = (no_docker(), no_docker());
        assert_eq!(after(twice, rows, (true, true), 1), None);
    }

    #[test]
    fn what_the_passes_did_not_both_see_of_one_and_the_same_container_counts_for_nothing() {
        let twice = || (read(vec![]), read(vec![]));
        let elsewhere = agent(1, "b");
        let mut other = agent(1, "a");
        other.container_name = Some("another".to_owned());
        for earlier in [stopped(1, "a"), elsewhere, other, agent(2, "a")] {
            let shown = format!("{earlier:?}");
            let rows = (earlier, agent(1, "a"));
            assert_eq!(after(twice(), rows, (true, false), 1), None, "{shown}");
        }
        for row in [stopped(1, "a"), {
            let mut row = agent(1, "a");
            row.status = AgentStatus::Provisioning;
            row
        }] {
            let rows = (agent(1, "a"), row);
            assert_eq!(after(twice(), rows, (true, false), 1), None);
        }
        let rows = || (agent(1, "a"), agent(1, "a"));
        let lost = Some((Change::LoseContainer, GONE));
        // It was made during the pass, perhaps after its host had told what there is.
        assert_eq!(after(twice(), rows(), (false, false), 1), None);
        assert_eq!(after(twice(), rows(), (true, false), 10), lost);
        assert_eq!(after(twice(), rows(), (true, false), 11), None);
        let known = Known {
            expected: HashSet::from([id(1)]),
            ..Known::default()
        };
        let first = pass(read(vec![]), agent(1, "a"));
        assert_eq!(flips(&first, None, &known, now()), []);
    }

    fn all() -> Vec<Found> {
        (1..=9).map(|n| container(n, "running")).collect()
    }

    #[test]
    fn many_agents_on_many_hosts_are_told_apart() {
        let hosts = |lost: &[&str]| {
            let reading = |name: &&str| {
                if lost.contains(name) {
                    unreachable()
                } else {
                    reached(Ok(Docker {
                        version: None,
                        containers: all(),
                    }))
                }
            };
            let names = ["a", "b", "c"];
            let nodes: Vec<NodePass> = names.iter().map(|name| node(name, reading(name))).collect();
            let agents = (1..=9)
                .map(|n| agent(n, names[usize::try_from(n).unwrap_or(0) % 3]))
                .collect();
            Pass {
                nodes,
                agents,
                backlog: 0,
            }
        };
        let before = Snapshot::of(&hosts(&["b"]), ago(1));
        let known = Known {
            expected: (1..=9).map(id).collect(),
            ..Known::default()
        };
        let found = flips(&hosts(&["a", "b"]), Some(&before), &known, now());
        let found: Vec<Uuid> = found.into_iter().map(|flip| flip.agent_id).collect();
        assert_eq!(found, [id(1), id(4), id(7)]);
    }
}
