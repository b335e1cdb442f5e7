//! An agent's state: read from the agent, and given back to it. Owns: the size limit, and which answers of an agent
//! count as a state. Does not own: where states are kept (`state_store`).

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::fleet::HostReadError;
use crate::failure::Failure;
use crate::hosts::{AgentHttp, HostError};

/// The largest state that is stored.
pub(super) const MAX_STATE_BYTES: usize = 50 * 1024 * 1024;
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
    /// The bucket of the backups did not take or return a state.
    #[error("The store of the backups cannot be reached")]
    StoreUnavailable,
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

/// Whether the body has the shape of a state: an object with a list of memories, whose other known fields are objects.
/// An agent that cannot read its own data answers `{"config":{}}`, which would replace everything it has (F68).
pub(crate) fn is_state(body: &[u8]) -> bool {
    // Raw, so that no text in them is read: the name of a file can hold a lone surrogate (F91).
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        memories: &'a RawValue,
        #[serde(borrow)]
        config: Option<&'a RawValue>,
        #[serde(borrow, rename = "workspaceFiles")]
        workspace_files: Option<&'a RawValue>,
    }
    let text = as_text(body);
    let is_object =
        |value: Option<&RawValue>| value.is_none_or(|value| value.get().starts_with('{'));
    serde_json::from_str::<Fields<'_>>(&text).is_ok_and(|fields| {
        fields.memories.get().starts_with('[')
            && is_object(fields.config)
            && is_object(fields.workspace_files)
    })
}

/// The body as text that is not longer: what is not UTF-8 becomes `?`. `String::from_utf8_lossy` writes three bytes for one,
/// so an agent with a state of 50 MB could use up the memory of a function that reads several states.
fn as_text(body: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(body) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push('?');
        }
    }
    Cow::Owned(text)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f68_a_state_is_a_json_object_with_a_list_of_memories() {
        for (body, expected) in [
            (r#"{"memories":[],"config":{},"workspaceFiles":{}}"#, true),
            (
                r#"{"memories":[{"role":"user","text":"a\u0000b"}],"more":1}"#,
                true,
            ),
            (r#"{"memories":[],"config":null}"#, true),
            (
                r#"{"workspaceFiles":{"\ud83d":"\udc00"},"memories":[]}"#,
                true,
            ),
            (r#"{"config":{}}"#, false),
            (r#"{"config":{},"workspaceFiles":{"a.txt":"text"}}"#, false),
            (r#"{"memories":null,"config":{}}"#, false),
            (r#"{"memories":[],"config":[]}"#, false),
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

    #[test]
    fn a_state_that_is_not_utf_8_is_read_without_becoming_longer() {
        let mut body = br#"{"memories":[""#.to_vec();
        body.extend([0xff; 1_000]);
        body.extend(br#""]}"#);
        assert!(is_state(&body));
        let text = as_text(&body);
        assert_eq!(text.len(), body.len());
        assert!(matches!(as_text("ü".as_bytes()), Cow::Borrowed("ü")));
    }
}
