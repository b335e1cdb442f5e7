//! Where the states of agents are kept. Owns: the form of a stored state. With a bucket, states are objects there; without
//! one they are in the database, as JSON or compressed. Does not own: which backups are kept (`db::agents::backups`).
//!
//! ```text
//! stage: (object recorded -> uploaded) -> insert: the backup's row, in the caller's transaction
//! ```
//! An object without a backup is removed later: its backup was deleted, or never inserted.

use std::io::{Read, Write};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tracing::warn;

use super::agent_state::{MAX_STATE_BYTES, StateError, StateErrorReason};
use crate::bucket::Bucket;
use crate::db;
use crate::db::agents::backups::{BackupState, StoredState};
use crate::db::{Connection, Database};
use crate::domain::ids::{AgentRef, BackupId};
use crate::failure::with_reason;

/// Why a state could not be stored or read back.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the database request failed")]
    Database(#[from] sqlx::Error),
}

impl StoreError {
    /// Whether the store does not take this state, while the database otherwise works.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::State(_) => true,
            Self::Database(error) => db::is_refused_state(error),
        }
    }

    /// What kind of error lies beneath, for logs.
    pub(crate) fn cause(&self) -> Option<String> {
        match self {
            Self::State(error) => error.cause(),
            Self::Database(error) => Some(db::error_class(error)),
        }
    }
}

/// A state that only lacks its backup's row.
pub(crate) struct StagedState {
    state: Bytes,
    object: Option<BackupId>,
}

/// Does what must be done outside of a transaction: uploads the state, if there is a bucket.
pub(crate) async fn stage(
    pool: &Database,
    bucket: Option<&Bucket>,
    agent: AgentRef,
    state: Bytes,
) -> Result<StagedState, StoreError> {
    let Some(bucket) = bucket else {
        return Ok(StagedState {
            state,
            object: None,
        });
    };
    // Committed before the upload, so that an object which never becomes a backup is found.
    let mut conn = pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    let backup_id = db::agents::backup_objects::object_insert(&mut conn, agent, now).await?;
    drop(conn);
    let compressed = compress(&state)?;
    let uploaded = bucket.put(&key(agent, backup_id), compressed.into()).await;
    uploaded.map_err(with_reason(StateErrorReason::StoreUnavailable))?;
    Ok(StagedState {
        state,
        object: Some(backup_id),
    })
}

/// Stores a staged state as a backup of the agent. In the database, a state that JSONB cannot hold (U+0000, invalid UTF-8,
/// too many members) or not within the time of a statement is stored compressed.
pub(crate) async fn insert(
    conn: &mut Connection,
    agent: AgentRef,
    kind: &str,
    staged: &StagedState,
    taken_at: DateTime<Utc>,
) -> Result<BackupId, StoreError> {
    let state = &staged.state;
    let size = i64::try_from(state.len()).unwrap_or(i64::MAX);
    if let Some(backup_id) = staged.object {
        let object = BackupState::InBucket(backup_id);
        let inserted =
            db::agents::backups::backup_insert(conn, agent, kind, object, size, taken_at).await;
        return Ok(inserted?);
    }
    if let Ok(text) = std::str::from_utf8(state) {
        conn.savepoint().await?;
        let json = BackupState::Json(text);
        match db::agents::backups::backup_insert(conn, agent, kind, json, size, taken_at).await {
            Ok(id) => return Ok(id),
            Err(error) if db::is_refused_state(&error) => conn.rollback_to_savepoint().await?,
            Err(error) => return Err(error.into()),
        }
    }
    let bytes = compress(state)?;
    let compressed = BackupState::Compressed(&bytes);
    let inserted =
        db::agents::backups::backup_insert(conn, agent, kind, compressed, size, taken_at).await;
    Ok(inserted?)
}

/// The state in an agent's backup: in the newest one if no backup is named.
pub(crate) async fn load(
    pool: &Database,
    bucket: Option<&Bucket>,
    agent: AgentRef,
    backup_id: Option<BackupId>,
) -> Result<Option<Bytes>, StoreError> {
    let mut conn = pool.statements();
    let stored = db::agents::backups::backup_state(&mut conn, agent, backup_id).await?;
    drop(conn);
    let Some(stored) = stored else {
        return Ok(None);
    };
    let StoredState {
        backup_id,
        json,
        compressed,
        object_organization_id,
    } = stored;
    if let Some(organization_id) = object_organization_id {
        let Some(bucket) = bucket else {
            warn!(backup.id = %backup_id, "a backup is in a bucket, and no bucket is configured");
            return Err(StateError::new(StateErrorReason::StoreUnavailable).into());
        };
        let key = key(agent.while_of(organization_id), backup_id);
        let object = bucket.get(&key, MAX_STATE_BYTES).await;
        let object = object.map_err(with_reason(StateErrorReason::StoreUnavailable))?;
        return Ok(Some(decompress(&object, MAX_STATE_BYTES)?));
    }
    Ok(Some(match compressed {
        Some(compressed) => decompress(&compressed, MAX_STATE_BYTES)?,
        None => json.into(),
    }))
}

/// The name of the object with a backup's state. `agent` is as it was when the state was stored: it may have been given to
/// another organization since.
pub(crate) fn key(agent: AgentRef, backup_id: BackupId) -> String {
    format!("{}/{}/{backup_id}", agent.organization_id, agent.agent_id)
}

fn compress(state: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let compressed = encoder.write_all(state).and_then(|()| encoder.finish());
    Ok(compressed.map_err(sqlx::Error::Io)?)
}

/// A state that would be longer than `max_bytes` was not stored by us.
fn decompress(compressed: &[u8], max_bytes: usize) -> Result<Bytes, StateError> {
    let mut state = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    GzDecoder::new(compressed)
        .take(limit.saturating_add(1))
        .read_to_end(&mut state)
        .map_err(with_reason(StateErrorReason::DamagedBackup))?;
    if state.len() > max_bytes {
        return Err(StateErrorReason::DamagedBackup.into());
    }
    Ok(state.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_decompressed_as_a_whole_or_not_at_all() {
        let compressed = compress(&[b' '; 1_000]).expect("compressed");
        let read = |bytes: &[u8], max_bytes| {
            let state = decompress(bytes, max_bytes);
            state
                .map(|state| state.len())
                .map_err(|error| error.reason())
        };
        assert_eq!(read(&compressed, 1_000), Ok(1_000));
        for (bytes, max_bytes) in [
            (compressed.as_slice(), 999),
            (&compressed[..compressed.len() - 1], 1_000),
            (&b"{}"[..], 1_000),
        ] {
            let refused = read(bytes, max_bytes);
            assert_eq!(refused, Err(StateErrorReason::DamagedBackup), "{max_bytes}");
        }
    }
}
