//! Which secrets the database holds encrypted. Owns: where each of them is stored, and the form of an environment.

use serde_json::{Map, Value};

use crate::db::agents::secrets::StoredEnvironment;
use crate::db::requests::idempotency::KeyScope;
use crate::domain::encrypted::EncryptedValue;
use crate::domain::ids::{AgentId, JobId};
use crate::domain::webhook::WebhookRef;
use crate::encryption::{EncryptionError, EncryptionErrorReason, EncryptionKeys, Location};

pub(crate) fn environment_location(agent_id: AgentId) -> Location {
    Location::new("cloud.agent_environments", "ciphertext", agent_id)
}

pub(crate) fn database_address_location(agent_id: AgentId) -> Location {
    Location::new("cloud.agent_databases", "ciphertext", agent_id)
}

/// Whether an address holds the name that this product gives an agent's database.
pub(crate) fn names_own_database(agent_id: AgentId, uri: &str) -> bool {
    uri.contains(&format!("agent_{}", agent_id.uuid().simple()))
}

pub(crate) fn webhook_secret_location(job_id: JobId) -> Location {
    Location::new("public.jobs", "webhook_secret", job_id)
}

/// The key that signs, or Slack's URL.
pub(crate) fn organization_webhook_location(webhook: WebhookRef) -> Location {
    let row = format!("{}/{}", webhook.organization_id, webhook.kind.as_str());
    Location::new("cloud.organization_webhooks", "secret", row)
}

/// Where the outcome of a request with an idempotency key is stored.
pub(crate) fn outcome_location(scope: &KeyScope) -> Location {
    let KeyScope {
        organization_id,
        user_id,
        route,
        key,
        digest: _,
    } = scope;
    let row = format!("{organization_id}/{user_id}/{route}/{key}");
    Location::new("cloud.idempotency_keys", "outcome", row)
}

/// The variables of an agent, by their names.
pub(crate) fn environment(
    keys: &EncryptionKeys,
    agent_id: AgentId,
    stored: StoredEnvironment,
) -> Result<Map<String, Value>, EncryptionError> {
    match (&stored.encrypted, stored.column) {
        (Some(encrypted), _) => decrypt_environment(keys, agent_id, encrypted),
        (None, Value::Object(variables)) => Ok(variables),
        // Only the older application wrote other values. They name no variables.
        (None, _) => Ok(Map::new()),
    }
}

pub(crate) fn decrypt_environment(
    keys: &EncryptionKeys,
    agent_id: AgentId,
    encrypted: &EncryptedValue,
) -> Result<Map<String, Value>, EncryptionError> {
    let text = keys.decrypt(encrypted, &environment_location(agent_id))?;
    // The error would hold a part of the text.
    serde_json::from_str(&text).map_err(|_| EncryptionErrorReason::Undecryptable.into())
}

pub(crate) fn encrypt_environment(
    keys: &EncryptionKeys,
    agent_id: AgentId,
    variables: &Value,
) -> Result<EncryptedValue, EncryptionError> {
    keys.encrypt(&variables.to_string(), &environment_location(agent_id))
}

/// What `environment_vars` holds of an encrypted environment: its names, each with an empty value.
pub(crate) fn names_only(variables: &Value) -> Value {
    let names = variables.as_object().into_iter().flat_map(Map::keys);
    let empty = |name: &String| (name.clone(), Value::String(String::new()));
    Value::Object(names.map(empty).collect())
}
