//! Counts what `domain::limits` decides on for requests about agents. Owns: what is counted, and under which lock.

use chrono::{DateTime, Utc};

use crate::app::error::RequestError;
use crate::db;
use crate::db::Connection;
use crate::db::agents::backups::MANUAL;
use crate::domain::ids::{AgentRef, OrganizationId};
use crate::domain::job::EXPECTED_START_DURATION;
use crate::domain::limits::{LimitName, SNAPSHOTS_PER_HOUR, SNAPSHOTS_PER_MINUTE, STARTS};

/// Refuses one more agent if the organization has as many as it may. The caller holds the organization's lock.
pub(super) async fn check_agents(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> Result<(), RequestError> {
    let limits = db::identity::limits::limits_find(conn, organization_id).await?;
    let agents = db::agents::records::agents_count(conn, organization_id, None).await?;
    Ok(limits.check(LimitName::Agents, agents, None)?)
}

/// Refuses a start if the agent had too many within the last hour, or if too many of the organization wait or run. The
/// caller holds the locks of both.
pub(super) async fn check_starts(
    conn: &mut Connection,
    agent: AgentRef,
    now: DateTime<Utc>,
) -> Result<(), RequestError> {
    let organization_id = agent.organization_id;
    let limits = db::identity::limits::limits_find(conn, organization_id).await?;
    let recent = db::jobs::queue::starts_since(conn, agent, now - STARTS.period).await?;
    limits.check_rate(STARTS, &recent, now)?;
    let starts = db::jobs::queue::starts_count(conn, organization_id).await?;
    let retry_after = Some(EXPECTED_START_DURATION);
    Ok(limits.check(LimitName::ActiveStarts, starts.active, retry_after)?)
}

/// Refuses a backup if the owner requested too many of the agent lately.
pub(super) async fn check_snapshots(
    conn: &mut Connection,
    agent: AgentRef,
    now: DateTime<Utc>,
) -> Result<(), RequestError> {
    let limits = db::identity::limits::limits_find(conn, agent.organization_id).await?;
    let since = now - SNAPSHOTS_PER_HOUR.period;
    let recent = db::agents::backups::backups_since(conn, agent, MANUAL, since).await?;
    limits.check_rate(SNAPSHOTS_PER_HOUR, &recent, now)?;
    Ok(limits.check_rate(SNAPSHOTS_PER_MINUTE, &recent, now)?)
}
