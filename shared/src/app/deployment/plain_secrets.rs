//! Writes agents' secrets back into `milady_sandboxes` in plain text, for an older application that takes its database back.
//! Owns: that each transaction has a bounded number of rows, and that a row which cannot be decrypted stays as it is.

use serde_json::Value;

use super::secrets::readable;
use crate::app::stored_secrets::{database_address_location, decrypt_environment};
use crate::db;
use crate::db::{Connection, Database};
use crate::domain::encrypted::{EncryptedValue, OlderApplication};
use crate::domain::ids::AgentId;
use crate::encryption::EncryptionKeys;

/// Rows of one transaction. Meanwhile nobody else changes them.
const BATCH_ROWS: i64 = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecryptionProgress {
    /// Agents that this call has written back.
    pub decrypted: usize,
    /// Agents that still have an encrypted secret.
    pub left: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum DecryptSecretsError {
    #[error(
        "secrets are decrypted only with OLDER_APPLICATION=present; else they would be encrypted again"
    )]
    OlderApplicationGone,
    #[error("the database request failed ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
}

/// An agent with an encrypted secret.
struct EncryptedAgent {
    id: AgentId,
    /// The names of its variables, with what another application wrote after they were encrypted.
    environment_vars: Value,
    environment: Option<EncryptedValue>,
    address: Option<EncryptedValue>,
}

/// Decrypts the environments and the addresses of the databases of all agents, in at most `max_batches` transactions. Safe to
/// repeat.
pub async fn decrypt_secrets(
    owner: &Database,
    keys: &EncryptionKeys,
    older_application: OlderApplication,
    max_batches: usize,
) -> Result<DecryptionProgress, DecryptSecretsError> {
    if older_application == OlderApplication::Gone {
        return Err(DecryptSecretsError::OlderApplicationGone);
    }
    let mut decrypted = 0;
    let mut last = None;
    for _ in 0..max_batches {
        let mut tx = owner.begin().await?;
        let agents = encrypted_agents(&mut tx, last).await?;
        let Some(found) = agents.last() else { break };
        last = Some(found.id);
        for agent in &agents {
            decrypted += usize::from(write_back(&mut tx, keys, agent).await?);
        }
        tx.commit().await?;
    }
    let mut conn = owner.statements();
    let left = sqlx::query_scalar!(
        r#"SELECT count(*) AS "left!" FROM public.milady_sandboxes a
        WHERE EXISTS (SELECT FROM cloud.agent_environments e WHERE e.agent_id = a.id)
            OR EXISTS (SELECT FROM cloud.agent_databases d WHERE d.agent_id = a.id)"#
    )
    .fetch_one(&mut conn)
    .await?;
    Ok(DecryptionProgress { decrypted, left })
}

/// Locks the next agents after `last`.
async fn encrypted_agents(
    conn: &mut Connection,
    last: Option<AgentId>,
) -> sqlx::Result<Vec<EncryptedAgent>> {
    let rows = sqlx::query!(
        r#"SELECT a.id, a.environment_vars, e.key_id AS "environment_key?", e.ciphertext AS "environment?",
            d.key_id AS "address_key?", d.ciphertext AS "address?"
        FROM public.milady_sandboxes a
        LEFT JOIN cloud.agent_environments e ON e.agent_id = a.id
        LEFT JOIN cloud.agent_databases d ON d.agent_id = a.id
        WHERE ($1::uuid IS NULL OR a.id > $1) AND (e.agent_id IS NOT NULL OR d.agent_id IS NOT NULL)
        ORDER BY a.id LIMIT $2 FOR NO KEY UPDATE OF a"#,
        last.map(AgentId::uuid),
        BATCH_ROWS
    )
    .fetch_all(conn)
    .await?;
    let agents = rows.into_iter().map(|row| EncryptedAgent {
        id: row.id,
        environment_vars: row.environment_vars,
        environment: EncryptedValue::from_columns(row.environment_key, row.environment),
        address: EncryptedValue::from_columns(row.address_key, row.address),
    });
    Ok(agents.collect())
}

/// Returns `false` if a secret of the agent cannot be decrypted.
async fn write_back(
    conn: &mut Connection,
    keys: &EncryptionKeys,
    agent: &EncryptedAgent,
) -> sqlx::Result<bool> {
    let row = agent.id.uuid();
    let mut environment = None;
    if let Some(value) = &agent.environment {
        let variables = decrypt_environment(keys, agent.id, value);
        let Some(mut variables) = readable(variables, "cloud.agent_environments", row) else {
            return Ok(false);
        };
        // What another application wrote all the same is newer.
        for (name, value) in agent.environment_vars.as_object().into_iter().flatten() {
            if value.as_str() != Some("") {
                variables.insert(name.clone(), value.clone());
            }
        }
        environment = Some(Value::Object(variables));
    }
    let mut address = None;
    if let Some(value) = &agent.address {
        let decrypted = keys.decrypt(value, &database_address_location(agent.id));
        let Some(decrypted) = readable(decrypted, "cloud.agent_databases", row) else {
            return Ok(false);
        };
        address = Some(decrypted);
    }
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET environment_vars = coalesce($2, environment_vars),
            database_uri = coalesce($3, database_uri)
        WHERE id = $1",
        row,
        environment,
        address
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM cloud.agent_environments WHERE agent_id = $1",
        row
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("DELETE FROM cloud.agent_databases WHERE agent_id = $1", row)
        .execute(conn)
        .await?;
    Ok(true)
}
