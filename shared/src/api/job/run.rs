//! The event `job.due`: runs the job that the event names, then calls the job's webhook if the job has ended. The event
//! `tombstone.due`: removes what a deleted agent left.

use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use crate::app::host_access::JobHostDeps;
use crate::app::job::run::teardown::teardown;
use crate::app::job::run::{JobDeps, JobOutcome, job_run, webhook::webhook_call};
use crate::db;
use crate::db::Database;
use crate::domain::address::AddressPolicy;
use crate::domain::ids::{AgentId, JobId};
use crate::domain::pricing::Prices;

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

/// A repeated event does not run the job twice.
pub async fn handle(deps: &Deps, event: Value) -> Result<RunResult, RunError> {
    let detail = &event["detail"];
    if let Some(agent_id) = identifier::<AgentId>(&detail["agentId"]) {
        let outcome = Box::pin(teardown(&deps.pool, &deps.hosts, agent_id)).await?;
        return Ok(RunResult::new(outcome, false));
    }
    let id = identifier::<JobId>(&detail["jobId"]).ok_or(RunError::InvalidEvent)?;
    let job_deps = JobDeps {
        pool: &deps.pool,
        prices: &deps.prices,
        hosts: &deps.hosts,
    };
    let outcome = Box::pin(job_run(job_deps, id)).await?;
    let keys = &deps.hosts.keys;
    let webhook_called = webhook_call(&deps.pool, keys, deps.address_policy, id).await?;
    Ok(RunResult::new(outcome, webhook_called))
}

fn identifier<T: FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}
