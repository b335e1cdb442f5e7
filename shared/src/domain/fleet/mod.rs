//! The fleet as one pass over its hosts found it. Owns: what a snapshot says, from each host's alerts to
//! the totals, and that no address can be part of it. Does not own: asking hosts (`hosts`), reading rows,
//! keeping snapshots.

mod act;
mod alert;
mod code;
mod container;
mod detail;
mod flip;
mod incident;
mod moment;
mod node;
mod ours;
mod pass;
mod runtime;
mod shown;
mod summary;

pub use act::{Act, Standing};
pub use alert::Alert;
pub use code::Code;
pub use container::ContainerView;
pub use detail::{Detail, Limits};
pub use flip::{Flip, Known, flips};
pub use incident::{Incident, Scope};
pub use moment::Moment;
pub use node::{DEGRADED_DISK, NodeStatus, NodeView};
pub use ours::Ghost;
pub use pass::{AgentRow, Docker, Found, NodePass, NodeRow, Pass, Reading, Visit};
pub use runtime::{Runtime, RuntimeContainer};
pub use shown::{Fact, Metadata, without_addresses, without_secrets};
pub use summary::Summary;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// A snapshot of this age no longer tells what is.
pub const STALE_AFTER: TimeDelta = TimeDelta::seconds(90);

/// What operators are shown of the fleet. Its JSON is the one of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// When the pass was over.
    pub refreshed_at: Moment,
    /// It is too old to tell what is; see [`Snapshot::seen_at`].
    pub stale: bool,
    /// The totals.
    pub summary: Summary,
    /// What is wrong, the worst first, then by title.
    pub incidents: Vec<Incident>,
    /// The hosts, by their names.
    pub nodes: Vec<NodeView>,
    /// The agents, by host and id; those without a host first.
    pub containers: Vec<ContainerView>,
}

impl Snapshot {
    /// What was read in one pass, rolled up at `now`.
    #[must_use]
    pub fn of(pass: &Pass, now: DateTime<Utc>) -> Self {
        let claims = pass.claims();
        let mut nodes: Vec<NodeView> = pass
            .nodes
            .iter()
            .map(|node| NodeView::of(node, &claims, now))
            .collect();
        nodes.sort_by(|one, other| one.node_id.cmp(&other.node_id));
        let mut containers: Vec<ContainerView> = pass
            .agents
            .iter()
            .map(|agent| ContainerView::of(agent, &claims, now))
            .collect();
        containers.sort_by(|one, other| (&one.node_id, one.id).cmp(&(&other.node_id, other.id)));
        let summary = Summary::of(&nodes, &containers, pass.backlog);
        Self {
            refreshed_at: Moment(now),
            stale: false,
            incidents: incident::incidents(&nodes, &containers, &summary),
            summary,
            nodes,
            containers,
        }
    }

    /// The same, told at `now`.
    #[must_use]
    pub fn seen_at(mut self, now: DateTime<Utc>) -> Self {
        self.stale = self.is_stale(now);
        self
    }

    /// Whether it is too old at `now` to tell what is.
    #[must_use]
    pub fn is_stale(&self, now: DateTime<Utc>) -> bool {
        now - self.refreshed_at.0 >= STALE_AFTER
    }
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod example;
#[cfg(test)]
mod fixtures;
