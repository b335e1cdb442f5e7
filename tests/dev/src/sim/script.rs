//! The script of a simulated host.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::answers::{Answer, ApiVersions};
use super::archive::Data;
use super::facts::Facts;
use super::store::{self, PulledImage, Volume};

const DEFAULT_DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// The directory of its Docker Engine's data.
pub(super) const DOCKER_ROOT: &str = "/var/lib/docker";

#[derive(Clone, Debug)]
pub struct Script {
    /// The name, from which its keys are derived.
    pub name: String,
    /// In the order of the engine's lists.
    pub containers: Vec<Container>,
    /// The names of its images.
    pub images: BTreeSet<String>,
    /// Those of its images that it pulled from the registry.
    pub pulled: Vec<PulledImage>,
    /// The digests that the registry has for names with tags.
    pub registry: BTreeMap<String, String>,
    pub volumes: Vec<Volume>,
    /// What each of its volumes holds.
    pub data: Data,
    pub facts: Facts,
    /// Further host keys besides the original one, in OpenSSH's format.
    pub host_keys: Vec<String>,
    pub docker_socket: String,
    pub docker_version: String,
    /// The versions of the API that its engine speaks.
    pub api_versions: ApiVersions,
    /// How each container ends that is started; `None` if it keeps running.
    pub dies_at_start: Option<Death>,
    /// Images whose containers end as soon as they are started: their names or their engine's ids.
    pub broken_images: BTreeSet<String>,
    /// What agents keep in their volumes, by the volume's name. Only an agent that has a state here has a bridge.
    pub states: BTreeMap<String, String>,
    /// Answers of its engine in place of the usual ones, the first that matches a request.
    pub answers: Vec<Answer>,
    /// The delay of each opened channel and each answer.
    pub latency: Duration,
    /// How far its clock is ahead.
    pub clock_ahead: TimeDelta,
    pub fault: Option<Fault>,
}

/// A fault of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its SSH port refuses connections.
    Refusing,
    /// It accepts connections but sends nothing.
    Silent,
    /// It closes its first connections without a greeting, as OpenSSH does beyond `MaxStartups`.
    ClosesFirst(u64),
    /// It presents another host key than its original one.
    ChangedKey,
    /// It refuses every login.
    AuthRefused,
    /// It refuses to forward to sockets and ports.
    ForwardingRefused,
    /// The command that reads its facts never returns, as with a hanging file system.
    CommandHangs,
    /// Its engine's socket refuses connections.
    DockerDown,
    /// Its engine accepts requests but never answers.
    DockerSilent,
    /// Its engine takes this long to pull an image.
    SlowPull(Duration),
    /// Its engine has no addresses left for networks.
    NoAddressPools,
    /// Its engine refuses to create containers, because its disk is full.
    DockerDiskFull,
    /// Its engine lists one container with a label of this many bytes.
    HugeResponse(u64),
    /// Its engine lists this many containers.
    ManyContainers(u64),
    /// Its engine's list breaks off in the middle.
    TruncatedJson,
    /// Its agents answer every request with this many bytes.
    HugeAnswers(usize),
    /// Its agents answer every request with this body.
    Answers(&'static [u8]),
}

