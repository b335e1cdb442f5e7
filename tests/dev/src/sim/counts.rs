//! What a simulated host was asked. Owns: counting, and that a channel is counted once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::State;

/// What a host was asked since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// TCP connections it took.
    pub connections: u64,
    /// Those on which somebody logged in.
    pub handshakes: u64,
    /// Channels it let be opened.
    pub channels: u64,
    /// Those that are open.
    pub open: u64,
    /// The most that were open at once.
    pub most_open: u64,
    /// Requests to its Docker Engine by method and path, without version and query: `GET /version`,
    /// `POST /containers/{id}/stop`.
    pub requests: BTreeMap<String, u64>,
    /// Requests to agents on it.
    pub agent_requests: u64,
    /// How often it was asked for its figures.
    pub commands: u64,
    /// Commands it does not know, shells and subsystems.
    pub refused_commands: u64,
}

/// A channel that is open until it is released.
pub(super) struct Held {
    state: Arc<State>,
    released: AtomicBool,
}

impl Held {
    pub(super) fn new(state: &Arc<State>) -> Arc<Self> {
        let mut counts = state.counts();
        counts.channels += 1;
        counts.open += 1;
        counts.most_open = counts.most_open.max(counts.open);
        drop(counts);
        Arc::new(Self {
            state: Arc::clone(state),
            released: AtomicBool::new(false),
        })
    }

    /// The channel is closed; whoever says so second says nothing new.
    pub(super) fn release(&self) {
        if !self.released.swap(true, Ordering::Relaxed) {
            self.state.counts().open -= 1;
        }
    }

    pub(super) fn is_released(&self) -> bool {
        self.released.load(Ordering::Relaxed)
    }
}
