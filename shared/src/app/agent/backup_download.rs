//! Downloading the state of a backup. Owns: that each address is recorded in the audit log, and that a state in the database
//! is not handed out.

use serde_json::json;

use crate::app::agent_state::{StateError, StateErrorReason};
use crate::app::error::RequestError;
use crate::app::state_store;
use crate::bucket::Bucket;
use crate::db;
use crate::db::Database;
use crate::db::requests::audit_log::AuditEntry;
use crate::domain::ids::{AgentRef, BackupId, UserId};

/// Where the state of a backup can be downloaded.
#[derive(Clone, Debug)]
pub enum BackupDownload {
    /// At this address, without a credential, for [`crate::bucket::ADDRESS_LIFETIME`].
    At(String),
    /// Nowhere: a function cannot respond with 50 MB.
    InDatabase,
}

pub async fn backup_download(
    pool: &Database,
    bucket: Option<&Bucket>,
    agent: AgentRef,
    backup_id: BackupId,
    user_id: UserId,
) -> Result<BackupDownload, RequestError> {
    let mut tx = pool.begin().await?;
    let place = db::agents::backups::backup_place_find(&mut tx, agent, backup_id).await?;
    let place = place.ok_or(RequestError::NotFound("No backup found"))?;
    let Some(organization_id) = place.object_organization_id else {
        return Ok(BackupDownload::InDatabase);
    };
    let file_name = format!("backup-{backup_id}.json");
    let key = state_store::key(agent.while_of(organization_id), backup_id);
    let address = bucket.and_then(|bucket| bucket.presign(&key, &file_name));
    let address = address.ok_or_else(|| StateError::new(StateErrorReason::StoreUnavailable))?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let entry = AuditEntry {
        user_id,
        action: "backup.download",
        subject: &agent.agent_id.to_string(),
        details: json!({"backupId": backup_id, "organizationId": agent.organization_id}),
        result: "addressed",
    };
    db::requests::audit_log::audit_append(&mut tx, &entry, now).await?;
    tx.commit().await?;
    Ok(BackupDownload::At(address))
}
