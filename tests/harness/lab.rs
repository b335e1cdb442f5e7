//! A world with real hosts: SSH servers and Docker Engines of the test's own, and agents that run on
//! them.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dev::events::EventBus;
use dev::host::{Engine, Host, Options, Sshd, image};
use dev::runtime::{Outcome, Pool, RuntimeApi};
use dev::template::Template;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::calls::agent_path;
use crate::suite::{self, Request, Response};
use crate::world::World;

static LABS: AtomicU32 = AtomicU32::new(0);

/// Whether this machine can do what a test needs; says why not. Where it must, it is an error that it
/// cannot.
///
/// # Panics
/// Where `REQUIRE_HOSTS` is set.
#[must_use]
pub fn can(what: &Result<(), String>) -> bool {
    if let Err(reason) = what {
        let required = std::env::var_os("REQUIRE_HOSTS").is_some_and(|value| !value.is_empty());
        assert!(!required, "{reason}");
        // Not by the macro, whose output is shown of failed tests only.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
    }
    what.is_ok()
}

/// A world, its hosts `n1`, `n2`, ..., and an organization with credit.
#[derive(Debug)]
pub struct Lab {
    /// The world.
    pub world: World,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// Who owns the agents.
    pub organization: Uuid,
    /// The owner's key.
    pub key: String,
    /// Takes events and runs jobs, where the lab is live.
    bus: Option<EventBus>,
    keys: PathBuf,
    now: std::sync::Mutex<DateTime<Utc>>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.keys);
    }
}

impl Lab {
    /// A lab with so many hosts, whose jobs run when the test says so. None where there can be no hosts.
    pub async fn new(hosts: usize) -> Option<Self> {
        if !can(&Host::availability()) {
            return None;
        }
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let keys = dev::build::target_directory().expect("cargo metadata");
        let keys = keys.join("test-keys").join(&name);
        std::fs::create_dir_all(&keys).expect("a directory");
        let mut world = World::new().await;
        let mut started = Vec::new();
        for n in 1..=hosts {
            let host = host(&format!("lab{number}n{n}"), &keys).await;
            node(&world, &format!("n{n}"), &host).await;
            started.push(host);
        }
        let admin = suite::server().await.url("postgres");
        let key = started[0].sshd.private_key_path();
        for (setting, value) in [
            ("MILADY_SSH_KEY_PATH", key.to_str().expect("a path")),
            ("ALLOW_PRIVATE_NODES", "true"),
            ("DEFAULT_AGENT_IMAGE", image::SAMPLE),
            ("AGENT_IMAGE_ALLOW", "milady/,127.0.0.1:"),
            ("AGENT_DATABASE_ADMIN_URL", &admin),
            ("AGENT_HEALTH_SECONDS", "4"),
        ] {
            world.settings.insert(setting.to_owned(), value.to_owned());
        }
        let (organization, key) = world.tenant("1000").await;
        Some(Self {
            world,
            hosts: started,
            organization,
            key,
            bus: None,
            keys,
            now: std::sync::Mutex::new(suite::epoch()),
        })
    }

    /// The same where requests are heard: whatever is told to be due is run.
    pub async fn live(hosts: usize) -> Option<Self> {
        let mut lab = Self::new(hosts).await?;
        let template = Template::load().expect("template.yaml");
        let bus = EventBus::start(&template).await.expect("a bus");
        let endpoint = bus.address();
        lab.world
            .settings
            .insert("AWS_ENDPOINT_URL_EVENTBRIDGE".to_owned(), endpoint);
        let api = RuntimeApi::start().await.expect("the runtime API");
        let worker = lab.world.function("job-run").local();
        bus.deliver_to(Pool::new(api, vec![worker]));
        lab.bus = Some(bus);
        Some(lab)
    }

    /// An agent with these fields beside its name.
    pub async fn agent(&self, fields: Value) -> Uuid {
        let mut body = json!({"agentName": "agent"});
        for (name, value) in fields.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let created = self
            .world
            .post_json(&self.key, "/api/v1/milady/agents", &body)
            .await;
        assert_eq!(created.status(), 201, "{created:?}");
        let id = &created.json()["data"]["id"];
        serde_json::from_value(id.clone()).expect("an id")
    }