impl Script {
    /// A host without load, faults and containers.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            containers: Vec::new(),
            images: BTreeSet::new(),
            pulled: Vec::new(),
            registry: BTreeMap::new(),
            volumes: Vec::new(),
            data: Data::default(),
            facts: Facts::default(),
            host_keys: Vec::new(),
            docker_socket: DEFAULT_DOCKER_SOCKET.to_owned(),
            docker_version: "20.10.24+dfsg1".to_owned(),
            api_versions: ApiVersions::DOCKER_20,
            dies_at_start: None,
            broken_images: BTreeSet::new(),
            states: BTreeMap::new(),
            answers: Vec::new(),
            latency: Duration::ZERO,
            clock_ahead: TimeDelta::zero(),
            fault: None,
        }
    }

    /// Adds a container and its image.
    #[must_use]
    pub fn with_container(mut self, container: Container) -> Self {
        self.images.insert(container.image.clone());
        self.containers.push(container);
        self
    }

    #[must_use]
    pub fn facts(self, facts: Facts) -> Self {
        Self { facts, ..self }
    }

    #[must_use]
    pub fn latency(self, latency: Duration) -> Self {
        Self { latency, ..self }
    }

    #[must_use]
    pub fn clock_ahead(self, clock_ahead: TimeDelta) -> Self {
        Self {
            clock_ahead,
            ..self
        }
    }

    #[must_use]
    pub fn fault(self, fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..self
        }
    }

    /// Adds a host key.
    #[must_use]
    pub fn host_key(mut self, text: &str) -> Self {
        self.host_keys.push(text.to_owned());
        self
    }

    #[must_use]
    pub fn engine(self, docker_version: &str, api_versions: ApiVersions) -> Self {
        Self {
            docker_version: docker_version.to_owned(),
            api_versions,
            ..self
        }
    }

    /// Adds an answer in place of the usual one.
    #[must_use]
    pub fn answer(mut self, answer: Answer) -> Self {
        self.answers.push(answer);
        self
    }

    /// The container with this id, id prefix or name.
    #[must_use]
    pub fn find(&self, id_or_name: &str) -> Option<&Container> {
        self.containers
            .iter()
            .find(|container| container.matches(id_or_name))
    }

    pub(super) fn find_mut(&mut self, id_or_name: &str) -> Option<&mut Container> {
        self.containers
            .iter_mut()
            .find(|container| container.matches(id_or_name))
    }

    /// The output of the command that reads the weights of disk accesses, on a host with BFQ.
    pub(super) fn io_weights(&self) -> String {
        let containers = self.containers.iter();
        let weights = containers.map(|container| {
            let (id, weight) = (&container.id, container.io_weight.unwrap_or(100));
            format!("/sys/fs/cgroup/system.slice/docker-{id}.scope/io.bfq.weight:{weight}\n")
        });
        weights.collect()
    }

    /// The health of the agent that listens on this port of the host.
    pub(super) fn agent_health(&self, port: u16) -> Option<Health> {
        let mut listening = self
            .containers
            .iter()
            .filter(|container| container.is_running());
        let agent = listening.find(|container| container.web_port == Some(port))?;
        Some(agent.agent)
    }

    pub(super) fn is_listening_on(&self, port: u16) -> bool {
        self.bridge_volume(port).is_some()
            || self
                .agent_health(port)
                .is_some_and(|health| health != Health::Refusing)
    }

    /// The volume of the agent whose bridge listens on this port of the host.
    pub(super) fn bridge_volume(&self, port: u16) -> Option<&str> {
        let mut listening = self
            .containers
            .iter()
            .filter(|container| container.is_running());
        let agent = listening.find(|container| container.bridge_port == Some(port))?;
        self.states
            .contains_key(&agent.name)
            .then_some(agent.name.as_str())
    }
}

#[derive(Clone, Debug)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub image: String,
    /// The engine's id of the image.
    pub image_id: String,
    /// Docker's state: `running`, `exited` and so on.
    pub state: String,
    /// Docker's status text, which ends with the health in brackets.
    pub status: String,
    /// By a correct clock, whatever the host's clock says.
    pub created_at: DateTime<Utc>,
    pub labels: BTreeMap<String, String>,
    /// The host port of its agent's web pages.
    pub web_port: Option<u16>,
    /// The host port of its agent's bridge.
    pub bridge_port: Option<u16>,
    /// Billionths of a processor. `None` if there is no limit.
    pub nano_cpus: Option<i64>,
    /// The weight of its disk accesses. `None` if it has that of all others.
    pub io_weight: Option<i64>,
    pub agent: Health,
    /// Its log lines with their times.
    pub lines: Vec<(DateTime<Utc>, String)>,
    /// The limit of its memory.
    pub memory_bytes: Option<i64>,
    /// How often Docker has started it again.
    pub restart_count: i64,
    /// Whether the kernel killed it because of its memory.
    pub oom_killed: bool,
    /// When it was started last, by a correct clock.
    pub started_at: Option<DateTime<Utc>>,
    /// When it last ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// How a container ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    pub exit_code: i64,
    pub oom_killed: bool,
}

