//! `organization_limits`. Owns: what operators have set for single organizations, and the lock under which a limit is
//! checked that no row's lock protects.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::limits::{LimitName, OrganizationLimits};

/// What operators have set for an organization.
pub async fn limits_find(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> sqlx::Result<OrganizationLimits> {
    let limits = sqlx::query_as!(
        OrganizationLimits,
        "SELECT agents, active_starts, running_starts, open_streams, starts_per_agent_and_hour,
            running_snapshots, snapshots_per_hour, snapshots_per_agent_and_hour,
            snapshots_per_agent_and_minute
        FROM cloud.organization_limits WHERE organization_id = $1",
        organization_id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(limits.unwrap_or_default())
}

/// The last change of an organization's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsChange {
    pub updated_at: DateTime<Utc>,
    pub updated_by: UserId,
}

/// `None` if no operator has ever set one.
pub async fn limits_last_change(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> sqlx::Result<Option<LimitsChange>> {
    sqlx::query_as!(
        LimitsChange,
        "SELECT updated_at, updated_by FROM cloud.organization_limits WHERE organization_id = $1",
        organization_id.uuid()
    )
    .fetch_optional(conn)
    .await
}

pub async fn limits_set(
    conn: &mut Connection,
    organization_id: OrganizationId,
    limits: OrganizationLimits,
    change: LimitsChange,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.organization_limits (organization_id, agents, active_starts, running_starts,
            open_streams, starts_per_agent_and_hour, running_snapshots, snapshots_per_hour,
            snapshots_per_agent_and_hour, snapshots_per_agent_and_minute, updated_at, updated_by)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        ON CONFLICT (organization_id) DO UPDATE SET agents = excluded.agents,
            active_starts = excluded.active_starts, running_starts = excluded.running_starts,
            open_streams = excluded.open_streams,
            starts_per_agent_and_hour = excluded.starts_per_agent_and_hour,
            running_snapshots = excluded.running_snapshots,
            snapshots_per_hour = excluded.snapshots_per_hour,
            snapshots_per_agent_and_hour = excluded.snapshots_per_agent_and_hour,
            snapshots_per_agent_and_minute = excluded.snapshots_per_agent_and_minute,
            updated_at = excluded.updated_at, updated_by = excluded.updated_by",
        organization_id.uuid(),
        limits.agents,
        limits.active_starts,
        limits.running_starts,
        limits.open_streams,
        limits.starts_per_agent_and_hour,
        limits.running_snapshots,
        limits.snapshots_per_hour,
        limits.snapshots_per_agent_and_hour,
        limits.snapshots_per_agent_and_minute,
        change.updated_at,
        change.updated_by.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Waits for other transactions that check this limit of the organization. They take this lock before any other, so that
/// none waits for another in a circle. It ends with the transaction.
pub async fn limit_lock(
    conn: &mut Connection,
    organization_id: OrganizationId,
    limit: LimitName,
) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))")
        .bind(format!("{} of {organization_id}", limit.as_str()))
        .execute(conn)
        .await?;
    Ok(())
}
