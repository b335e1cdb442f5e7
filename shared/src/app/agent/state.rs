//! An agent's state: taken from the agent, stored as a backup, given to it again. Owns: its size, its
//! form in the database, and what of it counts as a state.

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
use sqlx::{Acquire, PgConnection};
use uuid::Uuid;

use crate::db;
use crate::db::agents::backups::{State, Stored};
use crate::hosts::{AgentHttp, HostError};

/// The longest state that is taken.
pub(crate) const LONGEST: usize = 50 * 1024 * 1024;
/// What an agent may take to tell its state or to take it on.
pub(crate) const WITHIN: Duration = Duration::from_mins(1);
/// The longest answer to a restore that is read.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// Why a state could not be taken or given. What it displays is for the agent's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// On the way to the agent.
    #[error("The agent could not be reached on its host")]
    Host(HostError),
    /// It took too long.
    #[error("The agent did not answer in time")]
    TimedOut,
    /// It answered with this status.
    #[error("The agent answered with HTTP {0}")]
    Status(u16),
    /// What it answered is no state.
    #[error("The agent answered with something that is no state")]
    Garbage,
    /// It has more state than is kept.
    #[error("The agent's state is larger than 50 MB")]
    TooLarge,
}

impl From<HostError> for StateError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::TimedOut => Self::TimedOut,
            HostError::TooLong => Self::TooLarge,
            other => Self::Host(other),
        }
    }
}

/// Asks an agent for its state.
pub(crate) async fn take(agent: &AgentHttp, within: Duration) -> Result<Bytes, StateError> {
    let body = Bytes::from_static(b"{}");
    let answer = agent.post("/api/snapshot", body, LONGEST, within).await?;
    if answer.status != 200 {
        return Err(StateError::Status(answer.status));
    }
    if !is_state(&answer.body) {
        return Err(StateError::Garbage);
    }
    Ok(answer.body)
}

/// A JSON object with at least one of the fields that make a state.
fn is_state(body: &[u8]) -> bool {
    #[expect(
        clippy::zero_sized_map_values,
        reason = "an object's values are of no interest, and a set is read from an array"
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

/// Gives an agent a state.
pub(crate) async fn give(agent: &AgentHttp, state: Bytes) -> Result<(), StateError> {
    let answer = agent
        .post("/api/restore", state, LONGEST_ANSWER, WITHIN)
        .await?;
    match answer.status {
        200..=299 => Ok(()),
        status => Err(StateError::Status(status)),
    }
}

/// Stores a state as the agent's newest backup. What JSONB cannot hold is stored compressed.
pub(crate) async fn store(
    conn: &mut PgConnection,
    agent: (Uuid, Uuid),
    kind: &str,
    state: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Uuid> {
    let size = i64::try_from(state.len()).unwrap_or(i64::MAX);
    if let Ok(text) = std::str::from_utf8(state) {
        let mut attempt = conn.begin().await?;
        let json = State::Json(text);
        match db::agents::backups::backup_insert(&mut attempt, agent, kind, json, size, now).await {
            Ok(id) => {
                attempt.commit().await?;
                return Ok(id);
            }
            Err(error) if db::is_bad_value(&error) => attempt.rollback().await?,
            Err(error) => return Err(error),
        }
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(state).map_err(sqlx::Error::Io)?;
    let bytes = encoder.finish().map_err(sqlx::Error::Io)?;
    let compressed = State::Compressed(&bytes);
    db::agents::backups::backup_insert(conn, agent, kind, compressed, size, now).await
}

/// The state as the agent gave it.
pub(crate) fn read((json, compressed): Stored) -> Result<Bytes, StateError> {
    let Some(compressed) = compressed else {
        return Ok(json.into());
    };
    let mut state = Vec::new();
    let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    let decoder = GzDecoder::new(compressed.as_slice());
    decoder
        .take(limit)
        .read_to_end(&mut state)
        .map_err(|_| StateError::Garbage)?;
    Ok(state.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_an_object_with_a_field_of_a_state() {
        for (body, is) in [
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
            assert_eq!(is_state(body.as_bytes()), is, "{body}");
        }
    }
}
