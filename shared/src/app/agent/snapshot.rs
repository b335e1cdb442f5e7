//! A running agent's state is saved because its owner asks for it. Owns: that it costs no time of the
//! agent's and that nothing is stored of an agent that answers badly.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use uuid::Uuid;

use crate::app::agent::state as agent_state;
use crate::app::error::RequestError;
use crate::app::host_access::{connect, running};
use crate::app::idempotency::{Begun, Once, Repeatable, begin};
use crate::db;
use crate::domain::agent::NotNow;
use crate::hosts::{AgentHttp, Fleet};

/// What an agent may take to tell its state while somebody waits.
const WITHIN: Duration = Duration::from_secs(20);

/// A state that was saved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved {
    /// The backup.
    pub id: Uuid,
    /// Bytes.
    pub size: u64,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// Saves the state of one of an organization's agents.
///
/// # Errors
/// [`RequestError`]; then nothing was saved.
pub async fn agent_snapshot(
    pool: &PgPool,
    fleet: &Fleet,
    agent: (Uuid, Uuid),
    repeatable: Repeatable,
) -> Result<Saved, RequestError> {
    let mut once = match begin(pool, repeatable).await? {
        Begun::Again(saved) => return Ok(saved),
        Begun::First(once) => once,
    };
    let result = save(pool, fleet, agent, &mut once).await;
    once.settle(pool, result).await
}

async fn save(
    pool: &PgPool,
    fleet: &Fleet,
    agent: (Uuid, Uuid),
    once: &mut Once,
) -> Result<Saved, RequestError> {
    let there = running(pool, agent).await?;
    let there = there.and_then(|(placement, node)| Some((placement.bridge()?, node)));
    let (port, node) = there.ok_or(NotNow("Sandbox is not running"))?;
    let connection = connect(pool, fleet, &node).await?;
    let http = AgentHttp::new(connection, port);
    let state = agent_state::take(&http, WITHIN).await?;
    let mut tx = pool.begin().await?;
    let there = db::agents::owner::agent_lock(&mut tx, agent.0, agent.1).await?;
    there.ok_or(RequestError::NO_AGENT)?;
    let created_at = db::clock::billing_clock(&mut tx).await?;
    let id = agent_state::store(&mut tx, agent, "manual", &state, created_at).await?;
    let saved = Saved {
        id,
        size: u64::try_from(state.len()).unwrap_or(u64::MAX),
        created_at,
    };
    once.complete(&mut tx, &saved).await?;
    tx.commit().await?;
    Ok(saved)
}
