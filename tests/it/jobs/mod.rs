//! Jobs: how they run and end (`run`, `stop`, `deactivated`, `legacy`, `limits`, `lanes`, `workers`), the events and webhooks about them
//! (`publish`, `webhook`, `webhook_faults`, `deadlines`), requests that wait for them (`waits`), what logs must not hold
//! (`secrets`), what the database holds encrypted (`encryption`), the sweep (`sweep`), the product events that it publishes
//! (`product_events`), agents that it starts again after a top-up (`automatic_resume`, `resume_limits`), and agents that it
//! moves (`moves`).

mod automatic_resume;
mod deactivated;
mod deadlines;
mod encryption;
mod lanes;
mod legacy;
mod limits;
mod moves;
mod product_events;
mod publish;
mod resume_limits;
mod run;
mod secrets;
mod stop;
mod sweep;
mod waits;
pub(crate) mod webhook;
mod webhook_faults;
mod workers;

use std::ops::Deref;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dev::events::EventBus;
use dev::runtime::{Instance, Outcome};
use dev::template::Template;
use serde_json::{Value, json};
use tests::calls::{JOB_TIMEOUT, agent_path};
use tests::suite::{Response, epoch};
use tests::{Function, World};
use tokio::sync::OnceCell;
use uuid::Uuid;

const NO_HOST: &str = "No host is registered";
const UNREACHABLE: &str = "The host cannot be reached";
const STALE: &str = "The worker stopped before the job was finished";

// What `job-run` returns for the outcomes whose words say less than their names.
/// The attempt failed, and the job waits for its next one.
const RETRIED: &str = "again";
/// The job does not exist, is not due, has ended, or has a worker.
const NOTHING_TO_DO: &str = "nothing";

/// The member of a sweep's counts that says how many due jobs were announced.
const ANNOUNCED: &str = "told";

// Locks that block a worker at a known point.
/// Before it has read anything.
const LOCK_ORGANIZATIONS: &str = "SELECT FROM organizations FOR NO KEY UPDATE";
/// Before it has changed anything.
const LOCK_AGENTS: &str = "SELECT FROM milady_sandboxes FOR NO KEY UPDATE";
/// After it has marked the agent as being started.
const LOCK_HOSTS: &str = "LOCK TABLE docker_nodes IN ACCESS EXCLUSIVE MODE";

#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
struct Job {
    status: String,
    attempts: i32,
    error: Option<String>,
    result: Option<Value>,
    steps: Option<Value>,
    agent_id: Option<Uuid>,
    scheduled_for: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
}

impl Job {
    /// Status, attempts and error.
    fn state(&self) -> (&str, i32, Option<&str>) {
        (&self.status, self.attempts, self.error.as_deref())
    }
}

async fn job(world: &World, id: Uuid) -> Job {
    sqlx::query_as(
        "SELECT status, attempts, error, result, steps, agent_id,
            scheduled_for AT TIME ZONE 'UTC' AS scheduled_for,
            completed_at AT TIME ZONE 'UTC' AS completed_at
        FROM jobs WHERE id = $1",
    )
    .bind(id)
    .fetch_one(&world.pool)
    .await
    .expect("a job")
}

/// An agent's status and its last error.
async fn agent_status(world: &World, id: Uuid) -> (String, Option<String>) {
    sqlx::query_as("SELECT status, error_message FROM milady_sandboxes WHERE id = $1")
        .bind(id)
        .fetch_one(&world.pool)
        .await
        .expect("an agent")
}

/// What [`agent_status`] returns for a failed agent.
fn in_error(text: &str) -> (String, Option<String>) {
    ("error".to_owned(), Some(text.to_owned()))
}

/// This many seconds after the start of the test's time.
fn seconds(n: i64) -> DateTime<Utc> {
    epoch() + TimeDelta::seconds(n)
}

/// The job that a 202 answer names.
fn job_id(response: &Response) -> Uuid {
    assert_eq!(response.status(), 202, "{response:?}");
    let id = response.json()["data"]["jobId"].clone();
    serde_json::from_value(id).expect("a job's id")
}

/// Requests a start. Returns its job.
async fn provision(world: &World, key: &str, agent: Uuid) -> Uuid {
    job_id(&world.post(key, &agent_path(agent, "/provision")).await)
}

/// An organization with credit, its owner's key, and an agent that was never started.
async fn tenant_with_agent(world: &World) -> (Uuid, String, Uuid) {
    let (organization, key) = world.tenant("10").await;
    let agent = world.agent(organization, "pending").await;
    (organization, key, agent)
}

