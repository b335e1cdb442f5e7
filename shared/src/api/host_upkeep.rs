//! The upkeep of hosts, every five minutes. It takes no input: it looks after all hosts that are due.

use std::time::Duration;

use serde::Serialize;

use crate::app::fleet::upkeep::{UpkeepDeps, fleet_upkeep};
use crate::db;
use crate::db::Database;
use crate::domain::image::Images;
use crate::hosts::HostClient;
use crate::invocation::Invocation;
use crate::metrics;
use crate::secrets::KeptSecret;

/// A run ends this long before its invocation is ended.
const RESERVE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub hosts: HostClient,
    /// The default image is prefetched; the others say what may be removed.
    pub images: Images,
    pub registries: Option<KeptSecret>,
}

/// Counts only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpkeepResult {
    done: usize,
    failed: usize,
    removed_images: usize,
    removed_volumes: usize,
}

/// The next run goes on.
#[derive(Debug, thiserror::Error)]
#[error("the database request failed ({})", db::error_class(.0))]
pub struct UpkeepFailed(#[from] sqlx::Error);

/// # Errors
/// The database fails. A host that fails is attempted again and is no error.
pub async fn handle(deps: &Deps, invocation: Invocation) -> Result<UpkeepResult, UpkeepFailed> {
    let upkeep = UpkeepDeps {
        pool: &deps.pool,
        host_client: &deps.hosts,
        images: &deps.images,
        registries: deps.registries.as_ref(),
    };
    let counts = Box::pin(fleet_upkeep(upkeep, invocation.time_left(RESERVE))).await?;
    let mut conn = deps.pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    metrics::count_failed_upkeeps(counts.failed, now);
    Ok(UpkeepResult {
        done: counts.done,
        failed: counts.failed,
        removed_images: counts.removed_images,
        removed_volumes: counts.removed_volumes,
    })
}
