//! The event `job.due`: runs the job that the event names, then calls the job's webhook if the job has ended, then goes on
//! with jobs of the lane that had to wait. The event `tombstone.due`: removes what a deleted agent left.

use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::app::host_access::JobHostDeps;
use crate::app::job::run::teardown::teardown;
use crate::app::job::run::{JobDeps, JobOutcome, job_run, job_turned_away, webhook::webhook_call};
use crate::db;
use crate::db::Database;
use crate::domain::address::AddressPolicy;
use crate::domain::ids::{AgentId, JobId};
use crate::domain::job::JobClass;
use crate::domain::pricing::Prices;
use crate::invocation::Invocation;

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    /// The worker asks the credit gate again before it starts an agent.
    pub prices: Prices,
    pub hosts: JobHostDeps,
    /// Which addresses a webhook may lead to.
    pub address_policy: AddressPolicy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunResult {
    outcome: &'static str,
    webhook_called: bool,
}

impl RunResult {
    fn new(outcome: JobOutcome, webhook_called: bool) -> Self {
        let outcome = match outcome {
            JobOutcome::NothingToDo => "nothing",
            JobOutcome::Waiting => "waiting",
            JobOutcome::Completed => "completed",
            JobOutcome::Retried => "again",
            JobOutcome::Failed => "failed",
            JobOutcome::Lost => "lost",
            JobOutcome::NotAdopted => "not adopted",
        };
        Self {
            outcome,
            webhook_called,
        }
    }
}

/// Why the job was not run. The sweep announces the job again.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the event names neither a job in detail.jobId nor an agent in detail.agentId")]
    InvalidEvent,
    #[error("the database request failed ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
}

/// A worker that has ended its job goes on with a job that was turned away if it has this long left: enough for most starts,
/// whose longest step is to pull an image. What a job has no time for, it leaves to its next attempt.
const TIME_FOR_ANOTHER_JOB: Duration = Duration::from_mins(12);

/// A repeated event does not run the job twice. The event comes from a lane's queue, or as it was published.
pub async fn handle(
    deps: &Deps,
    event: Value,
    invocation: Invocation,
) -> Result<RunResult, RunError> {
    let event = published_event(event)?;
    let detail = &event["detail"];
    if let Some(agent_id) = identifier::<AgentId>(&detail["agentId"]) {
        let outcome = Box::pin(teardown(&deps.pool, &deps.hosts, agent_id)).await?;
        return Ok(RunResult::new(outcome, false));
    }
    let id = identifier::<JobId>(&detail["jobId"]).ok_or(RunError::InvalidEvent)?;
    let result = run(deps, id, invocation.deadline).await?;
    if let Some(lane) = detail["lane"].as_str().and_then(JobClass::parse) {
        while invocation.time_left(Duration::ZERO) >= TIME_FOR_ANOTHER_JOB
            && let Some(next) = job_turned_away(&deps.pool, lane).await?
        {
            run(deps, next.id, invocation.deadline).await?;
        }
    }
    Ok(result)
}

/// Runs one job, then calls its webhook if it has ended.
async fn run(deps: &Deps, id: JobId, deadline: Option<Instant>) -> Result<RunResult, RunError> {
    let job_deps = JobDeps {
        pool: &deps.pool,
        prices: &deps.prices,
        hosts: &deps.hosts,
        deadline,
    };
    let outcome = Box::pin(job_run(job_deps, id)).await?;
    let keys = &deps.hosts.keys;
    let webhook_called = webhook_call(&deps.pool, keys, deps.address_policy, id).await?;
    Ok(RunResult::new(outcome, webhook_called))
}

/// The event as it was published. A queue delivers it as the text of a message, one at a time (`BatchSize` in
/// `template.yaml`).
fn published_event(event: Value) -> Result<Value, RunError> {
    match event["Records"][0]["body"].as_str() {
        Some(text) => serde_json::from_str(text).map_err(|_| RunError::InvalidEvent),
        None => Ok(event),
    }
}

fn identifier<T: FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}
