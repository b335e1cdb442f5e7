//! Creating an agent. It costs nothing before its first start. All the same the credit gate decides: an organization
//! that could not start the agent cannot create it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::limits;
use crate::app::billing::gate;
use crate::app::error::RequestError;
use crate::app::idempotency::{IdempotencyGuard, IdempotencyKey, run_once};
use crate::app::stored_secrets::{encrypt_environment, names_only};
use crate::db;
use crate::db::agents::records::NewAgent;
use crate::db::{Connection, Database};
use crate::domain::encrypted::OlderApplication;
use crate::domain::ids::{AgentId, AgentRef, OrganizationId, UserId};
use crate::domain::pricing::Prices;
use crate::encryption::EncryptionKeys;

#[derive(Clone, Copy, Debug)]
pub struct CreateDeps<'a> {
    pub pool: &'a Database,
    pub prices: &'a Prices,
    /// Encrypt the environment if no older application reads it.
    pub keys: &'a EncryptionKeys,
    pub older_application: OlderApplication,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreatedAgent {
    pub id: AgentId,
    pub name: String,
    pub created_at: DateTime<Utc>,
}

/// Creates an agent for one of the organization's users.
pub async fn agent_create(
    deps: CreateDeps<'_>,
    organization_id: OrganizationId,
    user_id: UserId,
    new_agent: &NewAgent,
    key: IdempotencyKey,
) -> Result<CreatedAgent, RequestError> {
    run_once(deps.pool, key, async |guard| {
        create(deps, organization_id, user_id, new_agent, guard).await
    })
    .await
}

async fn create(
    deps: CreateDeps<'_>,
    organization_id: OrganizationId,
    user_id: UserId,
    new_agent: &NewAgent,
    guard: &mut IdempotencyGuard,
) -> Result<CreatedAgent, RequestError> {
    let mut tx = deps.pool.begin().await?;
    if let Some(character_id) = new_agent.character_id
        && !db::agents::records::character_exists(&mut tx, organization_id, character_id).await?
    {
        return Err(RequestError::NotFound("Character not found"));
    }
    // Before the agent's row exists: everybody locks the organization before an agent.
    db::identity::organizations::organizations_lock(&mut tx, &[organization_id]).await?;
    limits::check_agents(&mut tx, organization_id).await?;
    let created_at = db::clock::billing_clock(&mut tx).await?;
    let created_ref = insert(
        &mut tx,
        deps,
        organization_id,
        user_id,
        new_agent,
        created_at,
    )
    .await?;
    gate::ask(&mut tx, deps.prices, created_ref).await?;
    let created = CreatedAgent {
        id: created_ref.agent_id,
        name: new_agent.name.clone(),
        created_at,
    };
    guard.complete(&mut tx, &created).await?;
    tx.commit().await?;
    Ok(created)
}

/// Inserts the agent's row. An environment that is to be encrypted is never written in plain text.
async fn insert(
    conn: &mut Connection,
    deps: CreateDeps<'_>,
    organization_id: OrganizationId,
    user_id: UserId,
    new_agent: &NewAgent,
    created_at: DateTime<Utc>,
) -> Result<AgentRef, RequestError> {
    let is_encrypted = deps.older_application == OlderApplication::Gone;
    let mut row = new_agent.clone();
    if is_encrypted {
        row.environment = names_only(&new_agent.environment);
    }
    let agent_id =
        db::agents::records::agent_insert(conn, organization_id, user_id, &row, created_at).await?;
    let agent = AgentRef {
        organization_id,
        agent_id,
    };
    if is_encrypted {
        let encrypted = encrypt_environment(deps.keys, agent_id, &new_agent.environment)?;
        db::agents::secrets::encrypted_environment_set(conn, agent, &encrypted).await?;
    }
    Ok(agent)
}
