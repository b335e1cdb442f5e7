//! What an organization may have and has. Only reads.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::app::error::RequestError;
use crate::db;
use crate::db::identity::limits::LimitsChange;
use crate::db::requests::snapshot_requests::SnapshotRequest;
use crate::db::{Connection, Database};
use crate::domain::ids::{AgentId, OrganizationId};
use crate::domain::limits::{
    LimitName, SNAPSHOTS_PER_AGENT_AND_HOUR, SNAPSHOTS_PER_AGENT_AND_MINUTE, SNAPSHOTS_PER_HOUR,
    STARTS,
};

/// A limit of an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitUsage {
    pub limit: LimitName,
    /// What an operator has set; `None` if the default holds.
    pub value: Option<i32>,
    pub allowed: i32,
    /// Of a limit per agent: by the agent that uses most of it.
    pub used: i64,
}

pub async fn limit_usage(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> sqlx::Result<Vec<LimitUsage>> {
    let limits = db::identity::limits::limits_find(conn, organization_id).await?;
    let now = db::clock::billing_clock(conn).await?;
    let starts = db::jobs::queue::starts_count(conn, organization_id).await?;
    let since = now - SNAPSHOTS_PER_HOUR.period;
    let snapshots =
        db::requests::snapshot_requests::snapshot_requests_since(conn, organization_id, since)
            .await?;
    let mut usage = Vec::new();
    for limit in LimitName::ALL {
        let used = match limit {
            LimitName::Agents => {
                db::agents::records::agents_count(conn, organization_id, None).await?
            }
            LimitName::ActiveStarts => starts.active,
            LimitName::RunningStarts => starts.running,
            LimitName::OpenStreams => {
                let open = db::requests::open_streams::stream_expiries(conn, organization_id, now);
                i64::try_from(open.await?.len()).unwrap_or(i64::MAX)
            }
            LimitName::StartsPerAgentAndHour => {
                let since = now - STARTS.period;
                db::jobs::queue::starts_of_busiest_agent(conn, organization_id, since).await?
            }
            LimitName::RunningSnapshots => {
                let running = snapshots.iter().filter(|one| one.running_until > now);
                i64::try_from(running.count()).unwrap_or(i64::MAX)
            }
            LimitName::SnapshotsPerHour => i64::try_from(snapshots.len()).unwrap_or(i64::MAX),
            LimitName::SnapshotsPerAgentAndHour => {
                of_busiest_agent(&snapshots, now - SNAPSHOTS_PER_AGENT_AND_HOUR.period)
            }
            LimitName::SnapshotsPerAgentAndMinute => {
                of_busiest_agent(&snapshots, now - SNAPSHOTS_PER_AGENT_AND_MINUTE.period)
            }
        };
        usage.push(LimitUsage {
            limit: *limit,
            value: limits.value(*limit),
            allowed: limits.allowed(*limit),
            used,
        });
    }
    Ok(usage)
}

/// How many snapshots were requested since `since` of the agent of which most were.
fn of_busiest_agent(snapshots: &[SnapshotRequest], since: DateTime<Utc>) -> i64 {
    let mut counts: BTreeMap<AgentId, i64> = BTreeMap::new();
    for snapshot in snapshots.iter().filter(|one| one.requested_at > since) {
        *counts.entry(snapshot.agent_id).or_default() += 1;
    }
    counts.into_values().max().unwrap_or_default()
}

/// The limits of an organization as operators see them.
#[derive(Clone, Debug)]
pub struct OrganizationUsage {
    pub organization_id: OrganizationId,
    pub limits: Vec<LimitUsage>,
    /// `None` if no operator has ever changed one.
    pub last_change: Option<LimitsChange>,
}

/// # Errors
/// [`RequestError::NotFound`] if there is no such organization.
pub async fn organization_usage(
    pool: &Database,
    organization_id: OrganizationId,
) -> Result<OrganizationUsage, RequestError> {
    let mut conn = pool.statements();
    let name = db::identity::organizations::organization_name(&mut conn, organization_id).await?;
    name.ok_or(RequestError::ORGANIZATION_NOT_FOUND)?;
    Ok(read(&mut conn, organization_id).await?)
}

pub(super) async fn read(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> sqlx::Result<OrganizationUsage> {
    Ok(OrganizationUsage {
        organization_id,
        limits: limit_usage(conn, organization_id).await?,
        last_change: db::identity::limits::limits_last_change(conn, organization_id).await?,
    })
}
