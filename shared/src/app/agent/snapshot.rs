//! Saving a running agent's state at its owner's request. Owns: that the agent is only read and continues to run, and
//! that nothing is stored unless the agent answers with a valid state.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::limits;
use crate::app::agent_state;
use crate::app::error::RequestError;
use crate::app::host_access::{connect, find_running_agent};
use crate::app::idempotency::{IdempotencyGuard, IdempotencyKey, run_once};
use crate::db;
use crate::db::Database;
use crate::db::agents::backups::MANUAL;
use crate::domain::agent::StatusConflict;
use crate::domain::ids::{AgentRef, BackupId};
use crate::hosts::{AgentHttp, HostClient};

/// How long the agent may take to send its state: shorter than for a job, because a client waits.
const STATE_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedBackup {
    pub id: BackupId,
    pub size_bytes: u64,
    pub created_at: DateTime<Utc>,
}

/// Saves the state of a running agent as its newest backup.
pub async fn agent_snapshot(
    pool: &Database,
    hosts: &HostClient,
    agent: AgentRef,
    key: IdempotencyKey,
) -> Result<SavedBackup, RequestError> {
    run_once(pool, key, async |guard| {
        save(pool, hosts, agent, guard).await
    })
    .await
}

/// Checks the limit before anything is asked of the agent.
async fn check_limit(pool: &Database, agent: AgentRef) -> Result<(), RequestError> {
    let mut conn = pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    limits::check_snapshots(&mut conn, agent, now).await
}

async fn save(
    pool: &Database,
    hosts: &HostClient,
    agent: AgentRef,
    guard: &mut IdempotencyGuard,
) -> Result<SavedBackup, RequestError> {
    let running = find_running_agent(pool, agent).await?;
    check_limit(pool, agent).await?;
    let bridge = running.and_then(|agent| Some((agent.record.bridge()?, agent.node)));
    let (port, node) = bridge.ok_or(StatusConflict("Sandbox is not running"))?;
    let connection = connect(pool, hosts, &node).await?;
    let http = AgentHttp::new(connection, port);
    let state = agent_state::fetch(&http, STATE_TIMEOUT).await?;
    let mut tx = pool.begin().await?;
    // The agent may have been deleted meanwhile.
    db::agents::lifecycle::agent_lock(&mut tx, agent)
        .await?
        .ok_or(RequestError::AGENT_NOT_FOUND)?;
    let created_at = db::clock::billing_clock(&mut tx).await?;
    // Others may have been stored while this one was read.
    limits::check_snapshots(&mut tx, agent, created_at).await?;
    let id = agent_state::store(&mut tx, agent, MANUAL, &state, created_at).await?;
    let saved = SavedBackup {
        id,
        size_bytes: u64::try_from(state.len()).unwrap_or(u64::MAX),
        created_at,
    };
    guard.complete(&mut tx, &saved).await?;
    tx.commit().await?;
    Ok(saved)
}
