//! An operator has one host inspected now. If it is healthy, it is no longer set aside.

use std::time::Instant;

use chrono::{DateTime, Utc};

use crate::app::error::RequestError;
use crate::app::fleet::inspect::{HOST_TIMEOUT, Questions, inspect};
use crate::app::fleet::run_clock::RunClock;
use crate::db;
use crate::db::Database;
use crate::domain::fleet::{HostInspection, HostReadError, HostStatus};
use crate::hosts::HostClient;

#[derive(Clone, Debug)]
pub struct HostCheck {
    pub hostname: String,
    /// The status before this inspection.
    pub previous_status: HostStatus,
    pub status: HostStatus,
    pub inspection: HostInspection,
    pub checked_at: DateTime<Utc>,
}

/// Inspects a host, pins its key if none is pinned, and records its status.
///
/// # Errors
/// [`RequestError`]; then no status was recorded. A host that does not answer is not an error.
pub async fn node_check(
    pool: &Database,
    hosts: &HostClient,
    node_id: &str,
) -> Result<HostCheck, RequestError> {
    let mut conn = pool.statements();
    let node = db::hosts::coordinates::host_find(&mut conn, node_id)
        .await?
        .ok_or(RequestError::NODE_NOT_FOUND)?;
    let now = db::clock::billing_clock(&mut conn).await?;
    // Nothing holds a connection while it waits for a host.
    drop(conn);
    // Later than the inspection's own limit, so that a slow host is one that timed out and not one that was not
    // inspected.
    let deadline = Instant::now() + HOST_TIMEOUT * 2;
    let inspected = inspect(
        pool,
        hosts,
        &node,
        Questions::default(),
        RunClock::start(now),
        deadline,
    )
    .await;
    let inspection = inspected.inspection;
    let checked_at = inspection
        .inspected_at()
        .ok_or(HostReadError::NotInspected)?;
    let status = HostStatus::of(&inspection);
    let mut conn = pool.statements();
    let names = [node_id.to_owned()];
    match inspection.was_read() {
        Some(true) => db::hosts::unread::read_hosts_record(&mut conn, &names).await?,
        Some(false) => {
            db::hosts::unread::unread_hosts_record(&mut conn, &names, checked_at).await?;
        }
        None => {}
    }
    let previous_status =
        db::hosts::registry::host_record_check(&mut conn, node_id, status.as_str(), checked_at)
            .await?
            .ok_or(RequestError::NODE_NOT_FOUND)?;
    // Where the trouble is not over, the next starts set the host aside again.
    if status == HostStatus::Healthy {
        db::hosts::failed_starts::failed_starts_forgive_of_any_organization(
            &mut conn, node_id, checked_at,
        )
        .await?;
    }
    Ok(HostCheck {
        hostname: node.hostname,
        previous_status: HostStatus::parse_or_unknown(&previous_status),
        status,
        inspection,
        checked_at,
    })
}
