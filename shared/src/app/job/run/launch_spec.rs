//! What an agent's container is launched with. Owns: its environment with the secrets that are made once, and again after
//! the loss of a host, its ports on the host, its volume. Does not own: the names of its variables (`domain::container`), its rights (`hosts`).

use serde_json::{Map, Value, json};

use super::context::JobContext;
use super::error::StepError;
use super::placement::HostSlot;
use super::volume_copy::CopySource;
use crate::app::stored_secrets;
use crate::db;
use crate::db::Connection;
use crate::db::agents::placement::RuntimeRecord;
use crate::domain::container::{
    self, API_TOKEN, BRIDGE_PORT, JWT_SECRET, PlatformVariables, WEB_PORT,
};
use crate::domain::encrypted::OlderApplication;
use crate::domain::placement::Ports;
use crate::hosts::{ContainerSpec, DataMount, PublishedPort};

const LOOPBACK: &str = "127.0.0.1";
const ALL_ADDRESSES: &str = "0.0.0.0";

/// What is to be launched.
pub(super) struct LaunchSpec<'a> {
    pub(super) image: String,
    /// The version of the image, if it is known although the reference does not name it.
    pub(super) image_digest: Option<String>,
    pub(super) database_uri: Option<String>,
    /// The agent gets the state of a backup although its volume may be on the host.
    pub(super) restores_backup: bool,
    /// Where the agent's volume is copied from.
    pub(super) copy_source: Option<&'a CopySource>,
    pub(super) record: &'a RuntimeRecord,
}

impl LaunchSpec<'_> {
    /// The container's environment as `NAME=value`. Makes the secrets that the agent keeps over all its starts, if it
    /// has none yet, or if a copy of the agent on a lost host may know them.
    pub(super) async fn environment(
        &self,
        context: &JobContext<'_>,
    ) -> Result<Vec<String>, StepError> {
        let owners_variables = self.ensure_secrets(context).await?;
        let mut origins = context.hosts.origins.clone();
        if let Some(domain) = &context.hosts.domain {
            origins.push(format!("https://{}.{domain}", context.agent_id));
        }
        let platform = PlatformVariables {
            agent_name: self.record.agent_name.as_deref().unwrap_or_default(),
            config: self.record.agent_config.as_ref(),
            origins: &origins,
            database_uri: self.database_uri.as_deref(),
        };
        Ok(container::environment(
            &Value::Object(owners_variables),
            &platform,
        ))
    }

    /// The owner's variables with the agent's secrets.
    async fn ensure_secrets(
        &self,
        context: &JobContext<'_>,
    ) -> Result<Map<String, Value>, StepError> {
        let keys = &context.hosts.keys;
        let agent = context.agent();
        let mut tx = context.pool.begin().await?;
        // A statement of its own: what is read after it is as the last writer left it.
        let locked = db::agents::lifecycle::agent_lock(&mut tx, agent).await?;
        locked.ok_or(StepError::Lost)?;
        let stored = db::agents::secrets::environment_find(&mut tx, agent).await?;
        let stored = stored.ok_or(StepError::Lost)?;
        let is_encrypted =
            stored.encrypted.is_some() || context.hosts.older_application == OlderApplication::Gone;
        let mut variables = stored_secrets::environment(keys, agent.agent_id, stored)?;
        let known = db::agents::losses::known_secrets_find(&mut tx, agent).await?;
        let mut is_complete = true;
        for name in [JWT_SECRET, API_TOKEN] {
            if known.is_some() || is_missing(variables.get(name)) {
                variables.insert(name.to_owned(), json!(context.random_secret()?));
                is_complete = false;
            }
        }
        if !is_complete {
            store_environment(&mut tx, context, &variables, is_encrypted).await?;
        }
        if known.is_some() {
            db::agents::losses::lost_agent_delete(&mut tx, agent).await?;
        }
        tx.commit().await?;
        Ok(variables)
    }

    pub(super) fn container(
        &self,
        context: &JobContext<'_>,
        slot: &HostSlot,
        environment: &[String],
        ports: Ports,
    ) -> ContainerSpec {
        let name = container::name(context.agent_id);
        // A directory of the host is only there on the host that it was mounted on.
        let directory = self.record.data_bind.clone();
        let data = directory
            .filter(|_| !slot.is_new_host)
            .map_or_else(|| DataMount::Volume(name.clone()), DataMount::Directory);
        ContainerSpec {
            name,
            image: self.image.clone(),
            environment: environment.to_vec(),
            ports: published_ports(slot, ports),
            data,
            agent_id: context.agent_id.to_string(),
            organization_id: context.job.organization_id.to_string(),
            job_id: context.job.id.to_string(),
            attempt: context.job.attempt,
            receives_data: self.copy_source.is_some(),
            limits: slot.limits,
            disk_bytes: slot.host.node.metadata["agentDiskBytes"].as_u64(),
        }
    }
}

fn is_missing(variable: Option<&Value>) -> bool {
    match variable {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    }
}

/// Stores an environment, encrypted or not.
async fn store_environment(
    conn: &mut Connection,
    context: &JobContext<'_>,
    variables: &Map<String, Value>,
    is_encrypted: bool,
) -> Result<(), StepError> {
    let agent = context.agent();
    let variables = Value::Object(variables.clone());
    if !is_encrypted {
        db::agents::secrets::environment_column_set(conn, agent, &variables).await?;
        return Ok(());
    }
    let keys = &context.hosts.keys;
    let encrypted = stored_secrets::encrypt_environment(keys, agent.agent_id, &variables)?;
    db::agents::secrets::encrypted_environment_set(conn, agent, &encrypted).await?;
    let names = stored_secrets::names_only(&variables);
    db::agents::secrets::environment_column_set(conn, agent, &names).await?;
    Ok(())
}

fn published_ports(slot: &HostSlot, ports: Ports) -> Vec<PublishedPort> {
    let publish = |container, host, address: &str| PublishedPort {
        container,
        host,
        address: address.to_owned(),
    };
    let public_address = slot.host.setting("publishAddress").unwrap_or(ALL_ADDRESSES);
    let mut published = vec![
        publish(BRIDGE_PORT, ports.bridge, LOOPBACK),
        publish(WEB_PORT, ports.web, public_address),
    ];
    // The health check connects to the host's loopback.
    if public_address != ALL_ADDRESSES && public_address != LOOPBACK {
        published.push(publish(WEB_PORT, ports.web, LOOPBACK));
    }
    published
}
