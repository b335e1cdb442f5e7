//! Encrypts stored secrets: those of older keys with the current one, and agents' secrets in `milady_sandboxes` once no
//! older application reads them. Owns: that each transaction has a bounded number of rows, and that a row which cannot be
//! decrypted stops nothing.

use serde_json::Value;
use sqlx::AssertSqlSafe;
use tracing::error;
use uuid::Uuid;

use crate::app::stored_secrets::{
    database_address_location, encrypt_environment, environment, environment_location, names_only,
    names_own_database, organization_webhook_location, webhook_secret_location,
};
use crate::db;
use crate::db::{Connection, Database};
use crate::domain::encrypted::{EncryptedValue, OlderApplication};
use crate::domain::ids::{AgentId, AgentRef, JobId, OrganizationId};
use crate::domain::webhook::{WebhookKind, WebhookRef};
use crate::encryption::{EncryptionError, EncryptionErrorReason, EncryptionKeys, Location};

/// Rows of one transaction. Meanwhile nobody else changes them.
const BATCH_ROWS: i64 = 200;
/// Transactions of one call, for each kind of secret: a hundred thousand rows, far less than 15 minutes.
pub const MAX_BATCHES: usize = 500;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncryptionProgress {
    /// Rows that this call encrypted.
    pub encrypted: usize,
    /// Rows that are not encrypted with the current key.
    pub left: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum EncryptSecretsError {
    #[error("OLDER_APPLICATION=gone needs SECRETS_KEYS")]
    NoKey,
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    #[error("the database request failed ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
}

/// A table with an encrypted value per agent.
#[derive(Clone, Copy)]
struct Table {
    name: &'static str,
    location: fn(AgentId) -> Location,
}

const TABLES: [Table; 2] = [
    Table {
        name: "cloud.agent_databases",
        location: database_address_location,
    },
    Table {
        name: "cloud.agent_environments",
        location: environment_location,
    },
];

/// Encrypts what is not encrypted with the current key, in at most `max_batches` transactions for each kind of secret.
/// Safe to repeat. Does nothing without a key.
pub async fn encrypt_secrets(
    owner: &Database,
    keys: &EncryptionKeys,
    older_application: OlderApplication,
    max_batches: usize,
) -> Result<EncryptionProgress, EncryptSecretsError> {
    let is_gone = older_application == OlderApplication::Gone;
    let Some(key_id) = keys.current_id() else {
        return if is_gone {
            Err(EncryptSecretsError::NoKey)
        } else {
            Ok(EncryptionProgress::default())
        };
    };
    let mut encrypted = 0;
    for table in TABLES {
        encrypted += encrypt_table(owner, keys, key_id, table, max_batches).await?;
    }
    encrypted += encrypt_webhook_secrets(owner, keys, key_id, max_batches).await?;
    if is_gone {
        encrypted += encrypt_agents(owner, keys, max_batches).await?;
    }
    let mut conn = owner.statements();
    let left = count_left(&mut conn, key_id, is_gone).await?;
    Ok(EncryptionProgress { encrypted, left })
}

#[derive(sqlx::FromRow)]
struct EncryptedRow {
    agent_id: AgentId,
    key_id: String,
    ciphertext: Vec<u8>,
}

async fn encrypt_table(
    owner: &Database,
    keys: &EncryptionKeys,
    key_id: &str,
    table: Table,
    max_batches: usize,
) -> Result<usize, EncryptSecretsError> {
    let Table { name, location } = table;
    let select = format!(
        "SELECT agent_id, key_id, ciphertext FROM {name} WHERE agent_id > $1 AND key_id <> $2
        ORDER BY agent_id LIMIT $3 FOR UPDATE"
    );
    let update = format!("UPDATE {name} SET key_id = $2, ciphertext = $3 WHERE agent_id = $1");
    let mut encrypted = 0;
    let mut last = AgentId::new(Uuid::nil());
    for _ in 0..max_batches {
        let mut tx = owner.begin().await?;
        let rows: Vec<EncryptedRow> = sqlx::query_as(AssertSqlSafe(select.as_str()))
            .bind(last)
            .bind(key_id)
            .bind(BATCH_ROWS)
            .fetch_all(&mut *tx)
            .await?;
        let Some(row) = rows.last() else { break };
        last = row.agent_id;
        for row in rows {
            let location = location(row.agent_id);
            let value = EncryptedValue {
                key_id: row.key_id,
                ciphertext: row.ciphertext,
            };
            let Some(text) = readable(keys.decrypt(&value, &location), name, row.agent_id.uuid())
            else {
                continue;
            };
            let value = keys.encrypt(&text, &location)?;
            sqlx::query(AssertSqlSafe(update.as_str()))
                .bind(row.agent_id)
                .bind(value.key_id)
                .bind(value.ciphertext)
                .execute(&mut *tx)
                .await?;
            encrypted += 1;
        }
        tx.commit().await?;
    }
    Ok(encrypted)
}

/// A column of secrets that are encrypted as texts: see `EncryptionKeys::encrypt_to_text`.
#[derive(Clone, Copy)]
struct TextColumn<'a> {
    table: &'static str,
    /// The column that identifies a row among `rows`.
    id: &'static str,
    secret: &'static str,
    /// The condition for the rows that hold a secret.
    rows: &'a str,
    location: &'a (dyn Fn(Uuid) -> Location + Sync),
}

