//! Counts the requests to a simulated host. Owns the rule that a channel is counted once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::State;

/// The requests to a host since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accepted TCP connections.
    pub connections: u64,
    /// Connections with a successful login.
    pub handshakes: u64,
    /// Channels opened so far.
    pub channels: u64,
    /// Channels that are open now.
    pub open_channels: u64,
    /// The highest number of channels that were open at the same time.
    pub max_open_channels: u64,
    /// Requests to its Docker Engine by method and path, without version and query: `GET /version`,
    /// `POST /containers/{id}/stop`.
    pub requests: BTreeMap<String, u64>,
    /// Bytes of archives that its engine has received.
    pub archive_bytes: u64,
    /// Requests to its agents.
    pub agent_requests: u64,
    /// Runs of the command that reads the host's facts.
    pub commands: u64,
    /// Unknown commands, shells and subsystems.
    pub refused_commands: u64,
}

/// A channel that is open until it is released.
pub(super) struct OpenChannel {
    state: Arc<State>,
    released: AtomicBool,
}

impl OpenChannel {
    pub(super) fn new(state: &Arc<State>) -> Arc<Self> {
        let mut counts = state.counts();
        counts.channels += 1;
        counts.open_channels += 1;
        counts.max_open_channels = counts.max_open_channels.max(counts.open_channels);
        drop(counts);
        Arc::new(Self {
            state: Arc::clone(state),
            released: AtomicBool::new(false),
        })
    }

    /// Marks the channel as closed. Only the first call counts.
    pub(super) fn release(&self) {
        if !self.released.swap(true, Ordering::Relaxed) {
            self.state.counts().open_channels -= 1;
        }
    }

    pub(super) fn is_released(&self) -> bool {
        self.released.load(Ordering::Relaxed)
    }
}
