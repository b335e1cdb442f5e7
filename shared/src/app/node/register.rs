//! An operator registers a host. It is met before it is written down: its key is pinned at once, and
//! whatever is wrong with it is said at once.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;
use tracing::info;
use uuid::Uuid;

use crate::app::error::RequestError;
use crate::app::idempotency::{Begun, Once, Repeatable, begin};
use crate::db;
use crate::db::requests::audit_log::Action;
use crate::db::hosts::operator::{NewNode, Record};
use crate::hosts::{DOCKER_SOCKET, Fingerprint, Fleet, HostError, Target};

/// A host's name or address leads where hosts may not be.
pub(crate) const REFUSED_ADDRESS: RequestError = RequestError::Invalid {
    field: "hostname",
    message: "leads to an address that is not allowed",
};

/// A host that was registered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Registered {
    /// Its row.
    pub node: Record,
    /// What is wrong with it, or was not known of it.
    pub warning: Option<String>,
}

/// Registers a host. One that cannot be reached or refuses our key is registered all the same.
///
/// # Errors
/// [`RequestError`]; then nothing was registered.
pub async fn node_register(
    pool: &PgPool,
    fleet: &Fleet,
    admin_id: Uuid,
    node: NewNode,
    repeatable: Repeatable,
) -> Result<Registered, RequestError> {
    let mut once = match begin(pool, repeatable).await? {
        Begun::Again(registered) => return Ok(registered),
        Begun::First(once) => once,
    };
    let result = register(pool, fleet, admin_id, node, &mut once).await;
    once.settle(pool, result).await
}

async fn register(
    pool: &PgPool,
    fleet: &Fleet,
    admin_id: Uuid,
    mut node: NewNode,
    once: &mut Once,
) -> Result<Registered, RequestError> {
    let mut conn = pool.acquire().await?;
    let there = db::hosts::slots::node_find(&mut conn, &node.node_id).await?;
    drop(conn);
    if there.is_some() {
        return Err(taken(&node.node_id));
    }
    let warning = meet(fleet, &mut node).await?;
    let mut tx = pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let written = db::hosts::operator::node_insert(&mut tx, &node, now).await;
    let written = written.map_err(|error| {
        if db::is_duplicate(&error) {
            taken(&node.node_id)
        } else {
            error.into()
        }
    })?;
    let action = Action {
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
    let registered = Registered {
        node: written,
        warning,
    };
    once.complete(&mut tx, &registered).await?;
    tx.commit().await?;
    Ok(registered)
}

/// Connects to the host, and notes the key it has. Answers what is to be said about it.
async fn meet(fleet: &Fleet, node: &mut NewNode) -> Result<Option<String>, RequestError> {
    let expected = node.host_key_fingerprint.as_deref();
    let target = Target {
        node_id: node.node_id.clone(),
        hostname: node.hostname.clone(),
        port: node.ssh_port,
        user: node.ssh_user.clone(),
        fingerprint: expected.map(Fingerprint::known),
        docker_socket: DOCKER_SOCKET.to_owned(),
    };
    let (shown, trouble) = fleet.meet(&target).await;
    if let Some(shown) = &shown {
        info!(
            node = node.node_id,
            "the host's key was pinned as it was registered"
        );
        node.host_key_fingerprint = Some(shown.to_string());
    }
    let Some(trouble) = trouble else {
        return Ok(None);
    };
    match trouble {
        HostError::AddressRefused => Err(REFUSED_ADDRESS),
        HostError::HostKeyMismatch => Err(RequestError::Invalid {
            field: "hostKeyFingerprint",
            message: "is not the fingerprint of a key that the host has",
        }),
        trouble if shown.is_some() => Ok(Some(trouble.to_string())),
        trouble if node.host_key_fingerprint.is_some() => Ok(Some(format!(
            "{trouble}: its key will be compared at the first connection"
        ))),
        trouble => Ok(Some(format!(
            "{trouble}: its key will be pinned at the first connection"
        ))),
    }
}

fn taken(node_id: &str) -> RequestError {
    RequestError::Conflict(format!("Node with id '{node_id}' already exists"))
}
