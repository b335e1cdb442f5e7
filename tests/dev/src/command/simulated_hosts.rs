//! The simulated hosts of `cargo dev`: one for the agents of the demo organizations, and one for each kind of trouble
//! an operator may see.
//!
//! Owns the hosts, their rows in `docker_nodes`, and the rows of their agents. The hosts are
//! disabled, like hosts that an operator drains: no agent is ever placed there, but the existing
//! ones are monitored. Full capacities would prevent placement only until a slot is freed, and
//! would show every host as full. Their agents are exempt from billing, because nothing runs.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection, PgPool, Row};
use uuid::Uuid;

use super::demo_host;
use super::options::Options;
use super::seed::DEMOS;
use crate::sim::{Container, Facts, Fault, Health, Key, Script, Sim, SimHost};

/// Identifies the rows of simulated hosts.
const PREFIX: &str = "sim-";
/// The first web port of an agent on a host.
const FIRST_WEB_PORT: u16 = 20_000;
/// The first bridge port of an agent on a host.
const FIRST_BRIDGE_PORT: u16 = 18_790;

/// The row of an agent on a simulated host.
struct Agent {
    id: Uuid,
    organization: Uuid,
    user: Uuid,
    name: String,
    status: &'static str,
    node: &'static str,
    container: Option<String>,
    /// Minutes since its last heartbeat.
    silent_minutes: i32,
}

pub(super) fn is_enabled(options: &Options) -> bool {
    !options.no_sim
}

/// Whether there are hosts with troubles. In time-lapse mode an hour is too short for them: silent hosts are waited for.
fn has_troubles(options: &Options) -> bool {
    options.time_lapse.is_none()
}

/// Starts the simulated hosts and replaces their rows and their agents' rows of earlier runs. If
/// simulated hosts are disabled, only removes the rows. `key` is the file of the key that the
/// functions log in with.
pub(super) async fn start(options: &Options, key: &Path, database: &PgPool) -> Result<Option<Sim>> {
    let mut connection = database.acquire().await?;
    let mut transaction = connection.begin().await?;
    remove(&mut transaction).await?;
    let sim = if is_enabled(options) {
        let mut plan = Plan::new(&mut transaction).await?;
        let mut scripts = if has_troubles(options) {
            plan.scripts()
        } else {
            Vec::new()
        };
        scripts.push(demo_host::place_agents(&mut transaction).await?);
        let sim = Sim::start(&Key::find_or_create(key)?, scripts)?;
        for host in sim.hosts() {
            register(&mut transaction, host).await?;
        }
        for (index, agent) in plan.agents.iter().enumerate() {
            insert_agent(&mut transaction, agent, index).await?;
        }
        Some(sim)
    } else {
        None
    };
    transaction.commit().await?;
    Ok(sim)
}

/// The line about the simulated hosts that `cargo dev` prints.
pub(super) fn summary(sim: Option<&Sim>) -> Option<String> {
    let names: Vec<&str> = sim?.hosts().iter().map(SimHost::name).collect();
    let names = names.join(", ");
    Some(format!(
        "Simulated hosts (leave out with --no-sim): {names}"
    ))
}

/// The agents of the simulated hosts.
struct Plan {
    /// The organizations that own the agents, and a user of each.
    owners: Vec<(Uuid, Uuid)>,
    now: DateTime<Utc>,
    agents: Vec<Agent>,
}

impl Plan {
    async fn new(database: &mut PgConnection) -> Result<Self> {
        let now = sqlx::query_scalar("SELECT billing_clock()")
            .fetch_one(&mut *database)
            .await?;
        let keys: Vec<String> = DEMOS.iter().map(super::seed::Demo::key).collect();
        let rows = sqlx::query(
            "SELECT organization_id, user_id FROM api_keys WHERE key = ANY($1)
             ORDER BY array_position($1, key)",
        )
        .bind(keys)
        .fetch_all(database)
        .await?;
        let owners: Vec<(Uuid, Uuid)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        anyhow::ensure!(!owners.is_empty(), "there is no demo organization");
        Ok(Self {
            owners,
            now,
            agents: Vec::new(),
        })
    }

    /// Adds an agent, owned by the demo organizations in turn, and returns its container. A stopped
    /// agent's row names no container.
    fn agent(&mut self, node: &'static str, name: &str, status: &'static str) -> Container {
        let index = self.agents.len();
        let (organization, user) = self.owners[index % self.owners.len()];
        let id = id(node, name);
        let container = Container::of_agent(id, organization)
            .created_at(self.now - TimeDelta::hours(3))
            .state("running", "Up 3 hours")
            .agent(port(FIRST_WEB_PORT, index), Health::Healthy)
            .line(self.now - TimeDelta::hours(3), "agent started")
            .line(self.now - TimeDelta::minutes(1), "nothing to do");
        let has_container = status != "stopped";
        self.agents.push(Agent {
            id,
            organization,
            user,
            name: name.to_owned(),
            status,
            node,
            container: has_container.then(|| container.name.clone()),
            silent_minutes: 0,
        });
        container
    }

    /// A host without faults, on which these agents run and are healthy.
    fn healthy_host(&mut self, node: &'static str, agents: &[&str]) -> Script {
        agents.iter().fold(Script::new(node), |script, name| {
            script.with_container(self.agent(node, name, "running"))
        })
    }

