//! What an organization may have and has. Only reads.

use chrono::{DateTime, Utc};

use crate::app::error::RequestError;
use crate::db;
use crate::db::agents::backups::MANUAL;
use crate::db::identity::limits::LimitsChange;
use crate::db::{Connection, Database};
use crate::domain::ids::OrganizationId;
use crate::domain::limits::{LimitName, SNAPSHOTS_PER_HOUR, SNAPSHOTS_PER_MINUTE, STARTS};

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
            LimitName::SnapshotsPerAgentAndHour => {
                snapshots(conn, organization_id, now - SNAPSHOTS_PER_HOUR.period).await?
            }
            LimitName::SnapshotsPerAgentAndMinute => {
                snapshots(conn, organization_id, now - SNAPSHOTS_PER_MINUTE.period).await?
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

async fn snapshots(
    conn: &mut Connection,
    organization_id: OrganizationId,
    since: DateTime<Utc>,
) -> sqlx::Result<i64> {
    db::agents::backups::backups_of_busiest_agent(conn, organization_id, MANUAL, since).await
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
