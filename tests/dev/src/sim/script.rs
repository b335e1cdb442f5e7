//! What a simulated host does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Where its Docker Engine listens unless it is told otherwise.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// What a host does.
#[derive(Clone, Debug)]
pub struct Script {
    /// What it is called; its keys follow from it.
    pub name: String,
    /// Its containers, in the order in which its engine lists them.
    pub containers: Vec<Container>,
    /// The images it has.
    pub images: BTreeSet<String>,
    /// Its own figures.
    pub facts: Facts,
    /// Where its engine listens.
    pub docker_socket: String,
    /// The engine's version.
    pub docker_version: String,
    /// What each opening of a channel and each answer takes.
    pub latency: Duration,
    /// How far its clock is ahead.
    pub clock_ahead: TimeDelta,
    /// What is wrong with it.
    pub fault: Option<Fault>,
}

/// What may be wrong with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens on its port.
    Refusing,
    /// It takes connections and says nothing.
    Silent,
    /// It shows another key than the one it was set up with.
    ChangedKey,
    /// It lets nobody in.
    AuthRefused,
    /// It forwards to no socket and no port.
    ForwardingRefused,
    /// The command for its figures does not come back, as with a file system that hangs.
    CommandHangs,
    /// Nobody listens on its engine's socket.
    DockerDown,
    /// Its engine takes requests and never answers.
    DockerSilent,
    /// Its engine lists one container of this many bytes.
    HugeAnswer(u64),
    /// Its engine lists this many containers.
    Crowd(u64),
    /// Its engine's list ends in the middle.
    HalfJson,
}

impl Script {
    /// A calm host without containers.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            containers: Vec::new(),
            images: BTreeSet::new(),
            facts: Facts::default(),
            docker_socket: DOCKER_SOCKET.to_owned(),
            docker_version: "20.10.24+dfsg1".to_owned(),
            latency: Duration::ZERO,
            clock_ahead: TimeDelta::zero(),
            fault: None,
        }
    }

    /// With one more container, and its image.
    #[must_use]
    pub fn with(mut self, container: Container) -> Self {
        self.images.insert(container.image.clone());
        self.containers.push(container);
        self
    }

    /// With these figures.
    #[must_use]
    pub fn facts(self, facts: Facts) -> Self {
        Self { facts, ..self }
    }

    /// With this latency.
    #[must_use]
    pub fn latency(self, latency: Duration) -> Self {
        Self { latency, ..self }
    }

    /// With a clock that is so far ahead.
    #[must_use]
    pub fn clock_ahead(self, clock_ahead: TimeDelta) -> Self {
        Self {
            clock_ahead,
            ..self
        }
    }

    /// With something wrong.
    #[must_use]
    pub fn fault(self, fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..self
        }
    }

    /// The container of this id, beginning of an id, or name.
    #[must_use]
    pub fn find(&self, word: &str) -> Option<&Container> {
        self.containers.iter().find(|found| found.is(word))
    }

    pub(super) fn find_mut(&mut self, word: &str) -> Option<&mut Container> {
        self.containers.iter_mut().find(|found| found.is(word))
    }

    /// The health of the agent that listens on this port.
    pub(super) fn agent(&self, port: u16) -> Option<Health> {
        let mut listening = self.containers.iter().filter(|found| found.runs());
        let agent = listening.find(|found| found.web_port == Some(port))?;
        Some(agent.agent)
    }

    pub(super) fn listens(&self, port: u16) -> bool {
        self.agent(port)
            .is_some_and(|health| health != Health::Refusing)
    }
}

/// A container of a simulated host.
#[derive(Clone, Debug)]
pub struct Container {
    /// Docker's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Docker's word for its state.
    pub state: String,
    /// Docker's own words, with what its check says in brackets.
    pub status: String,
    /// When it was made, by a clock that is right.
    pub created_at: DateTime<Utc>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The port of the host that leads to its agent's pages.
    pub web_port: Option<u16>,
    /// How its agent fares.
    pub agent: Health,
    /// The lines it has written, and when.
    pub lines: Vec<(DateTime<Utc>, String)>,
}

/// What an agent says when it is asked whether it is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is.
    Well,
    /// It is not.
    Failing,
    /// It is, after this time.
    Slow(Duration),
    /// Nobody listens.
    Refusing,
}

