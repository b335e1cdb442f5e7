//! Creating an agent. It costs nothing before its first start. All the same the credit gate decides: an organization
//! that could not start the agent cannot create it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::app::billing::gate;
use crate::app::error::RequestError;
use crate::app::idempotency::{IdempotencyGuard, IdempotencyKey, run_once};
use crate::db;
use crate::db::Database;
use crate::db::agents::records::NewAgent;
use crate::domain::ids::{AgentId, AgentRef, OrganizationId, UserId};
use crate::domain::pricing::Prices;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreatedAgent {
    pub id: AgentId,
    pub name: String,
    pub created_at: DateTime<Utc>,
}

/// Creates an agent for one of the organization's users.
pub async fn agent_create(
    pool: &Database,
    prices: &Prices,
    organization_id: OrganizationId,
    user_id: UserId,
    new_agent: &NewAgent,
    key: IdempotencyKey,
) -> Result<CreatedAgent, RequestError> {
    run_once(pool, key, async |guard| {
        create(pool, prices, organization_id, user_id, new_agent, guard).await
    })
    .await
}

async fn create(
    pool: &Database,
    prices: &Prices,
    organization_id: OrganizationId,
    user_id: UserId,
    new_agent: &NewAgent,
    guard: &mut IdempotencyGuard,
) -> Result<CreatedAgent, RequestError> {
    let mut tx = pool.begin().await?;
    if let Some(character_id) = new_agent.character_id
        && !db::agents::records::character_exists(&mut tx, organization_id, character_id).await?
    {
        return Err(RequestError::NotFound("Character not found"));
    }
    // Before the agent's row exists: everybody locks the organization before an agent.
    db::identity::organizations::organizations_lock(&mut tx, &[organization_id]).await?;
    let created_at = db::clock::billing_clock(&mut tx).await?;
    let id =
        db::agents::records::agent_insert(&mut tx, organization_id, user_id, new_agent, created_at)
            .await?;
    let created_ref = AgentRef {
        organization_id,
        agent_id: id,
    };
    gate::ask(&mut tx, prices, created_ref).await?;
    let created = CreatedAgent {
        id,
        name: new_agent.name.clone(),
        created_at,
    };
    guard.complete(&mut tx, &created).await?;
    tx.commit().await?;
    Ok(created)
}
