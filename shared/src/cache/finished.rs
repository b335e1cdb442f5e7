//! A snapshot as its readers get it: JSON that is compressed already. Owns: what it consists of. Does not own: the JSON
//! (`api::admin`), how it is stored.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::piece::Piece;
use crate::domain::fleet::is_stale;
use crate::domain::ids::AgentId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedSnapshot {
    pub overview: FinishedOverview,
    /// Sorted by `node_id` and `end`.
    pub sections: Vec<Arc<Section>>,
}

/// What is shown of the fleet as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedOverview {
    /// When the oldest of the runs ended that the snapshot consists of.
    pub refreshed_at: DateTime<Utc>,
    /// Whether there is a run over each part of the fleet.
    pub is_whole: bool,
    /// An object.
    pub summary: Piece,
    /// `None` if there are no incidents.
    pub incidents: Option<FinishedIncidents>,
}

/// Arrays of incidents, the most severe first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedIncidents {
    pub all: Piece,
    /// The first of them, for a response that would be too long. `None` if all are few enough.
    pub worst: Option<Piece>,
}

/// What a page shows as a whole or not at all: a host with its agents, or the agents without a registered host. Very many
/// agents are several sections, the first of which has the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// As the rows of the agents say.
    pub node_id: Option<String>,
    /// No agent of this section has a greater id, and all agents of the following ones with this `node_id` have. In the
    /// last one it is the greatest id that there can be.
    pub end: AgentId,
    /// An object: the host, with the agents of this section.
    pub host: Option<Piece>,
    /// The agents, separated by commas. `None` if there are none.
    pub agents: Option<Piece>,
    /// Of the host.
    pub incidents: Option<FinishedIncidents>,
}

impl Section {
    /// Whether no other section with this `node_id` follows.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.end.uuid().is_max()
    }
}

impl FinishedOverview {
    #[must_use]
    pub fn is_stale(&self, now: DateTime<Utc>) -> bool {
        !self.is_whole || is_stale(self.refreshed_at, now)
    }
}
