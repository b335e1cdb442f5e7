//! Repairs what the metering triggers missed, before a run charges. Owns: in which transactions and under which locks,
//! and that a repair that fails keeps nobody from being charged.

use std::collections::BTreeMap;
use std::slice;
use std::time::{Duration, Instant};

use tracing::warn;

use super::part::MAX_ATTEMPTS;
use crate::db::billing::metering::{self, SpanMismatch};
use crate::db::{self, Database, DatabaseFailure};
use crate::domain::ids::{AgentId, OrganizationId};

/// How many agents are repaired in one transaction.
const MAX_BATCH: usize = 500;
/// No transaction begins later than this: the run needs its time to charge, and the next one repairs the rest.
const MAX_TIME: Duration = Duration::from_mins(1);

/// What a run has repaired.
#[derive(Debug, Default)]
pub(super) struct Repair {
    /// The number of spans.
    pub spans: usize,
    /// The organizations whose agents could not be repaired, with the reasons.
    pub failures: BTreeMap<OrganizationId, String>,
}

/// Repairs the agents in batches. If one keeps failing, repairs each of its agents alone and records those that fail.
/// Only an unavailable database is an error.
pub(super) async fn repair_spans(
    pool: &Database,
    mismatches: &[SpanMismatch],
) -> sqlx::Result<Repair> {
    let end = Instant::now() + MAX_TIME;
    let mut repair = Repair::default();
    let mut failed_agents = 0;
    for batch in mismatches.chunks(MAX_BATCH) {
        let together = repair.attempt(pool, batch, MAX_ATTEMPTS, end).await?;
        if together.is_ok() {
            continue;
        }
        for mismatch in batch {
            let alone = slice::from_ref(mismatch);
            if let Err(reason) = repair.attempt(pool, alone, 1, end).await? {
                failed_agents += 1;
                repair.fail(mismatch, &reason);
            }
        }
    }
    if failed_agents > 0 {
        let organizations = repair.failures.len();
        warn!(
            agents = failed_agents,
            organizations,
            "the metering of {failed_agents} agents could not be repaired; the next run tries again"
        );
    }
    Ok(repair)
}

/// Why a batch was not repaired.
#[derive(Debug, thiserror::Error)]
enum RepairError {
    #[error("there was no time left")]
    TimedOut,
    #[error("{}", db::error_class(.0))]
    Database(sqlx::Error),
}

impl Repair {
    /// Repairs a batch in a transaction that is repeated while it conflicts with others. The outer error is an
    /// unavailable database.
    async fn attempt(
        &mut self,
        pool: &Database,
        batch: &[SpanMismatch],
        attempts: usize,
        end: Instant,
    ) -> sqlx::Result<Result<(), RepairError>> {
        let mut attempt = 1;
        loop {
            if Instant::now() >= end {
                return Ok(Err(RepairError::TimedOut));
            }
            match transaction(pool, batch).await {
                Ok(spans) => {
                    self.spans += spans;
                    return Ok(Ok(()));
                }
                Err(error) => match db::classify(&error) {
                    DatabaseFailure::Unavailable => return Err(error),
                    DatabaseFailure::Conflict if attempt < attempts => warn!(
                        agents = batch.len(),
                        attempt,
                        error = db::error_class(&error),
                        "a repair of metering conflicted with another transaction and is repeated"
                    ),
                    _ => return Ok(Err(RepairError::Database(error))),
                },
            }
            attempt += 1;
        }
    }

    fn fail(&mut self, mismatch: &SpanMismatch, reason: &RepairError) {
        let organization_id = mismatch.organization_id.or(mismatch.charged_to);
        if let Some(organization_id) = organization_id {
            let reason = format!("metering not repaired: {reason}");
            self.failures.insert(organization_id, reason);
        }
    }
}

/// Repairs a batch and returns the number of spans. Takes the locks of a part. An agent that was moved unnoticed belongs
/// to one organization and is charged to another: both are locked, so that its time is divided between them in one
/// transaction.
async fn transaction(pool: &Database, batch: &[SpanMismatch]) -> sqlx::Result<usize> {
    let organizations: Vec<OrganizationId> = batch
        .iter()
        .flat_map(|mismatch| [mismatch.organization_id, mismatch.charged_to])
        .flatten()
        .collect();
    let agents: Vec<AgentId> = batch.iter().map(|mismatch| mismatch.agent_id).collect();
    let mut tx = pool.begin().await?;
    db::identity::organizations::organizations_lock(&mut tx, &organizations).await?;
    db::agents::billing::agents_lock_of_any_organization(&mut tx, &agents).await?;
    let ended = metering::spans_end_unwanted_of_any_organization(&mut tx, &agents).await?;
    let opened = metering::spans_open_missing_of_any_organization(&mut tx, &agents).await?;
    tx.commit().await?;
    Ok(usize::try_from(ended.max(opened)).unwrap_or(usize::MAX))
}
