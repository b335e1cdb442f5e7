//! Pairing a browser with an agent: the owner gets a token, and the browser exchanges it once for the agent's key.
//! Owns: how long a token is valid, and that only its digest is stored.

use chrono::TimeDelta;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::app::error::RequestError;
use crate::app::stored_secrets::decrypt_environment;
use crate::db;
use crate::db::Database;
use crate::db::agents::pairing_tokens::NewPairingToken;
use crate::domain::agent::{AgentEvent, StatusConflict};
use crate::domain::container::API_TOKEN;
use crate::domain::ids::{AgentRef, UserId};
use crate::domain::redacted::debug_without_secrets;
use crate::encryption::EncryptionKeys;

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
    if !row.has_api_token {
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

/// The agent that a browser was paired with.
#[derive(Clone)]
pub struct PairedAgent {
    pub agent_name: Option<String>,
    /// `None` if the agent has lost its key since the token was made.
    pub api_token: Option<String>,
}

debug_without_secrets!(PairedAgent: agent_name);

/// Redeems a token. `None` if it is unknown, used, expired or for another origin. It stays valid if the agent's key
/// cannot be decrypted.
pub async fn pairing_redeem(
    pool: &Database,
    keys: &EncryptionKeys,
    token: &str,
    origin: &str,
) -> Result<Option<PairedAgent>, RequestError> {
    let mut tx = pool.begin().await?;
    let hash = digest(token);
    let redeemed = db::agents::pairing_tokens::pairing_token_redeem_of_any_organization(
        &mut tx, &hash, origin,
    );
    let Some(redeemed) = redeemed.await? else {
        return Ok(None);
    };
    let api_token = match redeemed.encrypted_environment() {
        Some(environment) => {
            let variables = decrypt_environment(keys, redeemed.agent_id, &environment)?;
            let token = variables.get(API_TOKEN).and_then(Value::as_str);
            token.map(str::to_owned)
        }
        None => redeemed.api_token,
    };
    tx.commit().await?;
    Ok(Some(PairedAgent {
        agent_name: redeemed.agent_name,
        api_token,
    }))
}

/// SHA-256, in hex.
fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}
