//! A fleet in virtual time: hosts that fail in many ways, runs that observe them every minute, owners who start and stop
//! agents, and an operator who declares dead hosts lost. Everything of ours is real: Postgres, the cache, the runs with all
//! that follows from them, the functions that answer requests, the workers that claim jobs and place agents over SSH. The
//! hosts are simulated, and runs can be told what they look like instead of connecting to them: then an hour of a thousand
//! hosts takes minutes. A second, simple model (`oracle`) says what the status of each agent must be in each minute.

mod jobs;
mod observer;
mod oracle;
mod random;
mod schedule;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use dev::host::image;
use dev::runtime::Instance;
use dev::sim::{Container, Death, Health, Script};
use serde_json::{Value, json};
use shared::api::admin::fleet_render::{render_overview, render_sections};
use shared::app::fleet::refresh::{RefreshDeps, RefreshOutcome, fleet_refresh};
use shared::app::fleet::renewal::RenewalDeps;
use shared::cache::Cache;
use shared::domain::address::AddressPolicy;
use shared::domain::fleet::Shard;
use shared::domain::ids::InvocationId;
use shared::hosts::{HostClient, SshKey};
use uuid::Uuid;

use crate::calls::agent_path;
use crate::simulated_world::SimulatedWorld;
use crate::world::minutes;
use observer::Observer;
use oracle::Oracle;
use schedule::{ContainerChange, ContainerEvent, HostState, OwnerRequest, Schedule, Wish};

/// As long as a scheduled run may take.
const RUN_TIMEOUT: Duration = Duration::from_secs(50);
/// After the last minute, everything that still waits has become due within this time: a stop that failed is repeated after
/// a quarter of an hour.
const SETTLING_MINUTES: usize = 20;
/// How many differences a failure names.
const SHOWN_DIFFERENCES: usize = 10;
const NODES: &str = "/api/v1/admin/docker-nodes";

#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub hosts: usize,
    pub agents_per_host: usize,
    /// The organizations that own the agents.
    pub tenants: usize,
    pub minutes: usize,
    /// Agents that their owners start, and others that they stop.
    pub starts: usize,
    pub stops: usize,
}

/// How runs observe the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inspection {
    /// They are told what they would see.
    Simulated,
    /// Over SSH, as the function does it.
    OverSsh,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Statuses that were compared with what they must be.
    pub compared_statuses: usize,
    pub disconnected: u64,
    pub regained: u64,
    /// Agents whose container was lost.
    pub lost: u64,
    pub lost_hosts: usize,
    pub started: usize,
    pub stopped: usize,
    /// Attempts of starts and stops that had to be repeated.
    pub repeated: usize,
    pub runs: u32,
    /// Of all runs.
    pub run_time: Duration,
    pub longest_run: Duration,
    /// Of all jobs.
    pub job_time: Duration,
}

/// The seed that `SIMULATION_SEED` says, to repeat a failure.
#[must_use]
pub fn chosen_seed() -> Option<u64> {
    let text = std::env::var("SIMULATION_SEED").ok()?;
    Some(text.parse().expect("SIMULATION_SEED is a number"))
}

/// Simulates a fleet, and panics if the status of an agent is wrong in a minute, if a start does not succeed although a host
/// can take the agent, or if a stop is not done in the end. The functions that it needs are `agent-provision`,
/// `agent-suspend`, `db-migrate`, `job-run`, `node-lost`, and over SSH `fleet-refresh`.
pub async fn simulate(size: Size, inspection: Inspection, seed: u64) -> Report {
    // Shown if the test fails.
    println!("{size:?}, SIMULATION_SEED={seed}");
    let mut simulation = VirtualFleet::new(size, inspection, seed).await;
    for minute in 0..=size.minutes {
        simulation.step(minute).await;
    }
    simulation.settle().await;
    simulation.report
}

struct VirtualFleet {
    size: Size,
    inspection: Inspection,
    fleet: SimulatedWorld,
    schedule: Schedule,
    oracle: Oracle,
    index_by_name: HashMap<String, usize>,
    /// What the scripts of the hosts say now.
    states: Vec<HostState>,
    /// Containers that are gone and come back.
    away: HashMap<Uuid, Container>,
    client: HostClient,
    cache: Cache,
    /// They run jobs at the same time.
    workers: Vec<Instance>,
    report: Report,
}