impl Container {
    /// A container of this name, made an hour ago, that runs.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            id: hex::encode(Sha256::digest(name)),
            name: name.to_owned(),
            image: "milady/agent:sample".to_owned(),
            state: "running".to_owned(),
            status: "Up About an hour".to_owned(),
            created_at: Utc::now() - TimeDelta::hours(1),
            labels: BTreeMap::new(),
            web_port: None,
            agent: Health::Well,
            lines: Vec::new(),
        }
    }

    /// The container of an agent, as it is made when the agent is started.
    #[must_use]
    pub fn of(agent: Uuid, organization: Uuid) -> Self {
        Self::new(&format!("milady-{agent}"))
            .label("milady.agent", &agent.to_string())
            .label("milady.organization", &organization.to_string())
            .label("milady.attempt", "1")
    }

    /// With another id.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            ..self
        }
    }

    /// With another image.
    #[must_use]
    pub fn image(self, image: &str) -> Self {
        Self {
            image: image.to_owned(),
            ..self
        }
    }

    /// With a label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// In another state: Docker's word, and its own words.
    #[must_use]
    pub fn state(mut self, state: &str, status: &str) -> Self {
        self.set_state(state, status);
        self
    }

    /// Made at another time.
    #[must_use]
    pub fn created_at(self, created_at: DateTime<Utc>) -> Self {
        Self { created_at, ..self }
    }

    /// With an agent behind a port of the host.
    #[must_use]
    pub fn agent(self, web_port: u16, agent: Health) -> Self {
        Self {
            web_port: Some(web_port),
            agent,
            ..self
        }
    }

    /// With one more line that it has written.
    #[must_use]
    pub fn line(mut self, at: DateTime<Utc>, line: &str) -> Self {
        self.lines.push((at, line.to_owned()));
        self
    }

    pub(super) fn set_state(&mut self, state: &str, status: &str) {
        state.clone_into(&mut self.state);
        status.clone_into(&mut self.status);
    }

    /// Its process runs.
    pub(super) fn runs(&self) -> bool {
        self.state == "running"
    }

    /// Docker counts it among the running: also one that is frozen, or is being started again.
    pub(super) fn is_up(&self) -> bool {
        ["running", "paused", "restarting"].contains(&self.state.as_str())
    }

    fn is(&self, word: &str) -> bool {
        self.name == word || (word.len() >= 12 && self.id.starts_with(word))
    }
}

/// A host's own figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The load of the last minute, in hundredths.
    pub load_hundredths: u64,
    /// Processors.
    pub cpus: u64,
    /// Memory that cannot be had, in percent.
    pub memory_percent: u64,
    /// The root file system's use, in percent.
    pub disk_percent: u64,
    /// Share of the last minute in which something waited for I/O, in percent; none = its kernel does
    /// not say.
    pub io_pressure_percent: Option<u64>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            load_hundredths: 42,
            cpus: 4,
            memory_percent: 35,
            disk_percent: 40,
            io_pressure_percent: Some(1),
        }
    }
}

impl Facts {
    /// As the host prints them.
    pub(super) fn printed(&self) -> String {
        const MEMORY_KIB: u64 = 16_000_000;
        const DISK_BYTES: u64 = 200_000_000_000;
        let part = |whole: u64, percent: u64| whole / 100 * percent;
        let (load, cpus) = (self.load_hundredths, self.cpus);
        let available = MEMORY_KIB - part(MEMORY_KIB, self.memory_percent.min(100));
        let used = part(DISK_BYTES, self.disk_percent.min(100));
        let free = DISK_BYTES - used;
        let calm = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n\
            full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        let io = self.io_pressure_percent.map(|percent| {
            format!("some avg10=0.00 avg60={percent}.00 avg300=0.00 total=1\n{calm}")
        });
        let mut text = String::new();
        let sections = [
            (
                "loadavg",
                format!("{}.{:02} 0.50 0.40 1/234 5678\n", load / 100, load % 100),
            ),
            (
                "meminfo",
                format!(
                    "MemTotal:       {MEMORY_KIB} kB\nMemFree:        1000 kB\n\
                    MemAvailable:   {available} kB\n"
                ),
            ),
            ("pressure/cpu", calm.to_owned()),
            ("pressure/io", io.unwrap_or_default()),
            ("pressure/memory", calm.to_owned()),
            ("cpus", format!("{cpus}\n")),
            (
                "disk",
                format!(
                    "Filesystem     1-blocks Used Available Capacity Mounted on\n\
                    /dev/vda1 {DISK_BYTES} {used} {free} {}% /\n",
                    self.disk_percent
                ),
            ),
        ];
        for (name, section) in sections {
            let _ = write!(text, "== {name}\n{section}");
        }
        text
    }
}
