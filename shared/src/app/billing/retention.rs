//! What is not kept for ever: months of charges and entries, and the spans that charges refer to. Owns: how often it is
//! tried.

use std::time::Duration;

use tracing::{info, warn};

use crate::db::billing::retention::{
    old_partitions, partition_drop, settled_spans_delete_of_any_organization,
};
use crate::db::{self, Database, DatabaseFailure};

/// How many spans a transaction deletes.
const SPAN_BATCH: i32 = 10_000;
/// How many transactions delete spans in one call. The next call continues.
const MAX_SPAN_BATCHES: usize = 100;
/// Each attempt waits up to 5 s for locks on the tables, which billing runs hold while they write.
const MAX_ATTEMPTS: u32 = 5;
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionReport {
    pub dropped_partitions: usize,
    pub deleted_spans: usize,
}

/// Removes what is old enough and no longer needed. What is still needed stays for a later call.
pub async fn remove_old(pool: &Database) -> sqlx::Result<RetentionReport> {
    let mut report = RetentionReport::default();
    let mut conn = pool.statements();
    for partition in old_partitions(&mut conn).await? {
        let mut attempt = 1;
        let is_dropped = loop {
            match partition_drop(&mut conn, &partition).await {
                Err(error)
                    if db::classify(&error) == DatabaseFailure::Conflict
                        && attempt < MAX_ATTEMPTS =>
                {
                    let error = db::error_class(&error);
                    warn!(attempt, error, "a partition was not dropped; trying again");
                }
                result => break result?,
            }
            attempt += 1;
            tokio::time::sleep(RETRY_AFTER).await;
        };
        if is_dropped {
            let (parent, month) = (&partition.parent, partition.month.format("%Y-%m"));
            info!("the partition of {parent} for {month} was dropped");
            report.dropped_partitions += 1;
        }
    }
    for _ in 0..MAX_SPAN_BATCHES {
        let deleted = settled_spans_delete_of_any_organization(&mut conn, SPAN_BATCH).await?;
        report.deleted_spans += usize::try_from(deleted).unwrap_or_default();
        if deleted < SPAN_BATCH {
            break;
        }
    }
    Ok(report)
}
