//! Pairing a browser with an agent: the owner gets a token, and the browser exchanges it once for the agent's key.
//! Owns: how long a token is valid, and that only its digest is stored.

use chrono::TimeDelta;
use sha2::{Digest, Sha256};

use crate::app::error::RequestError;
use crate::db;
use crate::db::Database;
use crate::db::agents::pairing_tokens::{NewPairingToken, RedeemedToken};
use crate::domain::agent::{AgentEvent, StatusConflict};
use crate::domain::ids::{AgentRef, UserId};

/// How long a token is valid: enough for a redirect of the browser.
pub const TOKEN_LIFETIME: TimeDelta = TimeDelta::seconds(60);

/// Stores a token for a running agent. Only a browser at `origin` can redeem it.
pub async fn pairing_begin(
    pool: &Database,
    agent: AgentRef,
    user_id: UserId,
    origin: &str,
    token: &str,
) -> Result<(), RequestError> {
    let AgentRef {
        organization_id,
        agent_id,
    } = agent;
    let mut tx = pool.begin().await?;
    let row = db::agents::lifecycle::agent_lock(&mut tx, agent)
        .await?
        .ok_or(RequestError::AGENT_NOT_FOUND)?;
    row.status.after(AgentEvent::PairingRequested)?;
    if row.api_token.is_none() {
        return Err(StatusConflict("Agent has no key to pair with").into());
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    let new = NewPairingToken {
        hash: &digest(token),
        organization_id,
        user_id,
        agent_id,
        origin,
        expires_at: now + TOKEN_LIFETIME,
    };
    db::agents::pairing_tokens::pairing_token_insert(&mut tx, &new, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Redeems a token. `None` if it is unknown, used, expired or for another origin.
pub async fn pairing_redeem(
    pool: &Database,
    token: &str,
    origin: &str,
) -> sqlx::Result<Option<RedeemedToken>> {
    let mut conn = pool.statements();
    db::agents::pairing_tokens::pairing_token_redeem_of_any_organization(
        &mut conn,
        &digest(token),
        origin,
    )
    .await
}

/// SHA-256, in hex.
fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}
