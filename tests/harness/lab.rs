//! A test world with real hosts: SSH servers, Docker Engines, and agents that run on them.

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

/// Whether this machine has what a test needs; prints the reason if not. Panics if it has not and
/// `REQUIRE_HOSTS` is set.
#[must_use]
pub fn can_run(availability: &Result<(), String>) -> bool {
    if let Err(reason) = availability {
        let required = std::env::var_os("REQUIRE_HOSTS").is_some_and(|value| !value.is_empty());
        assert!(!required, "{reason}");
        // Not eprintln!, whose output the test runner shows for failed tests only.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
    }
    availability.is_ok()
}

/// A world with the hosts `n1`, `n2`, ... and an organization with credit. As long as no host was inspected, agents are
/// placed on `n1`: it is the only one that is known to be healthy.
#[derive(Debug)]
pub struct Lab {
    pub world: World,
    pub hosts: Vec<Host>,
    /// The owner of the agents.
    pub organization: Uuid,
    /// An API key of the organization's owner.
    pub api_key: String,
    /// Receives events and runs jobs, in a live lab.
    bus: Option<EventBus>,
    ssh_key_dir: PathBuf,
    now: std::sync::Mutex<DateTime<Utc>>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.ssh_key_dir);
    }
}

impl Lab {
    /// A lab with this many hosts, in which jobs run only when the test runs them. `None` if this
    /// machine cannot run hosts.
    pub async fn new(host_count: usize) -> Option<Self> {
        if can_run(&Host::availability()) {
            Self::on(World::new().await, host_count).await
        } else {
            None
        }
    }

    /// The same in an existing world, whose clock need not stand still.
    pub async fn on(mut world: World, host_count: usize) -> Option<Self> {
        if !can_run(&Host::availability()) {
            return None;
        }
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let target = dev::build::target_directory().expect("cargo metadata");
        let ssh_key_dir = target.join("test-keys").join(&name);
        std::fs::create_dir_all(&ssh_key_dir).expect("a directory");
        let mut hosts = Vec::new();
        for n in 1..=host_count {
            let host = start_host(&format!("lab{number}n{n}"), &ssh_key_dir).await;
            insert_node(&world, &format!("n{n}"), &host).await;
            hosts.push(host);
        }
        let admin = suite::server().await.url("postgres");
        let ssh_key_path = hosts[0].sshd.private_key_path();
        for (setting, value) in [
            (
                "MILADY_SSH_KEY_PATH",
                ssh_key_path.to_str().expect("a path"),
            ),
            ("ALLOW_PRIVATE_NODES", "true"),
            ("DEFAULT_AGENT_IMAGE", image::SAMPLE),
            ("AGENT_IMAGE_ALLOW", "milady/"),
            ("AGENT_DATABASE_ADMIN_URL", &admin),
            ("AGENT_HEALTH_SECONDS", "4"),
        ] {
            world.settings.insert(setting.to_owned(), value.to_owned());
        }
        let (organization, api_key) = world.tenant("1000").await;
        Some(Self {
            world,
            hosts,
            organization,
            api_key,
            bus: None,
            ssh_key_dir,
            now: std::sync::Mutex::new(suite::epoch()),
        })
    }

    /// Lets agents run the images of this registry, and no others besides the default one.
    pub fn allow_images(&mut self, registry: &str) {
        let setting = "AGENT_IMAGE_ALLOW".to_owned();
        self.world.settings.insert(setting, format!("{registry}/"));
    }

    /// A lab with an event bus, on which jobs run as soon as they are due.
    pub async fn live(host_count: usize) -> Option<Self> {
        let mut lab = Self::new(host_count).await?;
        let template = Template::load().expect("template.yaml");
        let bus = EventBus::start(&template).await.expect("a bus");
        let endpoint = bus.address();
        lab.world
            .settings
            .insert("AWS_ENDPOINT_URL_EVENTBRIDGE".to_owned(), endpoint);
        let api = RuntimeApi::start().await.expect("the runtime API");
        let worker = lab.world.function("job-run").to_runtime_function();
        bus.deliver_to(Pool::new(api, vec![worker]));
        lab.bus = Some(bus);
        Some(lab)
    }

    /// Creates an agent from these fields and a default name.
    pub async fn agent(&self, fields: Value) -> Uuid {
        let mut body = json!({"agentName": "agent"});
        for (name, value) in fields.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let created = self
            .world
            .post_json(&self.api_key, "/api/v1/milady/agents", &body)
            .await;
        assert_eq!(created.status(), 201, "{created:?}");
        let id = &created.json()["data"]["id"];
        serde_json::from_value(id.clone()).expect("an id")
    }

    /// Creates and starts an agent.
    pub async fn running_agent(&self, fields: Value) -> Uuid {
        let agent = self.agent(fields).await;
        self.start(agent).await;
        agent
    }

    /// Creates and starts an agent in a live lab.
    pub async fn running_agent_live(&self, fields: Value) -> Uuid {
        let agent = self.agent(fields).await;
        let path = agent_path(agent, "/provision?sync=true");
        let started = self.world.post(&self.api_key, &path).await;
        assert_eq!(started.status(), 200, "{started:?}");
        agent
    }

    /// Starts an agent and panics if the start fails.
    pub async fn start(&self, agent: Uuid) {
        let (_, outcome) = self.try_start(agent).await;
        let job = self.last_job(agent).await;
        assert_eq!(outcome, "completed", "{job}");
    }

    /// Requests a start and runs its job once. Returns the job and its outcome.
    pub async fn try_start(&self, agent: Uuid) -> (Uuid, String) {
        self.request_and_run(agent, "/provision").await
    }