#[derive(sqlx::FromRow)]
struct TextRow {
    id: Uuid,
    secret: String,
}

async fn encrypt_webhook_secrets(
    owner: &Database,
    keys: &EncryptionKeys,
    key_id: &str,
    max_batches: usize,
) -> Result<usize, EncryptSecretsError> {
    let of_jobs = TextColumn {
        table: "public.jobs",
        id: "id",
        secret: "webhook_secret",
        rows: "webhook_secret IS NOT NULL",
        location: &|id: Uuid| webhook_secret_location(JobId::new(id)),
    };
    let mut encrypted = encrypt_texts(owner, keys, key_id, &of_jobs, max_batches).await?;
    for kind in WebhookKind::ALL.iter().copied() {
        let of_kind = format!("kind = '{}'", kind.as_str());
        let of_organizations = TextColumn {
            table: "cloud.organization_webhooks",
            id: "organization_id",
            secret: "secret",
            rows: &of_kind,
            location: &|id: Uuid| {
                organization_webhook_location(WebhookRef {
                    organization_id: OrganizationId::new(id),
                    kind,
                })
            },
        };
        encrypted += encrypt_texts(owner, keys, key_id, &of_organizations, max_batches).await?;
    }
    Ok(encrypted)
}

async fn encrypt_texts(
    owner: &Database,
    keys: &EncryptionKeys,
    key_id: &str,
    column: &TextColumn<'_>,
    max_batches: usize,
) -> Result<usize, EncryptSecretsError> {
    let TextColumn {
        table,
        id,
        secret,
        rows,
        location,
    } = *column;
    let select = format!(
        "SELECT {id} AS id, {secret} AS secret FROM {table}
        WHERE {id} > $1 AND NOT starts_with({secret}, $2::text || ':') AND {rows} ORDER BY {id} LIMIT $3 FOR UPDATE"
    );
    let update = format!("UPDATE {table} SET {secret} = $2 WHERE {id} = $1 AND {rows}");
    let mut encrypted = 0;
    let mut last = Uuid::nil();
    for _ in 0..max_batches {
        let mut tx = owner.begin().await?;
        let rows: Vec<TextRow> = sqlx::query_as(AssertSqlSafe(select.as_str()))
            .bind(last)
            .bind(key_id)
            .bind(BATCH_ROWS)
            .fetch_all(&mut *tx)
            .await?;
        let Some(row) = rows.last() else { break };
        last = row.id;
        for row in rows {
            let location = location(row.id);
            let secret = keys.decrypt_text(&row.secret, &location);
            let Some(secret) = readable(secret, table, row.id) else {
                continue;
            };
            let secret = keys.encrypt_to_text(&secret, &location)?;
            sqlx::query(AssertSqlSafe(update.as_str()))
                .bind(row.id)
                .bind(secret)
                .execute(&mut *tx)
                .await?;
            encrypted += 1;
        }
        tx.commit().await?;
    }
    Ok(encrypted)
}

/// An agent whose secrets are in `milady_sandboxes`.
struct PlainAgent {
    id: AgentId,
    organization_id: OrganizationId,
    environment_vars: Value,
    database_uri: Option<String>,
    neon_project_id: Option<String>,
}

/// Encrypts agents' secrets in `milady_sandboxes`, where only the names of variables stay.
async fn encrypt_agents(
    owner: &Database,
    keys: &EncryptionKeys,
    max_batches: usize,
) -> Result<usize, EncryptSecretsError> {
    let mut encrypted = 0;
    let mut last = AgentId::new(Uuid::nil());
    for _ in 0..max_batches {
        let mut tx = owner.begin().await?;
        let agents = sqlx::query_as!(
            PlainAgent,
            r#"SELECT id, organization_id, environment_vars, database_uri, neon_project_id
            FROM public.milady_sandboxes
            WHERE id > $1 AND (database_uri IS NOT NULL OR CASE jsonb_typeof(environment_vars)
                WHEN 'object' THEN EXISTS (SELECT FROM jsonb_each_text(environment_vars) AS v WHERE v.value <> '')
                ELSE false END)
            ORDER BY id LIMIT $2 FOR NO KEY UPDATE"#,
            last.uuid(),
            BATCH_ROWS
        )
        .fetch_all(&mut *tx)
        .await?;
        let Some(agent) = agents.last() else { break };
        last = agent.id;
        for agent in agents {
            if encrypt_environment_of(&mut tx, keys, &agent).await? {
                encrypt_address_of(&mut tx, keys, &agent).await?;
                encrypted += 1;
            }
        }
        tx.commit().await?;
    }
    Ok(encrypted)
}

