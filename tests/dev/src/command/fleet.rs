//! The rest of `cargo dev`'s fleet: simulated hosts, one for each kind of trouble, so that everything an
//! operator may have to see is there to be seen.
//!
//! Owns the hosts, the rows that stand for them, and their agents' rows. They are disabled, as an operator
//! disables a host that shall be emptied: no agent is ever placed there, and whoever is there is looked
//! after. Capacities that are used up would do as little only until the first slot is freed, and would
//! show every host as full. Nothing is charged for their agents, which do not run.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection, PgPool, Row};
use uuid::Uuid;

use super::options::Options;
use super::seed::DEMOS;
use crate::sim::{Container, Facts, Fault, Health, Key, Script, Sim, SimHost};

/// By this the rows are known.
const PREFIX: &str = "sim-";
/// The first port of a host that leads to an agent's pages.
const WEB: u16 = 20_000;
/// The first port of a host that leads to an agent's bridge.
const BRIDGE: u16 = 18_790;

/// An agent that is said to be on a simulated host.
struct Agent {
    id: Uuid,
    organization: Uuid,
    user: Uuid,
    name: String,
    status: &'static str,
    node: &'static str,
    container: Option<String>,
    /// How long ago it was heard of last, in minutes.
    silent: i32,
}

/// Whether there shall be simulated hosts.
pub(super) fn is_wanted(options: &Options) -> bool {
    // Simulated hours are too short for agents to be heard of.
    !options.no_sim && options.time_lapse.is_none()
}

/// Starts the simulated hosts and writes them and their agents down anew, whatever became of those of
/// earlier runs; where none are wanted, these are only removed. `key`: the file of the key that functions
/// log in with.
pub(super) async fn start(options: &Options, key: &Path, database: &PgPool) -> Result<Option<Sim>> {
    let mut connection = database.acquire().await?;
    let mut transaction = connection.begin().await?;
    remove(&mut transaction).await?;
    let sim = if is_wanted(options) {
        let mut plan = Plan::new(&mut transaction).await?;
        let scripts = plan.scripts();
        let sim = Sim::start(&Key::find_or_make(key)?, scripts)?;
        for host in sim.hosts() {
            register(&mut transaction, host).await?;
        }
        for (number, agent) in plan.agents.iter().enumerate() {
            write(&mut transaction, agent, number).await?;
        }
        Some(sim)
    } else {
        None
    };
    transaction.commit().await?;
    Ok(sim)
}

/// One line for people.
pub(super) fn line(sim: Option<&Sim>) -> Option<String> {
    let names: Vec<&str> = sim?.hosts().iter().map(SimHost::name).collect();
    let names = names.join(", ");
    Some(format!("Simulated hosts beside it (--no-sim): {names}"))
}

/// Who is where.
struct Plan {
    /// The organizations that have agents there, and their users.
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

    /// An agent of either organization in turn, and the container it has if it has one.
    fn agent(&mut self, node: &'static str, name: &str, status: &'static str) -> Container {
        let number = self.agents.len();
        let (organization, user) = self.owners[number % self.owners.len()];
        let id = id(node, name);
        let container = Container::of(id, organization)
            .created_at(self.now - TimeDelta::hours(3))
            .state("running", "Up 3 hours")
            .agent(port(WEB, number), Health::Well)
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
            silent: 0,
        });
        container
    }

    /// A host on which these agents run and are well.
    fn calm(&mut self, node: &'static str, agents: &[&str]) -> Script {
        agents.iter().fold(Script::new(node), |script, name| {
            script.with(self.agent(node, name, "running"))
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
            self.calm("sim-healthy", &healthy)
                .with(Container::new("reverse-proxy").image("nginx:1.27")),
            self.calm("sim-docker-down", &["poet", "chef"])
                .fault(Fault::DockerDown),
            self.calm("sim-silent", &["sleeper", "dreamer"])
                .fault(Fault::Silent),
            self.calm("sim-changed-key", &["twin", "double"])
                .fault(Fault::ChangedKey),
            self.ghosts(),
            self.calm("sim-saturated", &["miner", "renderer", "compiler"])
                .facts(Facts {
                    load_hundredths: 45_100,
                    cpus: 4,
                    memory_percent: 97,
                    disk_percent: 96,
                    io_pressure_percent: Some(74),
                }),
            self.troubled(),
        ]
    }

    /// Containers that no row claims: two that run, one of them of an agent that lives elsewhere, and one
    /// that has ended.
    fn ghosts(&mut self) -> Script {
        let (organization, _) = self.owners[0];
        let moved = id("sim-healthy", "scout");
        let ghost = |name: &str| id("nowhere", name);
        self.calm("sim-ghosts", &["medium"])
            .with(Container::of(ghost("first"), organization).state("running", "Up 9 days"))
            .with(
                Container::of(moved, organization)
                    .id(&"9".repeat(64))
                    .state("running", "Up 2 days"),
            )
            .with(
                Container::of(ghost("last"), organization)
                    .state("exited", "Exited (137) 5 weeks ago"),
            )
    }

    /// An agent for everything that may be wrong with one alone.
    fn troubled(&mut self) -> Script {
        const NODE: &str = "sim-troubled";
        let mut script = Script::new(NODE);
        let slow = Health::Slow(Duration::from_secs(30));
        let restarting = "Restarting (1) 4 seconds ago";
        let ended = "Exited (1) 10 minutes ago";
        for (name, state, status, health, silent) in [
            ("frozen", "paused", "Up 3 hours (Paused)", Health::Well, 0),
            ("restless", "restarting", restarting, Health::Well, 0),
            (
                "ill",
                "running",
                "Up 3 hours (unhealthy)",
                Health::Failing,
                0,
            ),
            ("mute", "running", "Up 3 hours", Health::Refusing, 20),
            ("slow", "running", "Up 3 hours", slow, 7),
            ("over", "exited", ended, Health::Well, 0),
        ] {
            let mut container = self.agent(NODE, name, "running").state(state, status);
            container.agent = health;
            script = script.with(container);
            if let Some(agent) = self.agents.last_mut() {
                agent.silent = silent;
            }
        }
        // Its row says that it runs, and nobody has its container.
        self.agent(NODE, "lost", "running");
        // And the other way about.
        let forgotten = self.agent(NODE, "not quite stopped", "stopped");
        script.with(forgotten)
    }
}

fn port(first: u16, number: usize) -> u16 {
    first + u16::try_from(number).unwrap_or_default()
}

/// Always the same one, so that a restart finds the agent again.
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

/// One that was started elsewhere meanwhile is left alone.
async fn write(database: &mut PgConnection, agent: &Agent, number: usize) -> Result<()> {
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
    .bind(i32::from(port(BRIDGE, number)))
    .bind(i32::from(port(WEB, number)))
    .bind(agent.silent)
    .execute(database)
    .await
    .with_context(|| format!("cannot write the agent {} of {}", agent.name, agent.node))?;
    Ok(())
}
