//! Jobs: who runs them and how they end (`run`, `stop`, `legacy`, `workers`), what is told of them
//! (`publish`, `webhook`, `webhook_faults`, `deadlines`), who waits for them (`waits`), what must not be
//! told (`secrets`), and who takes care of what was left lying about (`sweep`).

mod deadlines;
mod legacy;
mod publish;
mod run;
mod secrets;
mod stop;
mod sweep;
mod waits;
mod webhook;
mod webhook_faults;
mod workers;

use std::ops::Deref;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dev::events::EventBus;
use dev::runtime::{Instance, Outcome};
use dev::template::Template;
use serde_json::{Value, json};
use tests::calls::agent_path;
use tests::suite::{Response, epoch};
use tests::{Function, World};
use tokio::sync::OnceCell;
use uuid::Uuid;

const NO_HOST: &str = "No host is registered";
const UNREACHABLE: &str = "The host cannot be reached";
const STALE: &str = "The worker stopped before the job was finished";

/// Locks that stop a worker on its way: before it has looked at anything, before it has done anything,
/// and once it has begun.
const ORGANIZATIONS: &str = "SELECT FROM organizations FOR NO KEY UPDATE";
const AGENTS: &str = "SELECT FROM milady_sandboxes FOR NO KEY UPDATE";
const HOSTS: &str = "LOCK TABLE docker_nodes IN ACCESS EXCLUSIVE MODE";

/// A job's row.
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

/// An agent's status and what is said of its last failure.
async fn agent(world: &World, id: Uuid) -> (String, Option<String>) {
    sqlx::query_as("SELECT status, error_message FROM milady_sandboxes WHERE id = $1")
        .bind(id)
        .fetch_one(&world.pool)
        .await
        .expect("an agent")
}

fn in_error(text: &str) -> (String, Option<String>) {
    ("error".to_owned(), Some(text.to_owned()))
}

/// An instant so many seconds after the start of the test's time.
fn seconds(n: i64) -> DateTime<Utc> {
    epoch() + TimeDelta::seconds(n)
}

/// The job that an answer names.
fn job_id(answer: &Response) -> Uuid {
    assert_eq!(answer.status(), 202, "{answer:?}");
    let id = answer.json()["data"]["jobId"].clone();
    serde_json::from_value(id).expect("a job's id")
}

/// Asks for a start; its job.
async fn provision(world: &World, key: &str, agent: Uuid) -> Uuid {
    job_id(&world.post(key, &agent_path(agent, "/provision")).await)
}

/// An organization with credit, its owner's key, and an agent that was never started.
async fn fresh(world: &World) -> (Uuid, String, Uuid) {
    let (organization, key) = world.tenant("10").await;
    let agent = world.agent(organization, "pending").await;
    (organization, key, agent)
}

/// Registers a host at which nobody listens.
async fn register_host(world: &World) {
    world
        .execute(
            "INSERT INTO docker_nodes (node_id, hostname, ssh_port) VALUES ('n1', '127.0.0.1', 9)",
        )
        .await;
}

/// Has the agent's row say that its container is on that host.
async fn place(world: &World, id: Uuid) {
    let columns = "node_id = 'n1', container_name = 'milady-' || id";
    world.set(id, columns).await;
}

async fn set_balance(world: &World, organization: Uuid, balance: &str) {
    sqlx::query("UPDATE organizations SET credit_balance = $2::text::numeric WHERE id = $1")
        .bind(organization)
        .bind(balance)
        .execute(&world.pool)
        .await
        .expect("a balance");
}

/// The event that a job is due.
fn due(job: Uuid) -> Value {
    json!({"detail-type": "job.due", "detail": {"jobId": job}})
}

/// What a worker did with a job, in one word.
async fn run_on(instance: &Instance, job: Uuid) -> String {
    match instance.invoke(due(job), Duration::from_mins(1)).await {
        Outcome::Success(answer) => answer["outcome"].as_str().expect("a word").to_owned(),
        other => panic!("job-run failed: {other:?} {:#?}", instance.logs()),
    }
}

/// The same with the world's warm worker.
async fn run_job(world: &World, job: Uuid) -> String {
    let worker = world.instance("job-run").await;
    run_on(&worker, job).await
}

/// Runs a worker that has to wait for a lock, lets something happen while it waits, and gives the
/// lock back; what the worker did.
fn meanwhile<'a>(
    world: &'a World,
    job: Uuid,
    lock: &'static str,
    happens: impl Future<Output = ()> + 'a,
) -> impl Future<Output = String> + 'a {
    let happens = Box::pin(happens);
    async move {
        let instance = world.function("job-run").start().await;
        let mut holder = world.pool.begin().await.expect("begin");
        sqlx::query(lock).execute(&mut *holder).await.expect(lock);
        let (done, ()) = tokio::join!(run_on(&instance, job), async {
            world.until_somebody_waits().await;
            happens.await;
            holder.rollback().await.expect("rollback");
        });
        done
    }
}

/// Kills a worker at the lock.
async fn kill_worker(world: &World, job: Uuid, lock: &'static str) {
    let instance = world.function("job-run").start().await;
    let mut holder = world.pool.begin().await.expect("begin");
    sqlx::query(lock).execute(&mut *holder).await.expect(lock);
    let (outcome, ()) = tokio::join!(instance.invoke(due(job), Duration::from_mins(1)), async {
        world.until_somebody_waits().await;
        instance.kill().await;
    });
    assert!(matches!(outcome, Outcome::Crashed { .. }), "{outcome:?}");
    holder.rollback().await.expect("rollback");
}

/// The stand-in for `EventBridge`, with the rules of the template, and a warm sweep that publishes there.
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

async fn bus() -> Bus {
    let template = Template::load().expect("template.yaml");
    Bus {
        events: EventBus::start(&template).await.expect("an event bus"),
        sweeper: OnceCell::new(),
    }
}

/// A function that publishes there.
fn function(world: &World, name: &str, bus: &EventBus) -> Function {
    let address = bus.address();
    world
        .function(name)
        .with("AWS_ENDPOINT_URL_EVENTBRIDGE", &address)
}

/// One sweep of the bus's only world.
async fn try_sweep(world: &World, bus: &Bus) -> Outcome {
    let start = async || function(world, "job-sweep", bus).start().await;
    let sweeper = bus.sweeper.get_or_init(start).await;
    sweeper.invoke(json!({}), Duration::from_mins(1)).await
}

/// One sweep; its counts.
async fn sweep(world: &World, bus: &Bus) -> Value {
    match try_sweep(world, bus).await {
        Outcome::Success(counts) => counts,
        other => panic!("job-sweep failed: {other:?}"),
    }
}

/// The jobs that the stand-in was told are due, in order.
fn told(bus: &EventBus) -> Vec<Uuid> {
    let due = bus
        .received()
        .into_iter()
        .filter(|event| event["detail-type"] == "job.due");
    due.map(|event| serde_json::from_value(event["detail"]["jobId"].clone()).expect("an id"))
        .collect()
}
