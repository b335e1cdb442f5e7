//! The data of a simulated engine's volumes, as an archive that a client can read and write. What is written is counted and
//! not kept.

use std::time::Duration;

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use serde_json::{Value, json};

use super::State;
use super::docker::Body;
use super::docker_json;
use super::script::Script;

const CHUNK_BYTES: u64 = 16 * 1024;
const BLOCK_BYTES: u64 = 512;
/// The zeros at the end of an archive.
const END_BYTES: usize = 1024;

/// What a volume holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    pub bytes: u64,
    /// The size that the engine reports, which Docker may not know: then it is -1.
    pub reported_bytes: i64,
    /// How long the engine takes for each 16 KiB.
    pub pause: Duration,
}

impl Default for Data {
    fn default() -> Self {
        Self::of_size(10_000)
    }
}

impl Data {
    /// Data that is read as fast as the client takes it.
    #[must_use]
    pub fn of_size(bytes: u64) -> Self {
        Self {
            bytes,
            reported_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
            pause: Duration::ZERO,
        }
    }
}

/// An archive in whole blocks: something that is no header, and the end. Nobody unpacks it.
pub(super) fn body(data: Data) -> Body {
    let length = data.bytes.next_multiple_of(BLOCK_BYTES);
    let chunks = stream::unfold(Some(length), move |left| async move {
        let left = left?;
        if left == 0 {
            return Some((Bytes::from_static(&[0; END_BYTES]), None));
        }
        if data.pause > Duration::ZERO {
            tokio::time::sleep(data.pause).await;
        }
        let length = left.min(CHUNK_BYTES);
        let chunk = vec![b'x'; usize::try_from(length).unwrap_or_default()];
        Some((Bytes::from(chunk), Some(left - length)))
    });
    let frames = futures_util::StreamExt::map(chunks, |chunk| Ok(Frame::data(chunk)));
    StreamBody::new(frames).boxed_unsync()
}

/// Reads an archive to its end.
pub(super) async fn receive(state: &State, mut body: Incoming) -> Result<(), hyper::Error> {
    while let Some(frame) = body.frame().await {
        if let Ok(chunk) = frame?.into_data() {
            let length = u64::try_from(chunk.len()).unwrap_or_default();
            state.counts().archive_bytes += length;
        }
    }
    Ok(())
}

/// How large the volumes are.
pub(super) fn usage(script: &Script) -> Value {
    let volumes = script.volumes.iter().map(|volume| {
        let mut entry = docker_json::volume(volume);
        entry["UsageData"] = json!({"Size": script.data.reported_bytes, "RefCount": 0});
        entry
    });
    let volumes: Vec<Value> = volumes.collect();
    json!({"LayersSize": 0, "Images": [], "Containers": [], "Volumes": volumes, "BuildCache": []})
}