/// What a run says that it changed.
struct RunCounts {
    disconnected: u64,
    regained: u64,
    lost: u64,
    corrected_hosts: u64,
}

impl VirtualFleet {
    async fn new(size: Size, inspection: Inspection, seed: u64) -> Self {
        let script = |host: usize| Script::new(&format!("host-{host:04}")).facts(schedule::roomy());
        let scripts: Vec<Script> = (0..size.hosts).map(script).collect();
        let fleet = SimulatedWorld::with_tenants(
            scripts,
            size.agents_per_host,
            Health::Healthy,
            size.tenants,
        )
        .await;
        let pending = insert_pending_agents(&fleet, size.starts).await;
        let schedule = Schedule::new(size, &fleet.agents, &pending, seed);
        for host in fleet.sim.hosts() {
            let is_silent = |container: &Container| {
                let id = container.name.strip_prefix("milady-");
                let id = id.and_then(|id| id.parse::<Uuid>().ok());
                id.is_some_and(|id| schedule.silent.contains(&id))
            };
            host.update_script(|script| {
                for container in &mut script.containers {
                    if is_silent(container) {
                        container.agent = Health::Failing;
                    }
                }
            })
            .await;
        }
        let names = fleet.sim.hosts().iter().map(|host| host.name().to_owned());
        let client = HostClient::new(ssh_key(&fleet), AddressPolicy::Any);
        let workers = jobs::start_workers(&fleet).await;
        Self {
            oracle: Oracle::new(&fleet.agents, &schedule.silent),
            index_by_name: names.zip(0..).collect(),
            states: vec![HostState::Well; size.hosts],
            away: HashMap::new(),
            cache: fleet.world.cache(),
            report: Report::default(),
            size,
            inspection,
            fleet,
            schedule,
            client,
            workers,
        }
    }

    /// One minute: a run, and then what owners and operators do.
    async fn step(&mut self, minute: usize) {
        self.set_clock(minute).await;
        self.change_hosts(minute).await;
        self.run(minute).await;
        self.oracle.observe(minute, &self.schedule);
        self.compare(minute).await;
        self.declare_losses(minute).await;
        self.make_requests(minute).await;
        self.run_due_jobs(minute).await;
    }

    /// All hosts are well that are not lost, so everything that was requested is done.
    async fn settle(&mut self) {
        let last = self.size.minutes + SETTLING_MINUTES;
        for minute in self.size.minutes + 1..=self.size.minutes + 2 {
            self.step(minute).await;
        }
        for minute in self.size.minutes + 3..last {
            self.set_clock(minute).await;
            self.run_due_jobs(minute).await;
        }
        self.step(last).await;
        self.assert_all_is_done().await;
    }

    async fn set_clock(&self, minute: usize) {
        let minute = i64::try_from(minute).expect("a minute");
        self.fleet.world.set_clock(minutes(minute)).await;
    }

    async fn change_hosts(&mut self, minute: usize) {
        for (host, current) in self.states.iter_mut().enumerate() {
            let state = self.schedule.state(host, minute);
            if state != *current {
                *current = state;
                let host = &self.fleet.sim.hosts()[host];
                host.update_script(|script| state.apply(script)).await;
            }
        }
        let events = self.schedule.containers.iter();
        let due: Vec<ContainerEvent> = events
            .filter(|event| event.minute == minute)
            .copied()
            .collect();
        for event in due {
            self.change_container(event).await;
        }
    }

    async fn change_container(&mut self, event: ContainerEvent) {
        let ContainerEvent {
            host,
            agent,
            change,
            ..
        } = event;
        let name = format!("milady-{agent}");
        let hosts = self.fleet.sim.hosts();
        let present = hosts[host].script().find(&name).cloned();
        match change {
            ContainerChange::Gone => {
                let container = present.expect("a container");
                self.away.insert(agent, container);
                hosts[host]
                    .update_script(|script| script.containers.retain(|other| other.name != name))
                    .await;
            }
            ContainerChange::Back => {
                let container = self.away.remove(&agent).expect("a container");
                hosts[host]
                    .update_script(|script| script.containers.push(container))
                    .await;
            }
            ContainerChange::Copied => {
                let mut copy = present.expect("a container");
                copy.web_port = None;
                hosts[(host + 1) % hosts.len()]
                    .update_script(|script| script.containers.push(copy))
                    .await;
            }
            ContainerChange::Exited | ContainerChange::Paused | ContainerChange::Relabelled => {
                hosts[host]
                    .update_script(|script| {
                        let mut containers = script.containers.iter_mut();
                        let named = containers.find(|container| container.name == name);
                        spoil(named.expect("a container"), change);
                    })
                    .await;
            }
        }
        self.oracle.change_container(agent, change);
    }

