//! An operator changes what is known of a host.
//!
//! A host that gets another address keeps its pin: the machine may have moved with its key, and another
//! machine is to be noticed. Who means another machine clears the pin, or gives the new one.

use serde_json::{Map, Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::app::error::RequestError;
use crate::app::node::register::REFUSED_ADDRESS;
use crate::db;
use crate::db::requests::audit_log::Action;
use crate::db::hosts::operator::{Changes, Record};
use crate::hosts::{Allowed, HostError};

/// Changes a host. A name must not lead to an address that is not allowed; one that leads nowhere now
/// may do so later.
///
/// # Errors
/// [`RequestError`]; then nothing was changed.
pub async fn node_update(
    pool: &PgPool,
    allowed: Allowed,
    admin_id: Uuid,
    node_id: &str,
    changes: &Changes,
) -> Result<Record, RequestError> {
    if let Some(hostname) = &changes.hostname {
        let port = changes.ssh_port.unwrap_or_default();
        if allowed.look_up(hostname, port).await == Err(HostError::AddressRefused) {
            return Err(REFUSED_ADDRESS);
        }
    }
    let mut tx = pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let node = db::hosts::operator::node_change(&mut tx, node_id, changes, now).await?;
    let node = node.ok_or(RequestError::NO_NODE)?;
    let action = Action {
        user_id: admin_id,
        action: "node.update",
        subject: node_id,
        details: details(changes),
        result: "updated",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    tx.commit().await?;
    Ok(node)
}

/// The new values, for the log. Of the metadata only that it was replaced: anything may be in it.
fn details(changes: &Changes) -> Value {
    let pin = changes.host_key_fingerprint.as_ref();
    let values = [
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
    let values = values.into_iter();
    let given = values.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect::<Map<_, _>>())
}
