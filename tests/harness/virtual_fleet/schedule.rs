//! What goes wrong in a virtual fleet, and when. Owns: the state of each host in each minute, what happens to containers,
//! and what owners request.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use dev::sim::{Facts, Fault, Script};
use uuid::Uuid;

use super::Size;
use super::random::Random;

/// How long a host is down before an operator declares it lost. Four minutes more than it has to be: the minutes in which
/// this side failed do not count.
const LOSS_AFTER: usize = 14;
/// In a long simulation, most hosts cannot be reached in these minutes, because our own network fails.
const OWN_FAULT: RangeInclusive<usize> = 30..=31;
/// Shorter simulations have no fault of our own.
const MIN_MINUTES_FOR_OWN_FAULT: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostState {
    Well,
    /// It refuses connections.
    Unreachable,
    /// Runs do not get an answer in time. Jobs are refused at once, so that nobody waits.
    TimedOut,
    /// It presents another key than the pinned one.
    OtherKey,
    NoDocker,
    /// It is read, but no container can be created.
    FullDisk,
    /// It is read, but too busy for another agent.
    Busy,
}

impl HostState {
    /// Whether the containers of such a host can be listed, and stopped.
    pub(super) fn is_readable(self) -> bool {
        matches!(self, Self::Well | Self::FullDisk | Self::Busy)
    }

    pub(super) fn takes_agents(self) -> bool {
        self == Self::Well
    }

    pub(super) fn apply(self, script: &mut Script) {
        script.fault = match self {
            Self::Well | Self::Busy => None,
            Self::Unreachable | Self::TimedOut => Some(Fault::Refusing),
            Self::OtherKey => Some(Fault::ChangedKey),
            Self::NoDocker => Some(Fault::DockerDown),
            Self::FullDisk => Some(Fault::DockerDiskFull),
        };
        script.facts.memory_percent = if self == Self::Busy { 97 } else { 35 };
    }
}

/// The figures of a host that has room for more agents than it has slots.
pub(super) fn roomy() -> Facts {
    Facts {
        cpus: 16,
        memory_kib: 64_000_000,
        ..Facts::default()
    }
}

/// How a host behaves over the whole time.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Dead,
    Flapping,
    Slow,
    NoDocker,
    OtherKey,
    FullDisk,
    Busy,
}

/// The share of hosts with each trouble, in percent: 30 in all.
const TROUBLES: [(Trouble, usize); 7] = [
    (Trouble::Dead, 4),
    (Trouble::Flapping, 8),
    (Trouble::Slow, 6),
    (Trouble::NoDocker, 6),
    (Trouble::OtherKey, 3),
    (Trouble::FullDisk, 2),
    (Trouble::Busy, 1),
];

