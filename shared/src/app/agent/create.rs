//! An agent is created. It costs nothing until it is started, but only who could start it creates it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use uuid::Uuid;

use crate::app::error::RequestError;
use crate::app::billing::gate;
use crate::app::idempotency::{Begun, Once, Repeatable, begin};
use crate::db;
use crate::db::agents::owner::NewAgent;
use crate::domain::pricing::Prices;

/// What was created.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Created {
    /// The agent.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// Creates an agent for one of the organization's users.
///
/// # Errors
/// [`RequestError`]; then nothing was created.
pub async fn agent_create(
    pool: &PgPool,
    prices: &Prices,
    owner: (Uuid, Uuid),
    agent: &NewAgent,
    repeatable: Repeatable,
) -> Result<Created, RequestError> {
    let mut once = match begin(pool, repeatable).await? {
        Begun::Again(created) => return Ok(created),
        Begun::First(once) => once,
    };
    let result = create(pool, prices, owner, agent, &mut once).await;
    once.settle(pool, result).await
}

async fn create(
    pool: &PgPool,
    prices: &Prices,
    (organization_id, user_id): (Uuid, Uuid),
    agent: &NewAgent,
    once: &mut Once,
) -> Result<Created, RequestError> {
    let mut tx = pool.begin().await?;
    if let Some(character) = agent.character_id {
        let there =
            db::agents::owner::character_exists(&mut tx, organization_id, character).await?;
        if !there {
            return Err(RequestError::NotFound("Character not found"));
        }
    }
    db::identity::organizations::organizations_lock(&mut tx, &[organization_id]).await?;
    let created_at = db::clock::billing_clock(&mut tx).await?;
    let id = db::agents::owner::agent_insert(
        &mut tx,
        organization_id,
        user_id,
        agent,
        prices.running_hourly,
        created_at,
    )
    .await?;
    gate::clear(&mut tx, prices, organization_id, id).await?;
    let created = Created {
        id,
        name: agent.name.clone(),
        created_at,
    };
    once.complete(&mut tx, &created).await?;
    tx.commit().await?;
    Ok(created)
}