/// The behaviour of an agent's health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answers that the agent is healthy.
    Healthy,
    /// It answers with an error.
    Failing,
    /// It answers that the agent is healthy, after this time.
    Slow(Duration),
    /// The agent does not listen.
    Refusing,
}

impl Container {
    /// A container that was created an hour ago and runs.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            id: hex::encode(Sha256::digest(name)),
            name: name.to_owned(),
            image: "milady/agent:sample".to_owned(),
            image_id: store::MADE_HERE.to_owned(),
            state: "running".to_owned(),
            status: "Up About an hour".to_owned(),
            created_at: Utc::now() - TimeDelta::hours(1),
            labels: BTreeMap::new(),
            web_port: None,
            bridge_port: None,
            nano_cpus: None,
            io_weight: None,
            agent: Health::Healthy,
            lines: Vec::new(),
            memory_bytes: None,
            restart_count: 0,
            oom_killed: false,
            started_at: None,
            finished_at: None,
        }
    }

    /// The container that a start of this agent creates.
    #[must_use]
    pub fn of_agent(agent: Uuid, organization: Uuid) -> Self {
        Self::new(&format!("milady-{agent}"))
            .label("milady.agent", &agent.to_string())
            .label("milady.organization", &organization.to_string())
            .label("milady.attempt", "1")
    }

    #[must_use]
    pub fn id(self, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            ..self
        }
    }

    #[must_use]
    pub fn image(self, image: &str) -> Self {
        Self {
            image: image.to_owned(),
            ..self
        }
    }

    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets Docker's state and its status text.
    #[must_use]
    pub fn state(mut self, state: &str, status: &str) -> Self {
        self.set_state(state, status);
        self
    }

    #[must_use]
    pub fn created_at(self, created_at: DateTime<Utc>) -> Self {
        Self { created_at, ..self }
    }

    /// Adds an agent behind this port of the host.
    #[must_use]
    pub fn agent(self, web_port: u16, agent: Health) -> Self {
        Self {
            web_port: Some(web_port),
            agent,
            ..self
        }
    }

    /// Gives the agent a bridge behind this port of the host.
    #[must_use]
    pub fn bridge(self, port: u16) -> Self {
        Self {
            bridge_port: Some(port),
            ..self
        }
    }

    /// Adds a log line.
    #[must_use]
    pub fn line(mut self, at: DateTime<Utc>, line: &str) -> Self {
        self.lines.push((at, line.to_owned()));
        self
    }

    pub(super) fn set_state(&mut self, state: &str, status: &str) {
        state.clone_into(&mut self.state);
        status.clone_into(&mut self.status);
    }

    /// Ends the container at this time, after which Docker starts it again.
    pub fn restart_after(&mut self, death: Death, at: DateTime<Utc>) {
        let status = format!("Restarting ({}) 1 second ago", death.exit_code);
        self.set_state("restarting", &status);
        self.restart_count += 1;
        self.oom_killed = death.oom_killed;
        self.finished_at = Some(at);
    }

    /// Ends the container at this time for good.
    pub fn end(&mut self, death: Death, at: DateTime<Utc>) {
        let status = format!("Exited ({}) 1 second ago", death.exit_code);
        self.set_state("exited", &status);
        self.oom_killed = death.oom_killed;
        self.finished_at = Some(at);
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == "running"
    }

    /// Whether Docker counts it as running, which includes paused and restarting containers.
    pub(super) fn is_up(&self) -> bool {
        ["running", "paused", "restarting"].contains(&self.state.as_str())
    }

    fn matches(&self, id_or_name: &str) -> bool {
        self.name == id_or_name || (id_or_name.len() >= 12 && self.id.starts_with(id_or_name))
    }
}
