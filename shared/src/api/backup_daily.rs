//! The daily backups of running agents, every 15 minutes those that are due. It takes no input.

use std::time::Duration;

use serde::Serialize;

use crate::app::agent::daily_backup::daily_backups;
use crate::app::agent::snapshot::SnapshotDeps;
use crate::bucket::Bucket;
use crate::db;
use crate::db::Database;
use crate::hosts::HostClient;
use crate::invocation::Invocation;

/// No agents are begun with this long before the deadline: reading their states may take a minute, and storing each one
/// another.
const RESERVE: Duration = Duration::from_mins(6);

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub hosts: HostClient,
    /// Where states are kept; in the database if there is no bucket.
    pub bucket: Option<Bucket>,
}

/// Counts only.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupResult {
    saved: usize,
    failed: usize,
    skipped: usize,
    deleted_objects: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("the database request failed ({})", db::error_class(.0))]
pub struct BackupError(#[from] sqlx::Error);

/// # Errors
/// The database fails. What was done stays done, and the next run continues.
pub async fn handle(deps: &Deps, invocation: Invocation) -> Result<BackupResult, BackupError> {
    let app_deps = SnapshotDeps {
        pool: &deps.pool,
        hosts: &deps.hosts,
        bucket: deps.bucket.as_ref(),
    };
    let has_time = || !invocation.time_left(RESERVE).is_zero();
    let report = daily_backups(app_deps, has_time).await?;
    Ok(BackupResult {
        saved: report.saved,
        failed: report.failed,
        skipped: report.skipped,
        deleted_objects: report.deleted_objects,
    })
}
