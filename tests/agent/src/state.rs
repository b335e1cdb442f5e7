//! The agent's state and the file that keeps it across restarts.
//!
//! Owns the format of the state, which is also the format of a snapshot. Does not own the changes
//! to it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Messages, oldest first.
    #[serde(default)]
    pub memories: Vec<Memory>,
    /// Settings. The sample agent stores them but uses none.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// File contents by path.
    #[serde(default)]
    pub workspace_files: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// `user` or `assistant`.
    pub role: String,
    pub text: String,
    /// Milliseconds since 1970.
    pub timestamp: u64,
}

impl State {
    /// Appends a message and the agent's answer to the memories, and returns the answer.
    pub fn converse(&mut self, text: &str, now: SystemTime) -> String {
        let answer = format!("You said: {text}");
        let timestamp = milliseconds(now);
        for (role, text) in [("user", text), ("assistant", &answer)] {
            self.memories.push(Memory {
                role: role.to_owned(),
                text: text.to_owned(),
                timestamp,
            });
        }
        answer
    }
}

fn milliseconds(now: SystemTime) -> u64 {
    // A clock before 1970 counts as 1970.
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Debug)]
pub struct Store {
    file: PathBuf,
    /// Call [`Store::save`] after changing it.
    pub state: State,
}

impl Store {
    /// Reads the state from `directory`, or begins with an empty one if the file does not exist.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let file = directory.join("state.json");
        let state = match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { file, state })
    }

    /// Writes a temporary file and renames it, so that a kill at any moment leaves a complete state
    /// for the next start.
    pub fn save(&self) -> io::Result<()> {
        let temporary = self.file.with_extension("new");
        fs::write(&temporary, serde_json::to_vec(&self.state)?)?;
        fs::rename(temporary, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("agent-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn messages_survive_a_restart() {
        let directory = directory("restart");
        let mut store = Store::open(&directory).unwrap();
        assert_eq!(store.state, State::default());
        let at = UNIX_EPOCH + Duration::from_millis(1_500);
        let answer = store.state.converse("quotes \" and\nlines and \u{0}", at);
        assert_eq!(answer, "You said: quotes \" and\nlines and \u{0}");
        store.save().unwrap();
        let again = Store::open(&directory).unwrap();
        assert_eq!(again.state, store.state);
        let roles: Vec<&str> = again
            .state
            .memories
            .iter()
            .map(|memory| memory.role.as_str())
            .collect();
        assert_eq!(roles, ["user", "assistant"]);
        assert_eq!(again.state.memories[0].timestamp, 1_500);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn state_uses_the_snapshot_format() {
        let snapshot = json!({
            "memories": [{"role": "user", "text": "hi", "timestamp": 7}],
            "config": {"model": "small"},
            "workspaceFiles": {"notes/a.md": "text"},
        });
        let state: State = serde_json::from_value(snapshot.clone()).unwrap();
        assert_eq!(serde_json::to_value(&state).unwrap(), snapshot);
        let state: State = serde_json::from_str("{}").unwrap();
        assert_eq!(state, State::default());
        assert!(serde_json::from_value::<State>(json!({"memories": "none"})).is_err());
    }

    #[test]
    fn damaged_state_file_is_an_error() {
        let directory = directory("broken");
        fs::write(directory.join("state.json"), "{\"memories\":").unwrap();
        assert!(Store::open(&directory).is_err());
        fs::remove_dir_all(directory).unwrap();
    }
}
