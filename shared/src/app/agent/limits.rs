//! Counts what `domain::limits` decides on for requests about agents. Owns: what is counted, and under which lock.

use chrono::{DateTime, TimeDelta, Utc};

use crate::app::error::RequestError;
use crate::db;
use crate::db::Connection;
use crate::domain::ids::{AgentRef, OrganizationId, SnapshotRequestId};
use crate::domain::job::EXPECTED_START_DURATION;
use crate::domain::limits::{
    LimitName, SNAPSHOTS_PER_AGENT_AND_HOUR, SNAPSHOTS_PER_AGENT_AND_MINUTE, SNAPSHOTS_PER_HOUR,
    STARTS,
};

/// Refuses one more agent if the organization has as many as it may. The caller holds the organization's lock.
pub(super) async fn check_agents(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> Result<(), RequestError> {
    let limits = db::identity::limits::limits_find(conn, organization_id).await?;
    let agents = db::agents::records::agents_count(conn, organization_id, None).await?;
    Ok(limits.check(LimitName::Agents, agents, None)?)
}

/// Refuses a start if the agent had too many attempts within the last hour, if the organization had too many starts within
/// it, or if too many of them wait or run. The caller holds the locks of both.
pub(super) async fn check_starts(
    conn: &mut Connection,
    agent: AgentRef,
    now: DateTime<Utc>,
) -> Result<(), RequestError> {
    let organization_id = agent.organization_id;
    let limits = db::identity::limits::limits_find(conn, organization_id).await?;
    let since = now - STARTS.period;
    let recent = db::jobs::queue::starts_since(conn, agent, since).await?;
    limits.check_rate(STARTS, &recent, now)?;
    let agents = db::agents::records::agents_count(conn, organization_id, None).await?;
    let of_all =
        db::jobs::queue::starts_of_organization_since(conn, organization_id, since).await?;
    limits.check_starts_of_all_agents(agents, &of_all, now)?;
    let starts = db::jobs::queue::starts_count(conn, organization_id).await?;
    let retry_after = Some(EXPECTED_START_DURATION);
    Ok(limits.check(LimitName::ActiveStarts, starts.active, retry_after)?)
}

/// A snapshot that counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClaimedSnapshot {
    pub(super) request_id: SnapshotRequestId,
    /// Before the agent is asked for its state.
    pub(super) requested_at: DateTime<Utc>,
}

/// Counts a snapshot of at most this duration, or refuses it if the owner requested too many of the agent lately, or of
/// all agents. The transaction must commit before the agent is asked, so that simultaneous requests see each other.
pub(super) async fn claim_snapshot(
    conn: &mut Connection,
    agent: AgentRef,
    max_duration: TimeDelta,
) -> Result<ClaimedSnapshot, RequestError> {
    let organization_id = agent.organization_id;
    let running = LimitName::RunningSnapshots;
    db::identity::limits::limit_lock(conn, organization_id, running).await?;
    let limits = db::identity::limits::limits_find(conn, organization_id).await?;
    let now = db::clock::billing_clock(conn).await?;
    let since = now - SNAPSHOTS_PER_HOUR.period;
    let recent =
        db::requests::snapshot_requests::snapshot_requests_since(conn, organization_id, since)
            .await?;
    let of_agent = recent.iter().filter(|one| one.agent_id == agent.agent_id);
    let of_agent: Vec<DateTime<Utc>> = of_agent.map(|one| one.requested_at).collect();
    limits.check_rate(SNAPSHOTS_PER_AGENT_AND_HOUR, &of_agent, now)?;
    limits.check_rate(SNAPSHOTS_PER_AGENT_AND_MINUTE, &of_agent, now)?;
    let of_all: Vec<DateTime<Utc>> = recent.iter().map(|one| one.requested_at).collect();
    limits.check_rate(SNAPSHOTS_PER_HOUR, &of_all, now)?;
    let expiries = recent.iter().map(|one| one.running_until);
    let mut expiries: Vec<DateTime<Utc>> = expiries.filter(|expiry| *expiry > now).collect();
    expiries.sort_unstable();
    limits.check_running(running, &expiries, now)?;
    let running_until = now + max_duration;
    let request_id = db::requests::snapshot_requests::snapshot_request_insert(
        conn,
        agent,
        now,
        running_until,
        since,
    )
    .await?;
    Ok(ClaimedSnapshot {
        request_id,
        requested_at: now,
    })
}