impl Trouble {
    /// The states of the host from minute 0 to the last. All hosts are well in the first two minutes.
    fn states(self, last_minute: usize, random: &mut Random) -> Vec<HostState> {
        let mut states = vec![HostState::Well; last_minute + 1];
        let begin = random.between(2, (last_minute * 2 / 3).max(2));
        let mut set = |first: usize, count: usize, state: HostState| {
            for minute in states.iter_mut().skip(first).take(count) {
                *minute = state;
            }
        };
        match self {
            Self::Dead => set(begin, last_minute, HostState::Unreachable),
            Self::Flapping => {
                let mut minute = random.between(2, 6);
                while minute <= last_minute {
                    let down = random.between(1, 4);
                    set(minute, down, HostState::Unreachable);
                    minute += down + random.between(1, 4);
                }
            }
            Self::Slow => {
                for minute in 2..=last_minute {
                    if random.between(0, 2) == 0 {
                        set(minute, 1, HostState::TimedOut);
                    }
                }
            }
            Self::NoDocker => set(begin, random.between(3, 8), HostState::NoDocker),
            Self::OtherKey => set(begin, random.between(5, 20), HostState::OtherKey),
            Self::FullDisk => set(2, last_minute, HostState::FullDisk),
            Self::Busy => set(2, last_minute, HostState::Busy),
        }
        states
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContainerChange {
    Gone,
    /// It is there again, as it was.
    Back,
    Exited,
    Paused,
    /// Another host has a container of the same agent, too.
    Copied,
    /// A container of another agent has its name.
    Relabelled,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ContainerEvent {
    pub(super) minute: usize,
    pub(super) host: usize,
    pub(super) agent: Uuid,
    pub(super) change: ContainerChange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Start,
    Stop,
}

/// What an owner requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnerRequest {
    pub(super) minute: usize,
    pub(super) tenant: usize,
    pub(super) agent: Uuid,
    pub(super) wish: Wish,
}

#[derive(Debug)]
pub(super) struct Schedule {
    last_minute: usize,
    states: Vec<Vec<HostState>>,
    /// When each host is declared lost, if it is.
    losses: Vec<Option<usize>>,
    pub(super) containers: Vec<ContainerEvent>,
    pub(super) requests: Vec<OwnerRequest>,
    /// Agents that never answer their health check.
    pub(super) silent: HashSet<Uuid>,
}

/// An agent that runs when the time begins.
#[derive(Clone, Copy, Debug)]
struct Placed {
    host: usize,
    agent: Uuid,
}

impl Schedule {
    /// `running` are the agents of each host, `pending` those that were never started.
    pub(super) fn new(size: Size, running: &[Vec<Uuid>], pending: &[Uuid], seed: u64) -> Self {
        let mut random = Random::new(seed);
        let hosts = host_states(size, &mut random);
        let mut agents: Vec<Placed> = running
            .iter()
            .enumerate()
            .flat_map(|(host, agents)| {
                agents.iter().map(move |agent| Placed {
                    host,
                    agent: *agent,
                })
            })
            .collect();
        random.shuffle(&mut agents);
        let total = agents.len();
        let mut agents = agents.into_iter();
        let containers = agents.by_ref().take((total / 50).max(6));
        let containers = container_events(containers, size.minutes, &mut random);
        let silent = agents.by_ref().take(total / 33 + 1);
        let silent = silent.map(|placed| placed.agent).collect();
        let mut requests = Vec::new();
        let last = size.minutes * 3 / 4;
        for placed in agents.take(size.stops) {
            requests.push(OwnerRequest {
                minute: random.between(1, last),
                tenant: placed.host % size.tenants,
                agent: placed.agent,
                wish: Wish::Stop,
            });
        }
        for (number, agent) in pending.iter().enumerate() {
            requests.push(OwnerRequest {
                minute: random.between(1, last),
                tenant: number % size.tenants,
                agent: *agent,
                wish: Wish::Start,
            });
        }
        Self {
            last_minute: size.minutes,
            losses: hosts.iter().map(|states| loss(states)).collect(),
            states: hosts,
            containers,
            requests,
            silent,
        }
    }

    /// The state of a host. After the last minute all hosts are well that are not lost.
    pub(super) fn state(&self, host: usize, minute: usize) -> HostState {
        match self.states[host].get(minute) {
            Some(state) => *state,
            None if self.losses[host].is_some() => HostState::Unreachable,
            None => HostState::Well,
        }
    }

    /// The hosts that are declared lost in this minute.
    pub(super) fn losses_at(&self, minute: usize) -> Vec<usize> {
        let hosts = 0..self.losses.len();
        hosts
            .filter(|host| self.losses[*host] == Some(minute))
            .collect()
    }

    pub(super) fn is_own_fault(&self, minute: usize) -> bool {
        self.last_minute >= MIN_MINUTES_FOR_OWN_FAULT && OWN_FAULT.contains(&minute)
    }

    /// Whether runs cannot reach the host because of a fault of our own: three of four hosts.
    pub(super) fn is_cut_off(&self, host: usize, minute: usize) -> bool {
        self.is_own_fault(minute) && host % 4 != 3
    }
}

fn host_states(size: Size, random: &mut Random) -> Vec<Vec<HostState>> {
    let mut hosts = vec![vec![HostState::Well; size.minutes + 1]; size.hosts];
    let mut order: Vec<usize> = (0..size.hosts).collect();
    random.shuffle(&mut order);
    let mut order = order.into_iter();
    for (trouble, percent) in TROUBLES {
        for host in order.by_ref().take((size.hosts * percent).div_ceil(100)) {
            hosts[host] = trouble.states(size.minutes, random);
        }
    }
    hosts
}

/// When an operator declares the host lost: it has been down for long enough, and stays down.
fn loss(states: &[HostState]) -> Option<usize> {
    let up = states
        .iter()
        .rposition(|state| *state != HostState::Unreachable)?;
    let lost_at = up + 1 + LOSS_AFTER;
    (lost_at < states.len()).then_some(lost_at)
}

fn container_events(
    agents: impl Iterator<Item = Placed>,
    minutes: usize,
    random: &mut Random,
) -> Vec<ContainerEvent> {
    let mut events = Vec::new();
    for (number, Placed { host, agent }) in agents.enumerate() {
        let begin = random.between(2, (minutes * 2 / 3).max(2));
        let mut add = |minute: usize, change: ContainerChange| {
            events.push(ContainerEvent {
                minute,
                host,
                agent,
                change,
            });
        };
        match number % 6 {
            0 => add(begin, ContainerChange::Gone),
            1 => add(begin, ContainerChange::Exited),
            2 => add(begin, ContainerChange::Paused),
            3 => add(begin, ContainerChange::Copied),
            4 => add(begin, ContainerChange::Relabelled),
            _ => {
                add(begin, ContainerChange::Gone);
                add(begin + 1, ContainerChange::Back);
            }
        }
    }
    events
}
