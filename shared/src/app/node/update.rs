//! An operator changes a host's row.
//!
//! A changed address does not clear the pinned key: a machine that moves keeps its key, and a connection to another
//! machine must fail. An operator who replaces the machine clears the pin or sets the new one.

use serde_json::{Map, Value, json};

use super::locked::host_lock;
use super::register::ADDRESS_REFUSED;
use crate::app::error::RequestError;
use crate::db;
use crate::db::Database;
use crate::db::hosts::registry::{HostChanges, HostRecord};
use crate::db::requests::audit_log::AuditEntry;
use crate::domain::address::AddressPolicy;
use crate::domain::agent::StatusConflict;
use crate::domain::fleet::HostReadError;
use crate::domain::ids::UserId;
use crate::domain::withdrawal::WithdrawalKind;
use crate::hosts::resolve_hostname;

/// Changes a host. A hostname that resolves to a refused address is an error. One that does not resolve is not,
/// because it may resolve later; every connection checks the address again. A host that is drained or declared lost is
/// not enabled.
pub async fn node_update(
    pool: &Database,
    address_policy: AddressPolicy,
    admin_id: UserId,
    node_id: &str,
    changes: &HostChanges,
) -> Result<HostRecord, RequestError> {
    if let Some(hostname) = &changes.hostname {
        let port = changes.ssh_port.unwrap_or_default();
        let resolved = resolve_hostname(address_policy, hostname, port).await;
        if resolved.is_err_and(|error| error.reason() == HostReadError::AddressRefused) {
            return Err(ADDRESS_REFUSED);
        }
    }
    let mut tx = pool.begin().await?;
    let withdrawal = host_lock(&mut tx, node_id).await?;
    if let Some(withdrawal) = withdrawal
        && changes.enabled == Some(true)
    {
        return Err(StatusConflict(match withdrawal.kind {
            Some(WithdrawalKind::Drain) => "The host is drained; cancel the drain first",
            _ => "The host is declared lost; take it back into service first",
        })
        .into());
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    let node = db::hosts::registry::host_change(&mut tx, node_id, changes, now)
        .await?
        .ok_or(RequestError::NODE_NOT_FOUND)?;
    let action = AuditEntry {
        user_id: admin_id,
        action: "node.update",
        subject: node_id,
        details: audit_details(changes),
        result: "updated",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    tx.commit().await?;
    Ok(node)
}

/// The new values for the audit log. Metadata can hold secrets, so the log only says that it was replaced.
fn audit_details(changes: &HostChanges) -> Value {
    let pin = changes.host_key_fingerprint.as_ref();
    let fields = [
        ("hostname", changes.hostname.as_ref().map(|v| json!(v))),
        ("sshPort", changes.ssh_port.map(|v| json!(v))),
        ("sshUser", changes.ssh_user.as_ref().map(|v| json!(v))),
        ("capacity", changes.capacity.map(|v| json!(v))),
        ("enabled", changes.enabled.map(|v| json!(v))),
        (
            "metadata",
            changes.metadata.as_ref().map(|_| json!("replaced")),
        ),
        ("hostKeyFingerprint", pin.map(|v| json!(v))),
    ];
    let given = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect::<Map<_, _>>())
}
