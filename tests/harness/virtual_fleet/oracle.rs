//! A second, simple model of the fleet: what the status of each agent must be in each minute. It is written from the rules
//! in words and uses nothing of what it checks:
//! - An agent is disconnected when two runs, with none between them that could read its host, could not read it. It is not if
//!   its own health check answers, or if most of the fleet became unreadable at once.
//! - It runs again as soon as a run reads its host and finds its container.
//! - It is in error when two runs read its host and did not find its container, or found that it had ended.
//! - Nothing else changes a status, except what owners and operators request.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::schedule::{ContainerChange, HostState, Schedule};

/// Two observations count as consecutive if at most so many minutes lie between them.
const CERTAINLY_RECENT: usize = 8;
/// From here on they do not. Between the two it depends on how long the runs took.
const CERTAINLY_OLD: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContainerState {
    Runs,
    Paused,
    GoneOrEnded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Observed {
    Read,
    /// The host was reached, and its Docker Engine does not answer.
    WithoutDocker,
    NotReached,
}

#[derive(Clone, Debug)]
struct Agent {
    host: usize,
    status: &'static str,
    container: ContainerState,
    answers: bool,
    /// When its status changed last.
    changed_at: usize,
    /// When its container was last missed, unless it was found since.
    missed_at: Option<usize>,
    /// A job works on it, or two answers are right. Its status is not compared.
    is_open: bool,
}

#[derive(Debug)]
pub(super) struct Oracle {
    agents: HashMap<Uuid, Agent>,
    /// When each host could last not be read, unless it was read since.
    unread_at: Vec<Option<usize>>,
}

impl Oracle {
    pub(super) fn new(running: &[Vec<Uuid>], silent: &HashSet<Uuid>) -> Self {
        let mut agents = HashMap::new();
        for (host, ids) in running.iter().enumerate() {
            for id in ids {
                let agent = Agent {
                    answers: !silent.contains(id),
                    ..Agent::running(host, 0)
                };
                agents.insert(*id, agent);
            }
        }
        Self {
            agents,
            unread_at: vec![None; running.len()],
        }
    }

    pub(super) fn change_container(&mut self, agent: Uuid, change: ContainerChange) {
        let agent = self.agents.get_mut(&agent).expect("an agent");
        agent.container = match change {
            ContainerChange::Gone | ContainerChange::Exited | ContainerChange::Relabelled => {
                ContainerState::GoneOrEnded
            }
            ContainerChange::Paused => ContainerState::Paused,
            ContainerChange::Back | ContainerChange::Copied => ContainerState::Runs,
        };
    }

    /// A run observes the fleet.
    pub(super) fn observe(&mut self, minute: usize, schedule: &Schedule) {
        let observed = |host: usize| match schedule.state(host, minute) {
            _ if schedule.is_cut_off(host, minute) => Observed::NotReached,
            HostState::Well | HostState::FullDisk | HostState::Busy => Observed::Read,
            HostState::NoDocker => Observed::WithoutDocker,
            HostState::Unreachable | HostState::TimedOut | HostState::OtherKey => {
                Observed::NotReached
            }
        };
        let is_own_fault = schedule.is_own_fault(minute);
        for agent in self.agents.values_mut() {
            match observed(agent.host) {
                Observed::Read => agent.read(minute),
                // Nothing follows from it.
                _ if is_own_fault => {}
                other => agent.miss_host(minute, other, self.unread_at[agent.host]),
            }
        }
        for (host, unread_at) in self.unread_at.iter_mut().enumerate() {
            if observed(host) == Observed::Read {
                *unread_at = None;
            } else if !is_own_fault {
                *unread_at = Some(minute);
            }
        }
    }

    /// From now on a job works on the agent.
    pub(super) fn leave_open(&mut self, agent: Uuid) {
        let agent = self.agents.get_mut(&agent).expect("an agent");
        agent.is_open = true;
    }

    /// An operator declared the host lost.
    pub(super) fn lose_host(&mut self, host: usize) {
        for agent in self.agents.values_mut() {
            if agent.host == host && agent.is_expected() {
                agent.status = "stopped";
            }
        }
    }

    pub(super) fn start(&mut self, agent: Uuid, host: usize, minute: usize) {
        self.agents.insert(agent, Agent::running(host, minute));
    }

    /// The agents whose status is another one than it must be, in words.
    pub(super) fn differences(&self, statuses: &HashMap<Uuid, String>) -> Vec<String> {
        let mut differences = Vec::new();
        for (id, agent) in &self.agents {
            let status = statuses.get(id).map_or("no row", String::as_str);
            if !agent.is_open && status != agent.status {
                differences.push(format!("{id} is {status}: {agent:?}"));
            }
        }
        differences
    }

    /// How many agents are compared.
    pub(super) fn compared(&self) -> usize {
        self.agents.values().filter(|agent| !agent.is_open).count()
    }
}

impl Agent {
    fn running(host: usize, minute: usize) -> Self {
        Self {
            host,
            status: "running",
            container: ContainerState::Runs,
            answers: true,
            changed_at: minute,
            missed_at: None,
            is_open: false,
        }
    }

    /// Whether runs conclude anything about it.
    fn is_expected(&self) -> bool {
        ["running", "disconnected"].contains(&self.status)
    }

    fn set_status(&mut self, status: &'static str, minute: usize) {
        self.status = status;
        self.changed_at = minute;
    }

    /// A run has read its host.
    fn read(&mut self, minute: usize) {
        if !self.is_expected() {
            return;
        }
        if self.container != ContainerState::GoneOrEnded {
            self.missed_at = None;
            if self.status == "disconnected" {
                self.set_status("running", minute);
            }
            return;
        }
        match self.missed_at.replace(minute).map(|at| minute - at) {
            Some(..=CERTAINLY_RECENT) => self.set_status("error", minute),
            Some(CERTAINLY_OLD..) | None => {}
            Some(_) => self.is_open = true,
        }
    }

    /// A run could not read its host.
    fn miss_host(&mut self, minute: usize, observed: Observed, unread_at: Option<usize>) {
        let answers = observed == Observed::WithoutDocker
            && self.container == ContainerState::Runs
            && self.answers;
        let was_missed =
            unread_at.is_some_and(|at| minute - at <= CERTAINLY_RECENT && self.changed_at <= at);
        if self.status == "running" && was_missed && !answers {
            self.set_status("disconnected", minute);
        }
    }
}
