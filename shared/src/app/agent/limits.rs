//! Counts an agent's recent requests. Owns: reading what `domain::limits` decides on.

use chrono::{DateTime, Utc};

use crate::app::error::RequestError;
use crate::db;
use crate::db::Connection;
use crate::domain::ids::AgentRef;
use crate::domain::limits::{self, PERIOD};

/// The type of a backup that the owner requested.
pub(super) const MANUAL: &str = "manual";

/// Refuses a start if the agent had too many within the last hour. The caller holds the agent's lock.
pub(super) async fn check_starts(
    conn: &mut Connection,
    agent: AgentRef,
    now: DateTime<Utc>,
) -> Result<(), RequestError> {
    let limit = i64::try_from(limits::STARTS.max).unwrap_or(i64::MAX);
    let recent = db::jobs::queue::starts_since(conn, agent, now - PERIOD, limit).await?;
    Ok(limits::STARTS.check(&recent, now)?)
}

/// Refuses a backup if the owner requested too many of the agent within the last hour.
pub(super) async fn check_snapshots(
    conn: &mut Connection,
    agent: AgentRef,
    now: DateTime<Utc>,
) -> Result<(), RequestError> {
    let recent = db::agents::backups::backups_since(conn, agent, MANUAL, now - PERIOD).await?;
    Ok(limits::SNAPSHOTS.check(&recent, now)?)
}
