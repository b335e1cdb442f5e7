//! An agent's state: read from the agent, stored as a backup, given back to the agent. Owns: the size limit, the
//! form in the database, and which answers of an agent count as a state.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::db;
use crate::db::Connection;
use crate::db::agents::backups::{BackupState, StoredState};
use crate::domain::fleet::HostReadError;
use crate::domain::ids::{AgentRef, BackupId};
use crate::failure::{Failure, with_reason};
use crate::hosts::{AgentHttp, HostError};

/// The largest state that is stored.
const MAX_STATE_BYTES: usize = 50 * 1024 * 1024;
/// How long an agent may take to send or to restore its state.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(1);
const MAX_RESTORE_ANSWER_BYTES: usize = 1024 * 1024;

/// Why a state could not be read, stored or restored.
pub type StateError = Failure<StateErrorReason>;

/// The texts are shown to the agent's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateErrorReason {
    #[error("The agent could not be reached on its host")]
    Host(HostReadError),
    #[error("The agent did not answer in time")]
    TimedOut,
    #[error("The agent answered with HTTP {0}")]
    Status(u16),
    #[error("The agent did not answer with a valid state")]
    NotAState,
    #[error("The agent's state is larger than 50 MB")]
    TooLarge,
    /// The stored bytes cannot be decompressed.
    #[error("The backup is damaged")]
    DamagedBackup,
}

impl From<HostError> for StateError {
    fn from(error: HostError) -> Self {
        error.map_reason(|reason| match reason {
            HostReadError::TimedOut => StateErrorReason::TimedOut,
            HostReadError::ResponseTooLarge => StateErrorReason::TooLarge,
            reason => StateErrorReason::Host(reason),
        })
    }
}

/// Reads an agent's state.
pub(crate) async fn fetch(agent: &AgentHttp, timeout: Duration) -> Result<Bytes, StateError> {
    let body = Bytes::from_static(b"{}");
    let answer = agent
        .post("/api/snapshot", body, MAX_STATE_BYTES, timeout)
        .await?;
    if answer.status != 200 {
        return Err(StateErrorReason::Status(answer.status).into());
    }
    if !is_state(&answer.body) {
        return Err(StateErrorReason::NotAState.into());
    }
    Ok(answer.body)
}

/// Whether the body is a JSON object with at least one of the fields that make up a state.
fn is_state(body: &[u8]) -> bool {
    #[expect(
        clippy::zero_sized_map_values,
        reason = "the values do not matter, and a set would be read from a JSON array"
    )]
    type Object = Option<HashMap<String, IgnoredAny>>;
    #[derive(Deserialize)]
    struct Fields {
        memories: Option<Vec<IgnoredAny>>,
        config: Object,
        #[serde(rename = "workspaceFiles")]
        workspace_files: Object,
    }
    serde_json::from_slice::<Fields>(body).is_ok_and(|fields| {
        fields.memories.is_some() || fields.config.is_some() || fields.workspace_files.is_some()
    })
}

/// Restores a state: sends it to the agent, which replaces its own.
pub(crate) async fn restore(agent: &AgentHttp, state: Bytes) -> Result<(), StateError> {
    let answer = agent
        .post("/api/restore", state, MAX_RESTORE_ANSWER_BYTES, TIMEOUT)
        .await?;
    match answer.status {
        200..=299 => Ok(()),
        status => Err(StateErrorReason::Status(status).into()),
    }
}

/// Stores a state as the agent's newest backup. A state that JSONB cannot hold (U+0000, invalid UTF-8) is stored
/// compressed.
pub(crate) async fn store(
    conn: &mut Connection,
    agent: AgentRef,
    kind: &str,
    state: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<BackupId> {
    let size = i64::try_from(state.len()).unwrap_or(i64::MAX);
    if let Ok(text) = std::str::from_utf8(state) {
        conn.savepoint().await?;
        let json = BackupState::Json(text);
        match db::agents::backups::backup_insert(conn, agent, kind, json, size, now).await {
            Ok(id) => return Ok(id),
            Err(error) if db::is_unstorable_value(&error) => conn.rollback_to_savepoint().await?,
            Err(error) => return Err(error),
        }
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(state).map_err(sqlx::Error::Io)?;
    let bytes = encoder.finish().map_err(sqlx::Error::Io)?;
    let compressed = BackupState::Compressed(&bytes);
    db::agents::backups::backup_insert(conn, agent, kind, compressed, size, now).await
}

/// Decodes a stored state into the bytes that the agent sent.
pub(crate) fn decode(stored: StoredState) -> Result<Bytes, StateError> {
    let Some(compressed) = stored.compressed else {
        return Ok(stored.json.into());
    };
    let mut state = Vec::new();
    let limit = u64::try_from(MAX_STATE_BYTES).unwrap_or(u64::MAX);
    let decoder = GzDecoder::new(compressed.as_slice());
    decoder
        .take(limit)
        .read_to_end(&mut state)
        .map_err(with_reason(StateErrorReason::DamagedBackup))?;
    Ok(state.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_a_json_object_with_at_least_one_known_field() {
        for (body, expected) in [
            (r#"{"memories":[],"config":{},"workspaceFiles":{}}"#, true),
            (
                r#"{"memories":[{"role":"user","text":"a\u0000b"}],"more":1}"#,
                true,
            ),
            (r#"{"config":{}}"#, true),
            (r#"{"memories":{}}"#, false),
            (r#"{"workspaceFiles":[]}"#, false),
            ("{}", false),
            ("[]", false),
            ("null", false),
            ("<html>", false),
            (r#"{"memories":[]"#, false),
        ] {
            assert_eq!(is_state(body.as_bytes()), expected, "{body}");
        }
    }
}
