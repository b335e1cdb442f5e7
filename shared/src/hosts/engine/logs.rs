//! What a container wrote.

use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;

use super::Engine;
use super::error::{EngineError, classify};

impl Engine {
    /// The last `tail` lines that a container wrote after `since` (seconds since 1970), and of these the last
    /// `max_bytes` bytes.
    pub async fn read_logs(
        &self,
        id: &str,
        tail: u32,
        since: i32,
        max_bytes: usize,
    ) -> Result<String, EngineError> {
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .since(since)
            .tail(&tail.to_string())
            .build();
        let mut lines = self.docker.logs(id, Some(options));
        let mut text = Vec::new();
        while let Some(line) = lines.next().await {
            text.extend_from_slice(&line.map_err(classify)?.into_bytes());
            // Cut only now and then: each cut moves the whole text.
            if text.len() > 2 * max_bytes {
                keep_last_lines(&mut text, max_bytes);
            }
        }
        keep_last_lines(&mut text, max_bytes);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Drops whole lines at the beginning until at most `max_bytes` remain.
fn keep_last_lines(text: &mut Vec<u8>, max_bytes: usize) {
    let surplus = text.len().saturating_sub(max_bytes);
    if surplus == 0 {
        return;
    }
    let line_end = text.iter().skip(surplus).position(|byte| *byte == b'\n');
    text.drain(..line_end.map_or(surplus, |at| surplus + at + 1));
}
