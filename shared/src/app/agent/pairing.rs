//! A browser is paired with an agent: a token is made, and later used once. Owns: how long it lives.

use chrono::TimeDelta;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use crate::app::error::RequestError;
use crate::db;
use crate::db::agents::pairing_tokens::{NewToken, Paired};
use crate::domain::agent::{Change, NotNow};

/// How long a token can be used.
pub const LIFETIME: TimeDelta = TimeDelta::seconds(60);

/// Stores the digest of a token for an agent that runs.
///
/// # Errors
/// [`RequestError`].
pub async fn pairing_begin(
    pool: &PgPool,
    (organization_id, user_id): (Uuid, Uuid),
    agent_id: Uuid,
    origin: &str,
    token: &str,
) -> Result<(), RequestError> {
    let mut tx = pool.begin().await?;
    let agent = db::agents::owner::agent_lock(&mut tx, organization_id, agent_id)
        .await?
        .ok_or(RequestError::NO_AGENT)?;
    agent.status.after(Change::AskPairing)?;
    if agent.api_token.is_none() {
        return Err(NotNow("Agent has no key to pair with").into());
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    let new = NewToken {
        hash: &digest(token),
        organization_id,
        user_id,
        agent_id,
        origin,
        expires_at: now + LIFETIME,
    };
    db::agents::pairing_tokens::pairing_token_insert(&mut tx, &new, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Uses a token up; none for one that opens nothing.
///
/// # Errors
/// Database errors.
pub async fn pairing_end(pool: &PgPool, token: &str, origin: &str) -> sqlx::Result<Option<Paired>> {
    let mut conn = pool.acquire().await?;
    db::agents::pairing_tokens::pairing_token_redeem(&mut conn, &digest(token), origin).await
}

fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}
