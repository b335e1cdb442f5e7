//! `milady_pairing_tokens`. Owns: that a token is used once.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::encrypted::EncryptedValue;
use crate::domain::ids::{AgentId, OrganizationId, UserId};
use crate::domain::redacted::debug_without_secrets;

/// A token to be stored. The database holds its hash only.
#[derive(Clone, Debug)]
pub struct NewPairingToken<'a> {
    /// SHA-256 of the token in hex.
    pub hash: &'a str,
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    pub agent_id: AgentId,
    /// The agent's public address. The browser is sent there, and must redeem the token from this origin.
    pub origin: &'a str,
    pub expires_at: DateTime<Utc>,
}

/// Stores a token, and deletes the agent's expired ones.
pub async fn pairing_token_insert(
    conn: &mut Connection,
    token: &NewPairingToken<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM public.milady_pairing_tokens WHERE agent_id = $1 AND expires_at < $2",
        token.agent_id.uuid(),
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO public.milady_pairing_tokens (token_hash, organization_id, user_id, agent_id,
            instance_url, expected_origin, expires_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $5, $6, $7)",
        token.hash,
        token.organization_id.uuid(),
        token.user_id.uuid(),
        token.agent_id.uuid(),
        token.origin,
        token.expires_at,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The agent that a redeemed token gives access to.
#[derive(Clone)]
pub struct RedeemedToken {
    pub agent_id: AgentId,
    pub agent_name: Option<String>,
    /// The agent's key; empty if its environment is encrypted.
    pub api_token: Option<String>,
    environment_key_id: Option<String>,
    environment_ciphertext: Option<Vec<u8>>,
}

debug_without_secrets!(RedeemedToken: agent_id, agent_name);

impl RedeemedToken {
    /// The environment that holds the agent's key, if it is encrypted.
    #[must_use]
    pub fn encrypted_environment(&self) -> Option<EncryptedValue> {
        EncryptedValue::from_columns(
            self.environment_key_id.clone(),
            self.environment_ciphertext.clone(),
        )
    }
}

/// Redeems a token in one statement, so that of simultaneous attempts one succeeds. Returns `None` for a token that
/// is unknown, used, expired or presented from another origin, and if its agent does not run. The token itself says
/// which organization it is of.
pub async fn pairing_token_redeem_of_any_organization(
    conn: &mut Connection,
    hash: &str,
    origin: &str,
) -> sqlx::Result<Option<RedeemedToken>> {
    sqlx::query_as!(
        RedeemedToken,
        r#"UPDATE public.milady_pairing_tokens t SET used_at = cloud.billing_clock()
        FROM public.milady_sandboxes a LEFT JOIN cloud.agent_environments e ON e.agent_id = a.id
        WHERE t.token_hash = $1 AND t.expected_origin = $2 AND t.used_at IS NULL
            AND t.expires_at > cloud.billing_clock() AND a.id = t.agent_id
            AND a.organization_id = t.organization_id AND a.status = 'running'
        RETURNING a.id AS "agent_id!: AgentId", a.agent_name, a.environment_vars ->> 'MILADY_API_TOKEN' AS api_token,
            e.key_id AS "environment_key_id?", e.ciphertext AS "environment_ciphertext?""#,
        hash,
        origin
    )
    .fetch_optional(conn)
    .await
}
