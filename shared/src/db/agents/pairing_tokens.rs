//! `milady_pairing_tokens`. Owns: that a token is used once.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// A token to be stored; its text is not among the fields.
#[derive(Clone, Debug)]
pub struct NewToken<'a> {
    /// SHA-256 of its text, in hex.
    pub hash: &'a str,
    /// Whose agent.
    pub organization_id: Uuid,
    /// Who asked.
    pub user_id: Uuid,
    /// For which agent.
    pub agent_id: Uuid,
    /// The agent's public address: where the browser is sent, and the origin it must come back from.
    pub origin: &'a str,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

/// Stores a token, and forgets the agent's expired ones.
///
/// # Errors
/// Database errors.
pub async fn pairing_token_insert(
    conn: &mut PgConnection,
    token: &NewToken<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM milady_pairing_tokens WHERE agent_id = $1 AND expires_at < $2",
        token.agent_id,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO milady_pairing_tokens (token_hash, organization_id, user_id, agent_id,
            instance_url, expected_origin, expires_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $5, $6, $7)",
        token.hash,
        token.organization_id,
        token.user_id,
        token.agent_id,
        token.origin,
        token.expires_at,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a redeemed token opens.
#[derive(Clone, Debug)]
pub struct Paired {
    /// The agent's name.
    pub agent_name: Option<String>,
    /// The agent's key.
    pub api_token: Option<String>,
}

/// Uses a token up, in one statement: of simultaneous attempts one succeeds. None for a token that is
/// unknown, used, expired or presented from another origin, and for an agent that is gone or does not
/// run.
///
/// # Errors
/// Database errors.
pub async fn pairing_token_redeem(
    conn: &mut PgConnection,
    hash: &str,
    origin: &str,
) -> sqlx::Result<Option<Paired>> {
    let row = sqlx::query!(
        "UPDATE milady_pairing_tokens t SET used_at = billing_clock()
        FROM milady_sandboxes a
        WHERE t.token_hash = $1 AND t.expected_origin = $2 AND t.used_at IS NULL
            AND t.expires_at > billing_clock() AND a.id = t.agent_id
            AND a.organization_id = t.organization_id AND a.status = 'running'
        RETURNING a.agent_name, a.environment_vars ->> 'MILADY_API_TOKEN' AS api_token",
        hash,
        origin
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Paired {
        agent_name: row.agent_name,
        api_token: row.api_token,
    }))
}
