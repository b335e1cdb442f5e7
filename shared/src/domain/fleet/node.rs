//! A host, as operators see it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::alert::{Alert, alerts};
use super::moment::Moment;
use super::ours::{Ghost, Ours, expects};
use super::pass::{Claims, NodePass, Reading};
use super::runtime::Runtime;
use super::shown::Metadata;
use crate::domain::health::Severity;
use crate::domain::observation::Unread;
use crate::domain::placement::is_saturated;

/// A disk that is used to this share, in percent, makes a host degraded.
pub const DEGRADED_DISK: u64 = 90;

/// How a host fares: `docker_nodes.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// It and its Docker Engine were read in this pass.
    Healthy,
    /// It was read, and Docker was not or the disk is nearly full.
    Degraded,
    /// It was asked and did not let us in.
    Offline,
    /// It was not asked.
    Unknown,
}

impl NodeStatus {
    /// What a reading says. Only what was read in this pass is healthy (F21).
    #[must_use]
    pub fn of(reading: &Reading) -> Self {
        let visit = match reading.visit() {
            Ok(visit) => visit,
            Err(Unread::Deadline | Unread::NoKey) => return Self::Unknown,
            Err(_) => return Self::Offline,
        };
        let disk = visit.facts.disk_used_percent;
        if visit.docker.is_err() || disk.is_some_and(|used| used >= DEGRADED_DISK) {
            Self::Degraded
        } else {
            Self::Healthy
        }
    }

    /// Reads the database's word; one that this version does not know says nothing.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        let known = [Self::Healthy, Self::Degraded, Self::Offline];
        let found = known.into_iter().find(|status| status.as_str() == word);
        found.unwrap_or(Self::Unknown)
    }

    /// The database's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Offline => "offline",
            Self::Unknown => "unknown",
        }
    }
}

/// A host: its row, what was read of it in this pass and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct NodeView {
    pub id: Uuid,
    pub node_id: String,
    pub capacity: i32,
    pub allocated_count: i32,
    /// Slots in which an agent could be placed now: none on a host that is disabled, too busy (F27) or was
    /// not read in this pass (F21).
    pub available_slots: i64,
    pub enabled: bool,
    /// As this pass found it.
    pub status: NodeStatus,
    /// The last time it was asked.
    pub last_health_check: Option<Moment>,
    /// When it was asked in this pass; none if it was not.
    pub observed_at: Option<Moment>,
    /// Taken slots, in percent, rounded down; above 100 if there are more than its capacity.
    pub utilization_pct: i64,
    /// Our containers on the host that are not over, minus rows that expect one there; none if Docker was
    /// not read. An agent that is being started, or whose status is not known, expects what is there.
    pub allocation_drift: Option<i64>,
    /// What is wrong with it, the worst first.
    pub alerts: Vec<Alert>,
    pub metadata: Metadata,
    pub created_at: Moment,
    pub updated_at: Moment,
    /// Containers of ours that no row on this host claims, by name.
    pub ghost_containers: Vec<Ghost>,
    /// The agents whose rows name this host, by id.
    pub containers: Vec<Uuid>,
    pub runtime: Runtime,
}

impl NodeView {
    pub(super) fn of(node: &NodePass, claims: &Claims<'_>, now: DateTime<Utc>) -> Self {
        let (row, reading) = (&node.row, &node.reading);
        let rows = claims.rows(&row.node_id);
        let docker = reading.docker().ok();
        let ours = docker.map(|docker| Ours::of(&docker.containers, rows, claims));
        let drift = ours.as_ref().map(|ours| ours.drift(rows, claims));
        let ghosts = ours.as_ref().map(|ours| ours.ghosts(&row.node_id, claims));
        let utilization = percent(row.allocated_count.into(), row.capacity.into());
        let expecting = rows.iter().filter(|agent| expects(agent)).count();
        let mut containers: Vec<Uuid> = rows.iter().map(|agent| agent.id).collect();
        containers.sort_unstable();
        let asked = reading.at();
        Self {
            id: row.id,
            node_id: row.node_id.clone(),
            capacity: row.capacity,
            allocated_count: row.allocated_count,
            available_slots: available(node),
            enabled: row.enabled,
            status: NodeStatus::of(reading),
            last_health_check: asked.or(row.last_health_check).map(Moment),
            observed_at: asked.map(Moment),
            utilization_pct: utilization,
            allocation_drift: drift,
            alerts: alerts((row, reading), (utilization, drift, expecting), now),
            metadata: row.metadata.clone(),
            created_at: Moment(row.created_at),
            updated_at: Moment(row.updated_at),
            ghost_containers: ghosts.unwrap_or_default(),
            containers,
            runtime: Runtime::of(reading, ours.as_ref()),
        }
    }

    /// Whether it takes no more: its slots are taken, or it is too busy.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        let full = |alert: &Alert| alert.code.is_load() && alert.severity == Severity::Critical;
        self.enabled && self.alerts.iter().any(full)
    }
}

/// The share in percent, rounded down; of nothing, all is taken.
pub(super) fn percent(part: i64, whole: i64) -> i64 {
    match (part.max(0), whole.max(0)) {
        (0, _) => 0,
        (_, 0) => 100,
        (part, whole) => part.saturating_mul(100) / whole,
    }
}

fn available(node: &NodePass) -> i64 {
    let Ok(visit) = node.reading.visit() else {
        return 0;
    };
    if !node.row.enabled || visit.docker.is_err() || is_saturated(&visit.facts) {
        return 0;
    }
    let free = i64::from(node.row.capacity) - i64::from(node.row.allocated_count);
    free.max(0)
}