    /// Requests an operation and runs its job once. Returns the job and its outcome.
    pub async fn request_and_run(&self, agent: Uuid, operation: &str) -> (Uuid, String) {
        let answer = self
            .world
            .post(&self.api_key, &agent_path(agent, operation))
            .await;
        let job = job_of(&answer);
        (job, self.run(job).await)
    }

    /// Runs a job once and returns its outcome.
    pub async fn run(&self, job: Uuid) -> String {
        let answer = self.world.run_job(job).await;
        answer["outcome"].as_str().expect("an outcome").to_owned()
    }

    /// Requests a deletion, runs its job once if there is one, and returns the outcome.
    pub async fn delete(&self, agent: Uuid) -> String {
        let request = Request::new("DELETE", &agent_path(agent, "")).key(&self.api_key);
        let answer = self.world.call(request).await;
        if answer.status() == 200 {
            return "completed".to_owned();
        }
        self.run(job_of(&answer)).await
    }

    pub async fn advance_clock(&self, duration: TimeDelta) {
        let now = {
            let mut now = self.now.lock().expect("the clock");
            *now += duration;
            *now
        };
        self.world.set_clock(now).await;
    }

    /// Runs the sweep. It may end with an error about events that it could not publish, because a
    /// lab that is not live has no event bus.
    pub async fn sweep(&self) {
        let instance = self.world.instance("job-sweep").await;
        let outcome = instance.invoke(json!({}), Duration::from_mins(1)).await;
        match outcome {
            Outcome::Success(_) => {}
            Outcome::FunctionError { message, .. } if message.contains("not accepted") => {}
            other => panic!("{other:?}"),
        }
    }

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

    /// Sends a JSON-RPC request to a running agent through the bridge route and returns the result.
    pub async fn bridge_result(&self, agent: Uuid, method: &str, params: Value) -> Value {
        let response = self.bridge(agent, method, params).await;
        assert_eq!(response.status(), 200, "{response:?}");
        let reply = response.json();
        assert!(reply["error"].is_null(), "{reply}");
        reply["result"].clone()
    }

    /// Sends a JSON-RPC request to a running agent through the bridge route.
    pub async fn bridge(&self, agent: Uuid, method: &str, params: Value) -> Response {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let path = agent_path(agent, "/bridge");
        self.world.post_json(&self.api_key, &path, &message).await
    }

    /// The number of the agent's containers on each host.
    pub async fn containers(&self, agent: Uuid) -> Vec<usize> {
        let name = format!("milady-{agent}");
        let mut counts = Vec::new();
        for host in &self.hosts {
            let all = host.engine.containers().await.expect("containers");
            counts.push(
                all.iter()
                    .filter(|container| container.name == name)
                    .count(),
            );
        }
        counts
    }

    /// The number of the agent's volumes on each host.
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

    /// The number of allocated slots of each host.
    pub async fn slots(&self) -> Vec<i32> {
        sqlx::query_scalar("SELECT allocated_count FROM docker_nodes ORDER BY node_id")
            .fetch_all(&self.world.pool)
            .await
            .expect("slots")
    }

    /// The placement columns of an agent's row: status, node, container, ports, error.
    pub async fn placement(&self, agent: Uuid) -> Value {
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

    /// Whether the agent has a database or a database role.
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

    /// Panics if a host has a container of the agent or a slot is allocated.
    pub async fn assert_nothing_runs(&self, agent: Uuid, context: &str) {
        let none = vec![0; self.hosts.len()];
        assert_eq!(self.containers(agent).await, none, "{context}");
        assert_eq!(self.slots().await, vec![0; self.hosts.len()], "{context}");
        let place = self.placement(agent).await;
        assert_eq!(
            (&place["container"], &place["ports"]),
            (&Value::Null, &json!([null, null])),
            "{context}"
        );
    }

    /// Panics if anything of the agent is left.
    pub async fn assert_gone(&self, agent: Uuid, context: &str) {
        let none = vec![0; self.hosts.len()];
        assert!(!self.world.agent_exists(agent).await, "{context}");
        assert_eq!(self.containers(agent).await, none, "{context}");
        assert_eq!(self.volumes(agent).await, none, "{context}");
        assert_eq!(self.slots().await, vec![0; self.hosts.len()], "{context}");
        assert!(!self.has_database(agent).await, "{context}");
    }
}

/// The job of a 202 answer.
#[must_use]
pub fn job_of(answer: &Response) -> Uuid {
    assert_eq!(answer.status(), 202, "{answer:?}");
    let id = answer.json()["data"]["jobId"].clone();
    serde_json::from_value(id).expect("a job's id")
}

async fn start_host(name: &str, ssh_key_dir: &std::path::Path) -> Host {
    let options = Options {
        keys: Some(ssh_key_dir.to_owned()),
        ..Options::default()
    };
    let sshd = Sshd::start(&options).await.expect("an SSH server");
    // Other tests keep the machine busy, and placement would avoid the host.
    sshd.simulate_load(0).expect("a simulated load");
    let engine = Engine::start(name).await.expect("an engine");
    image::import(&engine).await.expect("the sample agent");
    Host { sshd, engine }
}

async fn insert_node(world: &World, node_id: &str, host: &Host) {
    let metadata = json!({"dockerSocket": host.engine.socket(), "publishAddress": "127.0.0.1"});
    sqlx::query(
        "INSERT INTO docker_nodes (node_id, hostname, ssh_port, ssh_user, host_key_fingerprint,
            metadata, status)
        VALUES ($1, '127.0.0.1', $2, $3, $4, $5, CASE $1 WHEN 'n1' THEN 'healthy' ELSE 'unknown' END)",
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