    fn scripts(&mut self) -> Vec<Script> {
        let healthy = [
            "scout",
            "writer",
            "translator",
            "analyst",
            "tutor",
            "planner",
        ];
        vec![
            self.healthy_host("sim-healthy", &healthy)
                .with_container(Container::new("reverse-proxy").image("nginx:1.27")),
            self.healthy_host("sim-docker-down", &["poet", "chef"])
                .fault(Fault::DockerDown),
            self.healthy_host("sim-silent", &["sleeper", "dreamer"])
                .fault(Fault::Silent),
            self.healthy_host("sim-changed-key", &["twin", "double"])
                .fault(Fault::ChangedKey),
            self.host_with_unclaimed_containers(),
            self.healthy_host("sim-saturated", &["miner", "renderer", "compiler"])
                .facts(Facts {
                    load_hundredths: 45_100,
                    cpus: 4,
                    memory_percent: 97,
                    disk_percent: 96,
                    docker_disk_percent: None,
                    io_pressure_percent: Some(74),
                    ..Facts::default()
                }),
            self.host_with_unhealthy_agents(),
        ]
    }

    /// A host with three unclaimed containers: two that run, one of them of an agent that lives on
    /// another host, and one that has exited.
    fn host_with_unclaimed_containers(&mut self) -> Script {
        let (organization, _) = self.owners[0];
        let moved = id("sim-healthy", "scout");
        let unclaimed = |name: &str| id("nowhere", name);
        self.healthy_host("sim-ghosts", &["medium"])
            .with_container(
                Container::of_agent(unclaimed("first"), organization).state("running", "Up 9 days"),
            )
            .with_container(
                Container::of_agent(moved, organization)
                    .id(&"9".repeat(64))
                    .state("running", "Up 2 days"),
            )
            .with_container(
                Container::of_agent(unclaimed("last"), organization)
                    .state("exited", "Exited (137) 5 weeks ago"),
            )
    }

    /// A host with one agent for each problem that an agent can have alone.
    fn host_with_unhealthy_agents(&mut self) -> Script {
        const NODE: &str = "sim-troubled";
        let mut script = Script::new(NODE);
        let slow = Health::Slow(Duration::from_secs(30));
        let restarting = "Restarting (1) 4 seconds ago";
        let ended = "Exited (1) 10 minutes ago";
        for (name, state, status, health, silent_minutes) in [
            (
                "frozen",
                "paused",
                "Up 3 hours (Paused)",
                Health::Healthy,
                0,
            ),
            ("restless", "restarting", restarting, Health::Healthy, 0),
            (
                "ill",
                "running",
                "Up 3 hours (unhealthy)",
                Health::Failing,
                0,
            ),
            ("mute", "running", "Up 3 hours", Health::Refusing, 20),
            ("slow", "running", "Up 3 hours", slow, 7),
            ("over", "exited", ended, Health::Healthy, 0),
        ] {
            let mut container = self.agent(NODE, name, "running").state(state, status);
            container.agent = health;
            script = script.with_container(container);
            if let Some(agent) = self.agents.last_mut() {
                agent.silent_minutes = silent_minutes;
            }
        }
        // Missing container: the row says that the agent runs, but no host has its container.
        self.agent(NODE, "lost", "running");
        // The opposite: the row says that the agent is stopped, but its container runs. It is removed after two inspections.
        let forgotten = self.agent(NODE, "not quite stopped", "stopped");
        script.with_container(forgotten)
    }
}

fn port(first: u16, index: usize) -> u16 {
    first + u16::try_from(index).unwrap_or_default()
}

/// A stable id, so that a restart finds the agent again.
fn id(node: &str, name: &str) -> Uuid {
    let digest: [u8; 32] = Sha256::digest(format!("{node}/{name}")).into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

async fn remove(database: &mut PgConnection) -> Result<()> {
    for sql in [
        "DELETE FROM milady_sandboxes WHERE node_id LIKE $1 || '%'",
        "DELETE FROM docker_nodes WHERE node_id LIKE $1 || '%'",
    ] {
        sqlx::query(sql)
            .bind(PREFIX)
            .execute(&mut *database)
            .await?;
    }
    sqlx::query("DELETE FROM docker_nodes WHERE node_id = $1")
        .bind(demo_host::NAME)
        .execute(&mut *database)
        .await?;
    Ok(())
}

async fn register(database: &mut PgConnection, host: &SimHost) -> Result<()> {
    sqlx::query(
        "INSERT INTO docker_nodes (node_id, hostname, ssh_port, ssh_user, host_key_fingerprint,
             capacity, enabled, metadata)
         VALUES ($1, '127.0.0.1', $2, 'root', $3, 8, false, '{\"simulated\": true}')",
    )
    .bind(host.name())
    .bind(i32::from(host.port()))
    .bind(host.fingerprint())
    .execute(database)
    .await
    .with_context(|| format!("cannot register {}", host.name()))?;
    Ok(())
}

/// Leaves an existing row alone: the agent was started on another host in the meantime.
async fn insert_agent(database: &mut PgConnection, agent: &Agent, index: usize) -> Result<()> {
    sqlx::query(
        "INSERT INTO milady_sandboxes (id, organization_id, user_id, agent_name, status,
             billing_status, node_id, container_name, bridge_port, web_ui_port, docker_image,
             last_heartbeat_at, created_at, environment_vars)
         VALUES ($1, $2, $3, $4, $5, 'exempt', $6, $7, $8, $9, 'milady/agent:sample',
             billing_clock() - make_interval(mins => $10), billing_clock() - interval '3 hours',
             jsonb_build_object('MILADY_API_TOKEN', md5($4)))
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(agent.id)
    .bind(agent.organization)
    .bind(agent.user)
    .bind(&agent.name)
    .bind(agent.status)
    .bind(agent.node)
    .bind(&agent.container)
    .bind(i32::from(port(FIRST_BRIDGE_PORT, index)))
    .bind(i32::from(port(FIRST_WEB_PORT, index)))
    .bind(agent.silent_minutes)
    .execute(database)
    .await
    .with_context(|| format!("cannot insert the agent {} of {}", agent.name, agent.node))?;
    Ok(())
}