    async fn run(&mut self, minute: usize) {
        let started = Instant::now();
        let counts = match self.inspection {
            Inspection::Simulated => self.run_simulated(minute).await,
            Inspection::OverSsh => counts_of(&self.fleet.world.refresh().await),
        };
        let time = started.elapsed();
        assert_eq!(
            counts.corrected_hosts, 0,
            "minute {minute}: the number of taken slots was wrong"
        );
        let report = &mut self.report;
        report.disconnected += counts.disconnected;
        report.regained += counts.regained;
        report.lost += counts.lost;
        report.runs += 1;
        report.run_time += time;
        report.longest_run = report.longest_run.max(time);
    }

    async fn run_simulated(&self, minute: usize) -> RunCounts {
        let observer = Observer {
            hosts: self.fleet.sim.hosts(),
            index_by_name: &self.index_by_name,
            schedule: &self.schedule,
            minute,
        };
        let deps = RefreshDeps {
            pool: &self.fleet.world.database,
            host_client: &self.client,
            renewal: RenewalDeps {
                cache: &self.cache,
                render_sections,
                render_overview,
                default_image: image::SAMPLE,
            },
            simulation: Some(&observer),
        };
        let owner = InvocationId::new(Uuid::new_v4());
        let fleet = Shard::default();
        let outcome = Box::pin(fleet_refresh(deps, &fleet, None, owner, RUN_TIMEOUT)).await;
        let outcome = outcome.expect("a run");
        // The emulator of the cache may take too long for a large snapshot, which no status depends on.
        let (RefreshOutcome::Done { counts, .. } | RefreshOutcome::Uncached(counts)) = outcome
        else {
            panic!("minute {minute}: {outcome:?}");
        };
        let number = |count: usize| u64::try_from(count).expect("a number");
        RunCounts {
            disconnected: number(counts.disconnected_agents),
            regained: number(counts.regained_agents),
            lost: number(counts.lost_agents),
            corrected_hosts: number(counts.corrected_hosts),
        }
    }

    async fn compare(&mut self, minute: usize) {
        let statuses = self.statuses().await;
        let differences = self.oracle.differences(&statuses);
        let shown: Vec<&String> = differences.iter().take(SHOWN_DIFFERENCES).collect();
        assert!(
            differences.is_empty(),
            "minute {minute}: {} statuses are wrong: {shown:#?}",
            differences.len()
        );
        self.report.compared_statuses += self.oracle.compared();
    }

    async fn statuses(&self) -> HashMap<Uuid, String> {
        let rows: Vec<(Uuid, String)> = sqlx::query_as("SELECT id, status FROM milady_sandboxes")
            .fetch_all(&self.fleet.world.pool)
            .await
            .expect("agents");
        rows.into_iter().collect()
    }

    async fn declare_losses(&mut self, minute: usize) {
        for host in self.schedule.losses_at(minute) {
            let name = self.fleet.sim.hosts()[host].name().to_owned();
            let path = format!("{NODES}/{name}/lost");
            let body = json!({"nodeId": name});
            let fleet = &self.fleet;
            let declared = fleet.world.post_json(&fleet.operator, &path, &body).await;
            assert_eq!(declared.status(), 200, "minute {minute}: {declared:?}");
            self.oracle.lose_host(host);
            self.report.lost_hosts += 1;
        }
    }

    async fn make_requests(&mut self, minute: usize) {
        let requests = self.schedule.requests.iter();
        let due: Vec<OwnerRequest> = requests
            .filter(|request| request.minute == minute)
            .copied()
            .collect();
        for request in due {
            let key = &self.fleet.tenants[request.tenant].key;
            let operation = match request.wish {
                Wish::Start => "/provision",
                Wish::Stop => "/suspend",
            };
            let path = agent_path(request.agent, operation);
            let answer = self.fleet.world.post(key, &path).await;
            // 200: its container or its host was lost, so there is nothing to stop.
            let has_nothing_to_stop = request.wish == Wish::Stop && answer.status() == 200;
            assert!(
                answer.status() == 202 || has_nothing_to_stop,
                "minute {minute}: {answer:?}"
            );
            if request.wish == Wish::Stop {
                self.oracle.leave_open(request.agent);
            }
        }
    }