    /// An agent that runs.
    pub async fn running(&self, fields: Value) -> Uuid {
        let agent = self.agent(fields).await;
        self.start(agent).await;
        agent
    }

    /// The same in a live lab.
    pub async fn running_live(&self, fields: Value) -> Uuid {
        let agent = self.agent(fields).await;
        let path = agent_path(agent, "/provision?sync=true");
        let started = self.world.post(&self.key, &path).await;
        assert_eq!(started.status(), 200, "{started:?}");
        agent
    }

    /// Starts an agent, which must work.
    pub async fn start(&self, agent: Uuid) {
        let (_, outcome) = self.try_start(agent).await;
        let job = self.last_job(agent).await;
        assert_eq!(outcome, "completed", "{job}");
    }

    /// Asks for a start and runs its job once: the job, and how that ended.
    pub async fn try_start(&self, agent: Uuid) -> (Uuid, String) {
        self.ask_and_run(agent, "/provision").await
    }

    /// Asks for something that a job does, and runs that job once: the job, and how it ended.
    pub async fn ask_and_run(&self, agent: Uuid, what: &str) -> (Uuid, String) {
        let answer = self.world.post(&self.key, &agent_path(agent, what)).await;
        let job = job_of(&answer);
        (job, self.run(job).await)
    }

    /// Runs a job once.
    pub async fn run(&self, job: Uuid) -> String {
        let answer = self.world.run_job(job).await;
        answer["outcome"].as_str().expect("an outcome").to_owned()
    }

    /// Asks for a deletion and runs its job once.
    pub async fn delete(&self, agent: Uuid) -> String {
        let request = Request::new("DELETE", &agent_path(agent, "")).key(&self.key);
        let answer = self.world.call(request).await;
        if answer.status() == 200 {
            return "completed".to_owned();
        }
        self.run(job_of(&answer)).await
    }

    /// Time passes.
    pub async fn later(&self, time: TimeDelta) {
        let now = {
            let mut now = self.now.lock().expect("the clock");
            *now += time;
            *now
        };
        self.world.at(now).await;
    }

    /// The sweep; what it cannot tell of, because nobody listens, is an error that it ends with.
    pub async fn sweep(&self) {
        let outcome = self.world.instance("job-sweep").await;
        let outcome = outcome.invoke(json!({}), Duration::from_mins(1)).await;
        match outcome {
            Outcome::Success(_) => {}
            Outcome::FunctionError { message, .. } if message.contains("not taken") => {}
            other => panic!("{other:?}"),
        }
    }

