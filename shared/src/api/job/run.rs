//! The event `job.due`: runs the job it names, or tells its webhook that it has ended.

use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::app::host_access::Hosts;
use crate::app::job::run::{Ports, Ran, job_run, webhook::webhook_call};
use crate::db;
use crate::domain::pricing::Prices;
use crate::domain::webhook::Reach;

/// What the function needs.
#[derive(Debug)]
pub struct Deps {
    /// One connection.
    pub pool: PgPool,
    /// The price list: the gate is asked again.
    pub prices: Prices,
    /// The hosts.
    pub hosts: Hosts,
    /// Where a webhook may lead.
    pub reach: Reach,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    outcome: &'static str,
    webhook_called: bool,
}

/// Why nothing was done. The sweep tells of the job again.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Not an event of ours.
    #[error("the event names no job in detail.jobId")]
    Event,
    /// The database failed.
    #[error("the database did not answer ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
}

/// Runs the job. Told twice, it runs once.
///
/// # Errors
/// [`RunError`].
pub async fn handle(deps: &Deps, event: Value) -> Result<Answer, RunError> {
    let id = event["detail"]["jobId"].as_str();
    let id: Uuid = id.and_then(|id| id.parse().ok()).ok_or(RunError::Event)?;
    let ports = Ports {
        pool: &deps.pool,
        prices: &deps.prices,
        hosts: &deps.hosts,
    };
    let ran = Box::pin(job_run(ports, id)).await?;
    let webhook_called = webhook_call(&deps.pool, deps.reach, id).await?;
    Ok(Answer {
        outcome: match ran {
            Ran::Nothing => "nothing",
            Ran::Completed => "completed",
            Ran::Again => "again",
            Ran::Failed => "failed",
            Ran::Lost => "lost",
            Ran::NotAdopted => "not adopted",
        },
        webhook_called,
    })
}
