//! `cloud.failed_starts`: starts that failed on a host. Owns: recording them, and that they no longer count against a
//! host where a start has succeeded. Does not own: what follows from them (`domain::placement`).

use chrono::{DateTime, TimeDelta, Utc};

use crate::db::jobs::worker::JobFence;
use crate::db::session::Connection;
use crate::domain::ids::AgentId;
use crate::domain::placement::{FailedStart, SET_ASIDE_PERIOD};

/// Longer than a start job takes with all its attempts.
const KEPT_FOR: TimeDelta = TimeDelta::days(1);

/// Records that the start of an agent failed on a host.
pub async fn failed_start_record(
    conn: &mut Connection,
    fence: JobFence,
    agent_id: AgentId,
    node_id: &str,
    is_hosts_fault: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH old AS (DELETE FROM cloud.failed_starts WHERE failed_at < $7 AND job_id <> $1)
        INSERT INTO cloud.failed_starts (job_id, node_id, organization_id, agent_id, is_hosts_fault, failed_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (job_id, node_id) DO UPDATE SET is_hosts_fault = excluded.is_hosts_fault,
            failed_at = excluded.failed_at, forgiven = false",
        fence.job_id.uuid(),
        node_id,
        fence.organization_id.uuid(),
        agent_id.uuid(),
        is_hosts_fault,
        now,
        now - KEPT_FOR
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The hosts on which earlier attempts of a job failed.
pub async fn failed_starts_of_job(
    conn: &mut Connection,
    fence: JobFence,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "SELECT node_id FROM cloud.failed_starts WHERE job_id = $1 AND organization_id = $2",
        fence.job_id.uuid(),
        fence.organization_id.uuid()
    )
    .fetch_all(conn)
    .await
}

/// The failures that count against hosts now.
pub async fn failed_starts_of_any_organization(
    conn: &mut Connection,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<FailedStart>> {
    sqlx::query_as!(
        FailedStart,
        "SELECT node_id, organization_id, agent_id, is_hosts_fault, failed_at FROM cloud.failed_starts
        WHERE failed_at > $1 AND NOT forgiven",
        now - SET_ASIDE_PERIOD
    )
    .fetch_all(conn)
    .await
}

/// Records that a start succeeded on a host, or that an operator has checked it: earlier failures no longer count
/// against it. Leaves out old ones, which do not count and which others may be deleting.
pub async fn failed_starts_forgive_of_any_organization(
    conn: &mut Connection,
    node_id: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.failed_starts SET forgiven = true
        WHERE node_id = $1 AND NOT forgiven AND failed_at > $2",
        node_id,
        now - SET_ASIDE_PERIOD
    )
    .execute(conn)
    .await?;
    Ok(())
}