/// Registers a host that cannot be reached: nothing listens on its port.
async fn register_unreachable_host(world: &World) {
    world
        .execute(
            "INSERT INTO docker_nodes (node_id, hostname, ssh_port) VALUES ('n1', '127.0.0.1', 9)",
        )
        .await;
}

/// Records in the agent's row that its container is on that host.
async fn record_container(world: &World, id: Uuid) {
    let columns = "node_id = 'n1', container_name = 'milady-' || id";
    world.set_columns(id, columns).await;
}

async fn set_balance(world: &World, organization: Uuid, balance: &str) {
    sqlx::query("UPDATE organizations SET credit_balance = $2::text::numeric WHERE id = $1")
        .bind(organization)
        .bind(balance)
        .execute(&world.pool)
        .await
        .expect("a balance");
}

fn due_event(job: Uuid) -> Value {
    json!({"detail-type": "job.due", "detail": {"jobId": job}})
}

/// Runs a job on this worker. Returns the outcome in one word.
async fn run_job_on(instance: &Instance, job: Uuid) -> String {
    match instance.invoke(due_event(job), JOB_TIMEOUT).await {
        Outcome::Success(answer) => answer["outcome"].as_str().expect("a word").to_owned(),
        other => panic!("job-run failed: {other:?} {:#?}", instance.logs()),
    }
}

/// Runs a job on the world's warm worker. Returns the outcome in one word.
async fn run_job(world: &World, job: Uuid) -> String {
    let worker = world.instance("job-run").await;
    run_job_on(&worker, job).await
}

/// Runs a job on a new worker that is blocked by `lock`. Awaits `meanwhile`, then releases the lock. Returns the
/// outcome in one word.
fn run_blocked_job<'a>(
    world: &'a World,
    job: Uuid,
    lock: &'static str,
    meanwhile: impl Future<Output = ()> + 'a,
) -> impl Future<Output = String> + 'a {
    let meanwhile = Box::pin(meanwhile);
    async move {
        let instance = world.function("job-run").start().await;
        let mut holder = world.pool.begin().await.expect("begin");
        sqlx::query(lock).execute(&mut *holder).await.expect(lock);
        let (outcome, ()) = tokio::join!(run_job_on(&instance, job), async {
            world.wait_until_a_session_is_blocked().await;
            meanwhile.await;
            holder.rollback().await.expect("rollback");
        });
        outcome
    }
}

/// Kills a worker while it is blocked by `lock`.
async fn kill_worker_at(world: &World, job: Uuid, lock: &'static str) {
    let instance = world.function("job-run").start().await;
    let mut holder = world.pool.begin().await.expect("begin");
    sqlx::query(lock).execute(&mut *holder).await.expect(lock);
    let (outcome, ()) = tokio::join!(instance.invoke(due_event(job), JOB_TIMEOUT), async {
        world.wait_until_a_session_is_blocked().await;
        instance.kill().await;
    });
    assert!(matches!(outcome, Outcome::Crashed { .. }), "{outcome:?}");
    holder.rollback().await.expect("rollback");
}

/// The stand-in for `EventBridge` with the rules of the template, and a warm sweep that publishes to it.
struct Bus {
    events: EventBus,
    sweeper: OnceCell<Instance>,
}

impl Deref for Bus {
    type Target = EventBus;

    fn deref(&self) -> &EventBus {
        &self.events
    }
}

async fn start_bus() -> Bus {
    let template = Template::load().expect("template.yaml");
    Bus {
        events: EventBus::start(&template).await.expect("an event bus"),
        sweeper: OnceCell::new(),
    }
}

/// A function that publishes to the bus.
fn publishing_function(world: &World, name: &str, bus: &EventBus) -> Function {
    let address = bus.address();
    world
        .function(name)
        .with("AWS_ENDPOINT_URL_EVENTBRIDGE", &address)
}

/// Runs one sweep. A bus serves only one world.
async fn try_sweep(world: &World, bus: &Bus) -> Outcome {
    let start = async || publishing_function(world, "job-sweep", bus).start().await;
    let sweeper = bus.sweeper.get_or_init(start).await;
    sweeper.invoke(json!({}), Duration::from_mins(1)).await
}

/// Runs one sweep. Returns its counts.
async fn sweep(world: &World, bus: &Bus) -> Value {
    match try_sweep(world, bus).await {
        Outcome::Success(counts) => counts,
        other => panic!("job-sweep failed: {other:?}"),
    }
}

/// The jobs of the `job.due` events that the bus received, in order.
fn announced_jobs(bus: &EventBus) -> Vec<Uuid> {
    let due = bus
        .received()
        .into_iter()
        .filter(|event| event["detail-type"] == "job.due");
    due.map(|event| serde_json::from_value(event["detail"]["jobId"].clone()).expect("an id"))
        .collect()
}
