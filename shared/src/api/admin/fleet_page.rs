//! A snapshot in pages, because Lambda returns six megabytes at most. Owns: the query parameters, what is
//! left out, where a page ends, and the cursor. Does not own: the JSON of hosts and agents (`fleet_view`).

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lambda_http::{Body, Request};
use serde::{Deserialize, Serialize};
use tracing::error;

use super::fleet_view::{FleetContext, FleetView, agent_views, host_views};
use crate::api::encoding::Encoding;
use crate::api::list;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::domain::fleet::{AgentReport, FleetSnapshot, HostReport, Incident};
use crate::domain::ids::{AgentId, OrganizationId};
use crate::domain::payload::MAX_PAYLOAD_BYTES;
use crate::domain::timestamp::Timestamp;

/// An answer that would be too long holds this many incidents, the most severe ones.
const MAX_INCIDENTS: usize = 1_000;

/// What a caller wants to see of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FleetQuery {
    /// One host, its agents and its incidents.
    node_id: Option<String>,
    /// Neither hosts nor agents.
    summary_only: bool,
    /// The position of the last row of the page before.
    after: Option<Position>,
}

/// The place of a host or agent in the order of all rows. A host comes directly before its agents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Position(Option<String>, Option<AgentId>);

#[derive(Clone, Copy)]
enum Row<'a> {
    Host(&'a HostReport),
    Agent(&'a AgentReport),
}

impl Row<'_> {
    fn node_id(&self) -> Option<&str> {
        match self {
            Self::Host(host) => Some(&host.node_id),
            Self::Agent(agent) => agent.node_id.as_deref(),
        }
    }

    fn position(&self) -> Position {
        let agent_id = match self {
            Self::Host(_) => None,
            Self::Agent(agent) => Some(agent.id),
        };
        Position(self.node_id().map(str::to_owned), agent_id)
    }
}

impl FleetQuery {
    /// Reads `nodeId`, `view` and `cursor`.
    ///
    /// # Errors
    /// 400.
    pub(super) fn read(request: &Request) -> Result<Self, Problem> {
        let summary_only = match list::parameter(request, "view").as_deref() {
            None => false,
            Some("summary") => true,
            Some(_) => return Err(Problem::field("view", "must be summary")),
        };
        let after = list::parameter(request, "cursor").map(|cursor| {
            let position = decode(&cursor);
            position.ok_or_else(|| Problem::field("cursor", "is not valid; start again without it"))
        });
        Ok(Self {
            node_id: list::parameter(request, "nodeId"),
            summary_only,
            after: after.transpose()?,
        })
    }

    /// A text that differs for different queries.
    pub(super) fn tag(&self) -> String {
        format!("{self:?}")
    }

    /// One page of what the query selects: the first, or the one after its cursor.
    ///
    /// # Errors
    /// 404 for a host that is not in the snapshot, 500 if not even the shortest page fits.
    pub(super) fn answer(
        &self,
        snapshot: &FleetSnapshot,
        stale: bool,
        context: &FleetContext,
        encoding: Encoding,
    ) -> Result<Body, Problem> {
        let is_known = |id: &String| snapshot.hosts.iter().any(|host| host.node_id == *id);
        if self.node_id.as_ref().is_some_and(|id| !is_known(id)) {
            return Err(Problem::not_found("Node not found"));
        }
        let incidents = self.incidents(snapshot);
        let rows = self.rows(snapshot);
        let mut incident_count = incidents.len();
        let mut row_count = rows.len();
        loop {
            let page = &rows[..row_count];
            let is_cut = row_count < rows.len();
            let hosts = page.iter().filter_map(|row| match row {
                Row::Host(host) => Some(*host),
                Row::Agent(_) => None,
            });
            let agents = page.iter().filter_map(|row| match row {
                Row::Host(_) => None,
                Row::Agent(agent) => Some(*agent),
            });
            let agents: Vec<&AgentReport> = agents.collect();
            let next = page.last().filter(|_| is_cut);
            let shown_incidents = incidents[..incident_count].iter();
            let data = FleetView {
                refreshed_at: Timestamp(snapshot.refreshed_at),
                stale,
                summary: (&snapshot.summary).into(),
                incidents: shown_incidents.map(|incident| (*incident).into()).collect(),
                nodes: (!self.summary_only).then(|| host_views(hosts, &agents, context)),
                containers: (!self.summary_only).then(|| agent_views(&agents, context)),
                truncated: is_cut || incident_count < incidents.len(),
                cursor: next.map(|row| encode(&row.position())),
            };
            let (body, length) = encoding.encode(&Data::new(data))?;
            if length <= MAX_PAYLOAD_BYTES {
                return Ok(body);
            }
            if incident_count > MAX_INCIDENTS {
                incident_count = MAX_INCIDENTS;
            } else if row_count > 1 {
                row_count = without_split_host(&rows, fewer_rows(row_count, length));
            } else {
                error!(
                    length,
                    "not even the shortest page of the snapshot fits into an answer; request failed"
                );
                return Err(Problem::internal());
            }
        }
    }

    fn incidents<'a>(&self, snapshot: &'a FleetSnapshot) -> Vec<&'a Incident> {
        let incidents = snapshot.incidents.iter();
        incidents
            .filter(|incident| self.selects(incident.node_id.as_deref()))
            .collect()
    }

    /// The rows after the cursor, each host followed by its agents. Agents without a host come first.
    fn rows<'a>(&self, snapshot: &'a FleetSnapshot) -> Vec<Row<'a>> {
        if self.summary_only {
            return Vec::new();
        }
        let hosts = snapshot.hosts.iter().map(Row::Host);
        let agents = snapshot.agents.iter().map(Row::Agent);
        let is_selected = |row: &Row<'_>| {
            let is_after = |after: &Position| row.position() > *after;
            self.selects(row.node_id()) && self.after.as_ref().is_none_or(is_after)
        };
        let mut rows: Vec<Row<'_>> = hosts.chain(agents).filter(is_selected).collect();
        rows.sort_by_cached_key(Row::position);
        rows
    }

    /// The organizations of the agents that an answer may hold.
    pub(super) fn organizations(&self, snapshot: &FleetSnapshot) -> Vec<OrganizationId> {
        if self.summary_only {
            return Vec::new();
        }
        let agents = snapshot.agents.iter();
        let selected = agents.filter(|agent| self.selects(agent.node_id.as_deref()));
        let ids: BTreeSet<OrganizationId> = selected.map(|agent| agent.organization_id).collect();
        ids.into_iter().collect()
    }

    fn selects(&self, node_id: Option<&str>) -> bool {
        self.node_id.is_none() || self.node_id.as_deref() == node_id
    }
}

/// A number of rows that probably fits if `count` rows have this length.
fn fewer_rows(count: usize, length: usize) -> usize {
    let fitting = count.saturating_mul(MAX_PAYLOAD_BYTES) / length;
    // Rows differ in length. A tenth less seldom needs another attempt.
    (fitting * 9 / 10).clamp(1, count - 1)
}

/// How many of `count` rows to keep so that no host is split between two pages; all of them if they are of one host.
fn without_split_host(rows: &[Row<'_>], count: usize) -> usize {
    let next_host = rows.get(count).map(Row::node_id);
    let is_of_other_host = |row: &Row<'_>| Some(row.node_id()) != next_host;
    match rows[..count].iter().rposition(is_of_other_host) {
        Some(last) => last + 1,
        None => count,
    }
}

fn encode(position: &Position) -> String {
    // A position always has a JSON form.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).unwrap_or_default())
}

fn decode(cursor: &str) -> Option<Position> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}
