//! An agent's secrets: `environment_vars`, or `cloud.agent_environments` once they are encrypted, and the address of its
//! database in `cloud.agent_databases`. Does not own: the keys (`encryption`).

use serde_json::Value;

use crate::db::session::Connection;
use crate::domain::encrypted::EncryptedValue;
use crate::domain::ids::AgentRef;
use crate::domain::redacted::debug_without_secrets;

/// An environment as it is stored.
#[derive(Clone)]
pub struct StoredEnvironment {
    /// `environment_vars`: the variables, or only their names if the environment is encrypted.
    pub column: Value,
    pub encrypted: Option<EncryptedValue>,
}

debug_without_secrets!(StoredEnvironment: encrypted);

/// Reads an agent's environment. Who is going to change it holds the agent's lock.
pub async fn environment_find(
    conn: &mut Connection,
    agent: AgentRef,
) -> sqlx::Result<Option<StoredEnvironment>> {
    let row = sqlx::query!(
        r#"SELECT a.environment_vars, e.key_id AS "key_id?", e.ciphertext AS "ciphertext?"
        FROM public.milady_sandboxes a LEFT JOIN cloud.agent_environments e ON e.agent_id = a.id
        WHERE a.organization_id = $1 AND a.id = $2"#,
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| StoredEnvironment {
        column: row.environment_vars,
        encrypted: EncryptedValue::from_columns(row.key_id, row.ciphertext),
    }))
}

/// Replaces `environment_vars`.
pub async fn environment_column_set(
    conn: &mut Connection,
    agent: AgentRef,
    variables: &Value,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET environment_vars = $3 WHERE organization_id = $1 AND id = $2",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        variables
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Replaces the encrypted environment. From now on `environment_vars` must hold no more than the names.
pub async fn encrypted_environment_set(
    conn: &mut Connection,
    agent: AgentRef,
    environment: &EncryptedValue,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.agent_environments (agent_id, key_id, ciphertext)
        SELECT id, $3, $4 FROM public.milady_sandboxes WHERE organization_id = $1 AND id = $2
        ON CONFLICT (agent_id) DO UPDATE SET key_id = excluded.key_id, ciphertext = excluded.ciphertext",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        environment.key_id,
        environment.ciphertext
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Replaces the address of the agent's database. `is_own` says whether this product created the database.
pub async fn database_address_set(
    conn: &mut Connection,
    agent: AgentRef,
    address: &EncryptedValue,
    is_own: bool,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.agent_databases (agent_id, key_id, ciphertext, is_own)
        SELECT id, $3, $4, $5 FROM public.milady_sandboxes WHERE organization_id = $1 AND id = $2
        ON CONFLICT (agent_id) DO UPDATE SET key_id = excluded.key_id, ciphertext = excluded.ciphertext,
            is_own = excluded.is_own",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        address.key_id,
        address.ciphertext,
        is_own
    )
    .execute(conn)
    .await?;
    Ok(())
}
