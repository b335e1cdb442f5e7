//! An operator registers a host. Owns: connecting to the host before its row is written. Its key is pinned at once, and
//! the operator learns at once what is wrong with it.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::info;

use crate::app::error::RequestError;
use crate::app::idempotency::{IdempotencyGuard, IdempotencyKey, run_once};
use crate::db;
use crate::db::Database;
use crate::db::hosts::registry::{HostRecord, NewHost};
use crate::db::requests::audit_log::AuditEntry;
use crate::domain::fleet::HostReadError;
use crate::domain::ids::UserId;
use crate::hosts::{DOCKER_SOCKET, Fingerprint, HostClient, Target};

pub(crate) const ADDRESS_REFUSED: RequestError = RequestError::Invalid {
    field: "hostname",
    message: "leads to an address that is not allowed",
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RegisteredHost {
    pub node: HostRecord,
    /// What is wrong with the host; `None` if it can be used.
    pub warning: Option<String>,
}

/// Registers a host, even one that cannot be reached or that refuses our key.
///
/// # Errors
/// [`RequestError::Conflict`] if the name is taken; [`RequestError::Invalid`] if the host's address is not allowed or
/// its key is not the given one.
pub async fn node_register(
    pool: &Database,
    hosts: &HostClient,
    admin_id: UserId,
    node: NewHost,
    key: IdempotencyKey,
) -> Result<RegisteredHost, RequestError> {
    run_once(pool, key, async |guard| {
        register(pool, hosts, admin_id, node, guard).await
    })
    .await
}

async fn register(
    pool: &Database,
    hosts: &HostClient,
    admin_id: UserId,
    mut node: NewHost,
    guard: &mut IdempotencyGuard,
) -> Result<RegisteredHost, RequestError> {
    let mut conn = pool.statements();
    let existing = db::hosts::coordinates::host_find(&mut conn, &node.node_id).await?;
    // Nothing holds a connection while it waits for a host.
    drop(conn);
    if existing.is_some() {
        return Err(name_taken(&node.node_id));
    }
    let warning = probe(hosts, &mut node).await?;
    let mut tx = pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let inserted = db::hosts::registry::host_insert(&mut tx, &node, now).await;
    let record = inserted.map_err(|error| {
        if db::is_unique_violation(&error) {
            name_taken(&node.node_id)
        } else {
            error.into()
        }
    })?;
    let action = AuditEntry {
        user_id: admin_id,
        action: "node.register",
        subject: &node.node_id,
        details: json!({
            "hostname": node.hostname, "sshPort": node.ssh_port, "sshUser": node.ssh_user,
            "capacity": node.capacity, "hostKeyFingerprint": node.host_key_fingerprint,
            "warning": warning,
        }),
        result: "registered",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    let registered = RegisteredHost {
        node: record,
        warning,
    };
    guard.complete(&mut tx, &registered).await?;
    tx.commit().await?;
    Ok(registered)
}

/// Connects to the host and puts the fingerprint of the key that it presents into `node`. Returns a warning if the
/// host cannot be used.
async fn probe(hosts: &HostClient, node: &mut NewHost) -> Result<Option<String>, RequestError> {
    let expected = node.host_key_fingerprint.as_deref();
    let target = Target {
        node_id: node.node_id.clone(),
        hostname: node.hostname.clone(),
        port: node.ssh_port,
        user: node.ssh_user.clone(),
        fingerprint: expected.map(Fingerprint::from_pin),
        key_type: None,
        docker_socket: DOCKER_SOCKET.to_owned(),
    };
    let probe = hosts.probe_host_key(&target).await;
    if let Some(fingerprint) = &probe.fingerprint {
        info!(node.id = node.node_id, "host key pinned at registration");
        node.host_key_fingerprint = Some(fingerprint.to_string());
    }
    let error = match probe.connection {
        Ok(connection) => {
            connection.close().await;
            return Ok(None);
        }
        Err(error) => error,
    };
    match error.reason() {
        HostReadError::AddressRefused => Err(ADDRESS_REFUSED),
        HostReadError::HostKeyMismatch => Err(RequestError::Invalid {
            field: "hostKeyFingerprint",
            message: "is not the fingerprint of a key that the host has",
        }),
        _ if probe.fingerprint.is_some() => Ok(Some(error.to_string())),
        _ if node.host_key_fingerprint.is_some() => Ok(Some(format!(
            "{error}. Its key will be compared at the first connection"
        ))),
        _ => Ok(Some(format!(
            "{error}. Its key will be pinned at the first connection"
        ))),
    }
}

fn name_taken(node_id: &str) -> RequestError {
    RequestError::Conflict(format!("Node with id '{node_id}' already exists"))
}