    async fn assert_all_is_done(&self) {
        let world = &self.fleet.world;
        let active = "SELECT count(*) FROM jobs WHERE status IN ('pending', 'in_progress')";
        assert_eq!(world.count(active).await, 0, "jobs are left");
        let overfull = "SELECT count(*) FROM docker_nodes
            WHERE allocated_count > capacity OR allocated_count < 0";
        assert_eq!(
            world.count(overfull).await,
            0,
            "a host has more agents than slots"
        );
        let statuses = self.statuses().await;
        let mut wrong = BTreeMap::new();
        for request in &self.schedule.requests {
            let status = statuses[&request.agent].as_str();
            let is_done = match request.wish {
                Wish::Stop => status == "stopped",
                // The host that it was placed on may have failed since.
                Wish::Start => ["running", "disconnected", "stopped"].contains(&status),
            };
            if !is_done {
                wrong.insert(request.agent, status);
            }
        }
        assert!(wrong.is_empty(), "requests are not done: {wrong:#?}");
        let starts = self.schedule.requests.iter();
        let starts = starts.filter(|request| request.wish == Wish::Start);
        assert_eq!(self.report.started, starts.count(), "starts are missing");
        self.assert_no_stopped_container_runs();
    }

    /// Checks the hosts themselves. Nothing can be known of those that are lost.
    fn assert_no_stopped_container_runs(&self) {
        let requests = self.schedule.requests.iter();
        let stopped: Vec<String> = requests
            .filter(|request| request.wish == Wish::Stop)
            .map(|request| format!("milady-{}", request.agent))
            .collect();
        for (host, state) in self.fleet.sim.hosts().iter().zip(&self.states) {
            if state.is_readable() {
                let containers = host.script().containers;
                let left = containers
                    .iter()
                    .find(|container| stopped.contains(&container.name));
                assert!(left.is_none(), "{}: {left:?}", host.name());
            }
        }
    }
}

fn spoil(container: &mut Container, change: ContainerChange) {
    match change {
        ContainerChange::Exited => {
            let death = Death {
                exit_code: 1,
                oom_killed: false,
            };
            container.end(death, Utc::now());
        }
        ContainerChange::Paused => {
            "paused".clone_into(&mut container.state);
            "Up About an hour (Paused)".clone_into(&mut container.status);
        }
        ContainerChange::Relabelled => {
            let other = Uuid::new_v4().to_string();
            container.labels.insert("milady.agent".to_owned(), other);
        }
        ContainerChange::Gone | ContainerChange::Back | ContainerChange::Copied => {}
    }
}

/// The counts in the function's answer.
fn counts_of(answer: &Value) -> RunCounts {
    assert_eq!(answer["late"], json!(0), "{answer}");
    let number = |name: &str| answer[name].as_u64().expect("a number");
    RunCounts {
        disconnected: number("disconnected"),
        regained: number("regained"),
        lost: number("lost"),
        corrected_hosts: number("slots"),
    }
}

/// Inserts agents that were never started. They have databases already: creating one takes longer than all other steps of a
/// start, and disk.
async fn insert_pending_agents(fleet: &SimulatedWorld, count: usize) -> Vec<Uuid> {
    fleet
        .world
        .execute("UPDATE organizations SET credit_balance = 1000000")
        .await;
    let mut agents = Vec::new();
    for tenant in fleet.tenants.iter().cycle().take(count) {
        let agent = fleet.world.agent(tenant.organization, "pending").await;
        let columns = "database_status = 'ready', database_uri = 'postgres://own@127.0.0.1:9/own'";
        fleet.world.set_columns(agent, columns).await;
        agents.push(agent);
    }
    agents
}

fn ssh_key(fleet: &SimulatedWorld) -> SshKey {
    let encoded = &fleet.world.settings["MILADY_SSH_KEY"];
    let text = STANDARD.decode(encoded).expect("base64");
    let text = String::from_utf8(text).expect("a text");
    SshKey::parse(&text).expect("a key")
}