    /// The newest job of an agent.
    pub async fn last_job(&self, agent: Uuid) -> Value {
        sqlx::query_scalar(
            "SELECT jsonb_build_object('id', id, 'type', type, 'status', status, 'error', error,
                'attempts', attempts, 'result', result, 'steps', steps)
            FROM jobs WHERE agent_id = $1 ORDER BY created_at DESC, updated_at DESC LIMIT 1",
        )
        .bind(agent)
        .fetch_one(&self.world.pool)
        .await
        .expect("a job")
    }

    /// Asks a running agent through the bridge's route; its result.
    pub async fn ask(&self, agent: Uuid, method: &str, params: Value) -> Value {
        let answer = self.bridge(agent, method, params).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let said = answer.json();
        assert!(said["error"].is_null(), "{said}");
        said["result"].clone()
    }

    /// Asks a running agent through the bridge's route.
    pub async fn bridge(&self, agent: Uuid, method: &str, params: Value) -> Response {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let path = agent_path(agent, "/bridge");
        self.world.post_json(&self.key, &path, &message).await
    }

    /// How many containers of an agent each host has.
    pub async fn containers(&self, agent: Uuid) -> Vec<usize> {
        let name = format!("milady-{agent}");
        let mut counts = Vec::new();
        for host in &self.hosts {
            let all = host.engine.containers().await.expect("containers");
            counts.push(all.iter().filter(|found| found.name == name).count());
        }
        counts
    }

    /// How many volumes of an agent each host has.
    pub async fn volumes(&self, agent: Uuid) -> Vec<usize> {
        let name = format!("milady-{agent}");
        let mut counts = Vec::new();
        for host in &self.hosts {
            let all = host.engine.call("GET", "/volumes", None).await;
            let all = all.expect("volumes");
            let all = all["Volumes"].as_array().cloned().unwrap_or_default();
            counts.push(
                all.iter()
                    .filter(|volume| volume["Name"] == json!(name))
                    .count(),
            );
        }
        counts
    }

    /// How many slots of each host are taken.
    pub async fn slots(&self) -> Vec<i32> {
        sqlx::query_scalar("SELECT allocated_count FROM docker_nodes ORDER BY node_id")
            .fetch_all(&self.world.pool)
            .await
            .expect("slots")
    }

    /// What an agent's row says of its place: status, node, container, ports.
    pub async fn place(&self, agent: Uuid) -> Value {
        sqlx::query_scalar(
            "SELECT jsonb_build_object('status', status, 'node', node_id, 'container',
                container_name, 'ports', jsonb_build_array(bridge_port, web_ui_port),
                'error', error_message)
            FROM milady_sandboxes WHERE id = $1",
        )
        .bind(agent)
        .fetch_one(&self.world.pool)
        .await
        .expect("an agent")
    }

    /// Whether the agent has a role or a database of its own.
    pub async fn has_database(&self, agent: Uuid) -> bool {
        let name = format!("agent_{}", agent.simple());
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)
                OR EXISTS (SELECT FROM pg_roles WHERE rolname = $1)",
        )
        .bind(name)
        .fetch_one(&self.world.pool)
        .await
        .expect("an answer")
    }

    /// Nothing of the agent is left on any host, and no slot is taken for it.
    pub async fn assert_nothing_runs(&self, agent: Uuid, when: &str) {
        let none = vec![0; self.hosts.len()];
        assert_eq!(self.containers(agent).await, none, "{when}");
        assert_eq!(self.slots().await, vec![0; self.hosts.len()], "{when}");
        let place = self.place(agent).await;
        assert_eq!(
            (&place["container"], &place["ports"]),
            (&Value::Null, &json!([null, null])),
            "{when}"
        );
    }

    /// Nothing of the agent is left anywhere.
    pub async fn assert_gone(&self, agent: Uuid, when: &str) {
        let none = vec![0; self.hosts.len()];
        assert!(!self.world.exists(agent).await, "{when}");
        assert_eq!(self.containers(agent).await, none, "{when}");
        assert_eq!(self.volumes(agent).await, none, "{when}");
        assert_eq!(self.slots().await, vec![0; self.hosts.len()], "{when}");
        assert!(!self.has_database(agent).await, "{when}");
    }
}

/// The job that an answer names.
///
/// # Panics
/// When it names none.
#[must_use]
pub fn job_of(answer: &Response) -> Uuid {
    assert_eq!(answer.status(), 202, "{answer:?}");
    let id = answer.json()["data"]["jobId"].clone();
    serde_json::from_value(id).expect("a job's id")
}

async fn host(name: &str, keys: &std::path::Path) -> Host {
    let options = Options {
        keys: Some(keys.to_owned()),
        ..Options::default()
    };
    let sshd = Sshd::start(&options).await.expect("an SSH server");
    // Other tests keep the machine busy.
    sshd.pretend_load(0).expect("a calm host");
    let engine = Engine::start(name).await.expect("an engine");
    image::import(&engine).await.expect("the sample agent");
    Host { sshd, engine }
}

async fn node(world: &World, node_id: &str, host: &Host) {
    let metadata = json!({"dockerSocket": host.engine.socket(), "publishAddress": "127.0.0.1"});
    sqlx::query(
        "INSERT INTO docker_nodes (node_id, hostname, ssh_port, ssh_user, host_key_fingerprint,
            metadata, status)
        VALUES ($1, '127.0.0.1', $2, $3, $4, $5, 'healthy')",
    )
    .bind(node_id)
    .bind(i32::from(host.sshd.port()))
    .bind(host.sshd.user())
    .bind(host.sshd.fingerprint())
    .bind(metadata)
    .execute(&world.pool)
    .await
    .expect("a node");
}
