//! Saving a running agent's state at its owner's request. Owns: that the agent is only read and continues to run, that
//! the request counts before the agent is asked, and that nothing is stored unless it answers with a valid state.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::limits::{self, ClaimedSnapshot};
use crate::app::error::RequestError;
use crate::app::host_access::{connect, find_running_agent};
use crate::app::idempotency::{IdempotencyGuard, IdempotencyKey, run_once};
use crate::app::{agent_state, state_store};
use crate::bucket::Bucket;
use crate::db;
use crate::db::Database;
use crate::db::agents::backups::MANUAL;
use crate::db::hosts::coordinates::HostCoordinates;
use crate::domain::agent::StatusConflict;
use crate::domain::ids::{AgentRef, BackupId, OrganizationId, SnapshotRequestId};
use crate::hosts::{AgentHttp, HostClient};

/// How long the agent may take to send its state: shorter than for a job, because a client waits.
const STATE_TIMEOUT: Duration = Duration::from_secs(20);
/// The snapshot of a function that was killed counts as running for so long: a function ends after 29 s.
const MAX_DURATION: TimeDelta = TimeDelta::seconds(30);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedBackup {
    pub id: BackupId,
    pub size_bytes: u64,
    pub created_at: DateTime<Utc>,
}

/// What saving the state of a running agent takes.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotDeps<'a> {
    pub pool: &'a Database,
    pub hosts: &'a HostClient,
    /// Where states are kept; in the database if there is no bucket.
    pub bucket: Option<&'a Bucket>,
}

/// Saves the state of a running agent as a backup.
pub async fn agent_snapshot(
    deps: SnapshotDeps<'_>,
    agent: AgentRef,
    key: IdempotencyKey,
) -> Result<SavedBackup, RequestError> {
    run_once(deps.pool, key, async |guard| save(deps, agent, guard).await).await
}

async fn save(
    deps: SnapshotDeps<'_>,
    agent: AgentRef,
    guard: &mut IdempotencyGuard,
) -> Result<SavedBackup, RequestError> {
    let SnapshotDeps {
        pool,
        hosts,
        bucket,
    } = deps;
    let running = find_running_agent(pool, agent).await?;
    let bridge = running.and_then(|agent| Some((agent.record.bridge()?, agent.node)));
    let (port, node) = bridge.ok_or(StatusConflict("Sandbox is not running"))?;
    let claimed = claim(pool, agent).await?;
    let fetched = fetch(pool, hosts, &node, port).await;
    let saved = match fetched {
        Ok(state) => store(pool, bucket, agent, state, claimed.requested_at, guard).await,
        Err(error) => Err(error),
    };
    end(pool, agent.organization_id, claimed.request_id).await;
    saved
}

/// Counts the snapshot before anything is asked of the agent.
async fn claim(pool: &Database, agent: AgentRef) -> Result<ClaimedSnapshot, RequestError> {
    let mut tx = pool.begin().await?;
    let claimed = limits::claim_snapshot(&mut tx, agent, MAX_DURATION).await?;
    tx.commit().await?;
    Ok(claimed)
}

async fn fetch(
    pool: &Database,
    hosts: &HostClient,
    node: &HostCoordinates,
    port: u16,
) -> Result<Bytes, RequestError> {
    let connection = connect(pool, hosts, node).await?;
    let http = AgentHttp::new(connection, port);
    Ok(agent_state::fetch(&http, STATE_TIMEOUT).await?)
}

/// The backup counts as taken when it was requested: a stop may have made a newer one meanwhile.
async fn store(
    pool: &Database,
    bucket: Option<&Bucket>,
    agent: AgentRef,
    state: Bytes,
    created_at: DateTime<Utc>,
    guard: &mut IdempotencyGuard,
) -> Result<SavedBackup, RequestError> {
    let size_bytes = u64::try_from(state.len()).unwrap_or(u64::MAX);
    let staged = state_store::stage(pool, bucket, agent, state).await?;
    let mut tx = pool.begin().await?;
    // The agent may have been deleted meanwhile.
    db::agents::lifecycle::agent_lock(&mut tx, agent)
        .await?
        .ok_or(RequestError::AGENT_NOT_FOUND)?;
    let id = state_store::insert(&mut tx, agent, MANUAL, &staged, created_at).await?;
    let saved = SavedBackup {
        id,
        size_bytes,
        created_at,
    };
    guard.complete(&mut tx, &saved).await?;
    tx.commit().await?;
    Ok(saved)
}

async fn end(pool: &Database, organization_id: OrganizationId, request_id: SnapshotRequestId) {
    let ended = async {
        let mut conn = pool.statements();
        let now = db::clock::billing_clock(&mut conn).await?;
        db::requests::snapshot_requests::snapshot_request_end(
            &mut conn,
            organization_id,
            request_id,
            now,
        )
        .await
    };
    if let Err(error) = ended.await {
        warn!(
            error = db::error_class(&error),
            "the end of a snapshot was not recorded; it counts as running until its time is over"
        );
    }
}