impl PlainAgent {
    fn agent_ref(&self) -> AgentRef {
        AgentRef {
            organization_id: self.organization_id,
            agent_id: self.id,
        }
    }
}

/// Returns `false` if the agent has an environment that cannot be decrypted.
async fn encrypt_environment_of(
    conn: &mut Connection,
    keys: &EncryptionKeys,
    agent: &PlainAgent,
) -> Result<bool, EncryptSecretsError> {
    let Value::Object(plain) = &agent.environment_vars else {
        return Ok(true);
    };
    if plain.values().all(|value| value.as_str() == Some("")) {
        return Ok(true);
    }
    let agent_ref = agent.agent_ref();
    // The row is locked, so this is what it says.
    let stored = db::agents::secrets::environment_find(conn, agent_ref).await?;
    let Some(stored) = stored else {
        return Ok(false);
    };
    let was_encrypted = stored.encrypted.is_some();
    let variables = environment(keys, agent.id, stored);
    let Some(mut variables) = readable(variables, "cloud.agent_environments", agent.id.uuid())
    else {
        return Ok(false);
    };
    // What somebody wrote after the environment was encrypted replaces what it held.
    for (name, value) in plain {
        if !was_encrypted || value.as_str() != Some("") {
            variables.insert(name.clone(), value.clone());
        }
    }
    let variables = Value::Object(variables);
    let encrypted = encrypt_environment(keys, agent.id, &variables)?;
    db::agents::secrets::encrypted_environment_set(conn, agent_ref, &encrypted).await?;
    let names = names_only(&variables);
    db::agents::secrets::environment_column_set(conn, agent_ref, &names).await?;
    Ok(true)
}

async fn encrypt_address_of(
    conn: &mut Connection,
    keys: &EncryptionKeys,
    agent: &PlainAgent,
) -> Result<(), EncryptSecretsError> {
    let Some(uri) = &agent.database_uri else {
        return Ok(());
    };
    let is_own = agent.neon_project_id.is_some() || names_own_database(agent.id, uri);
    let address = keys.encrypt(uri, &database_address_location(agent.id))?;
    // An address that is encrypted already is newer.
    sqlx::query!(
        "INSERT INTO cloud.agent_databases (agent_id, key_id, ciphertext, is_own) VALUES ($1, $2, $3, $4)
        ON CONFLICT (agent_id) DO NOTHING",
        agent.id.uuid(),
        address.key_id,
        address.ciphertext,
        is_own
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE public.milady_sandboxes SET database_uri = NULL WHERE id = $1",
        agent.id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn count_left(conn: &mut Connection, key_id: &str, is_gone: bool) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT (SELECT count(*) FROM cloud.agent_databases WHERE key_id <> $1)
            + (SELECT count(*) FROM cloud.agent_environments WHERE key_id <> $1)
            + (SELECT count(*) FROM public.jobs WHERE NOT starts_with(webhook_secret, $1::text || ':'))
            + (SELECT count(*) FROM cloud.organization_webhooks WHERE NOT starts_with(secret, $1::text || ':'))
            + (SELECT count(*) FROM public.milady_sandboxes
                WHERE $2 AND (database_uri IS NOT NULL OR CASE jsonb_typeof(environment_vars)
                    WHEN 'object' THEN EXISTS (SELECT FROM jsonb_each_text(environment_vars) AS v WHERE v.value <> '')
                    ELSE false END)) AS "left!""#,
        key_id,
        is_gone
    )
    .fetch_one(conn)
    .await
}

/// Logs which row cannot be decrypted. It stays as it is.
pub(super) fn readable<T>(
    decrypted: Result<T, EncryptionError>,
    table: &'static str,
    row: Uuid,
) -> Option<T> {
    match decrypted {
        Ok(value) => Some(value),
        Err(error) => {
            let advice = match error.reason() {
                EncryptionErrorReason::UnknownKey => "add its key to SECRETS_KEYS",
                _ => "it was changed or copied from another row",
            };
            error!(table, %row, "a secret cannot be decrypted: {advice}");
            None
        }
    }
}
