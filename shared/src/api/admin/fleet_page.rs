//! A snapshot in pages, for Lambda returns six megabytes at most. Owns: what is left out, where a page
//! ends, and the cursor.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lambda_http::{Body, Request};
use serde::{Deserialize, Serialize};
use tracing::error;
use uuid::Uuid;

use crate::api::encoding::Encoding;
use crate::api::list;
use crate::api::problem::Problem;
use crate::domain::fleet::{ContainerView, Incident, Moment, NodeView, Snapshot, Summary};

/// The longest answer, as Lambda returns it.
const LONGEST: usize = 5_500_000;
/// Incidents of an answer that would be longer: the worst.
const INCIDENTS: usize = 1_000;

/// What of a snapshot somebody wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// One host, its agents and its incidents.
    node_id: Option<String>,
    /// Neither hosts nor agents.
    summary_only: bool,
    /// What comes after this.
    after: Option<Position>,
}

/// A host, or an agent of one: both are sorted by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Position(Option<String>, Option<Uuid>);

#[derive(Serialize)]
struct Answer<'a> {
    success: bool,
    data: Page<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    refreshed_at: Moment,
    stale: bool,
    summary: &'a Summary,
    incidents: &'a [&'a Incident],
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<&'a NodeView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    containers: Option<Vec<&'a ContainerView>>,
    /// Something was left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    /// Where hosts or agents go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

#[derive(Clone, Copy)]
enum Row<'a> {
    Node(&'a NodeView),
    Container(&'a ContainerView),
}

impl Row<'_> {
    fn node_id(&self) -> Option<&str> {
        match self {
            Self::Node(node) => Some(&node.node_id),
            Self::Container(container) => container.node_id.as_deref(),
        }
    }

    fn position(&self) -> Position {
        let container = match self {
            Self::Node(_) => None,
            Self::Container(container) => Some(container.id),
        };
        Position(self.node_id().map(str::to_owned), container)
    }
}

impl Asked {
    /// `nodeId`, `view` and `cursor`.
    ///
    /// # Errors
    /// 400.
    pub(super) fn read(request: &Request) -> Result<Self, Problem> {
        let summary_only = match list::parameter(request, "view").as_deref() {
            None => false,
            Some("summary") => true,
            Some(_) => return Err(Problem::field("view", "must be summary")),
        };
        let after = list::parameter(request, "cursor").map(|text| {
            let decoded = decode(&text);
            decoded.ok_or_else(|| Problem::field("cursor", "is not one that this route gave"))
        });
        Ok(Self {
            node_id: list::parameter(request, "nodeId"),
            summary_only,
            after: after.transpose()?,
        })
    }

    /// Tells apart what has been asked for, whatever texts it is made of.
    pub(super) fn tag(&self) -> String {
        format!("{self:?}")
    }

    /// What was asked for, as far as it fits into one answer.
    ///
    /// # Errors
    /// 404 for a host that is not there, 500 when nothing at all fits.
    pub(super) fn answer(
        &self,
        snapshot: &Snapshot,
        stale: bool,
        encoding: Encoding,
    ) -> Result<Body, Problem> {
        let known = |id: &String| snapshot.nodes.iter().any(|node| node.node_id == *id);
        if self.node_id.as_ref().is_some_and(|id| !known(id)) {
            return Err(Problem::not_found("Node not found"));
        }
        let (incidents, rows) = (self.incidents(snapshot), self.rows(snapshot));
        let (mut worst, mut count) = (incidents.len(), rows.len());
        loop {
            let taken = &rows[..count];
            let (cut, shown) = (count < rows.len(), !self.summary_only);
            let nodes = taken.iter().filter_map(|row| match row {
                Row::Node(node) => Some(*node),
                Row::Container(_) => None,
            });
            let containers = taken.iter().filter_map(|row| match row {
                Row::Node(_) => None,
                Row::Container(container) => Some(*container),
            });
            let page = Page {
                refreshed_at: snapshot.refreshed_at,
                stale,
                summary: &snapshot.summary,
                incidents: &incidents[..worst],
                nodes: shown.then(|| nodes.collect()),
                containers: shown.then(|| containers.collect()),
                truncated: cut || worst < incidents.len(),
                cursor: taken
                    .last()
                    .filter(|_| cut)
                    .map(|row| encode(&row.position())),
            };
            let data = Answer {
                success: true,
                data: page,
            };
            let (body, length) = encoding.encode(&data)?;
            if length <= LONGEST {
                return Ok(body);
            }
            if worst > INCIDENTS {
                worst = INCIDENTS;
            } else if count > 1 {
                count = whole_hosts(&rows, fewer(count, length));
            } else {
                error!(length, "one row of the snapshot is too long to be answered");
                return Err(Problem::internal());
            }
        }
    }

    fn incidents<'a>(&self, snapshot: &'a Snapshot) -> Vec<&'a Incident> {
        let asked = |incident: &&Incident| self.is_of(incident.node_id.as_deref());
        snapshot.incidents.iter().filter(asked).collect()
    }

    /// What is left to be shown, each host followed by its agents; those without a host come first.
    fn rows<'a>(&self, snapshot: &'a Snapshot) -> Vec<Row<'a>> {
        if self.summary_only {
            return Vec::new();
        }
        let nodes = snapshot.nodes.iter().map(Row::Node);
        let containers = snapshot.containers.iter().map(Row::Container);
        let asked = |row: &Row<'_>| {
            let after = |after: &Position| row.position() > *after;
            self.is_of(row.node_id()) && self.after.as_ref().is_none_or(after)
        };
        let mut rows: Vec<Row<'_>> = nodes.chain(containers).filter(asked).collect();
        rows.sort_by_cached_key(Row::position);
        rows
    }

    fn is_of(&self, node_id: Option<&str>) -> bool {
        self.node_id.is_none() || self.node_id.as_deref() == node_id
    }
}

/// So many rows that they may fit where `count` of them are of this length.
fn fewer(count: usize, length: usize) -> usize {
    let fitting = count.saturating_mul(LONGEST) / length;
    // Rows differ: some less, so that it seldom has to be tried again.
    (fitting * 9 / 10).clamp(1, count - 1)
}

/// The same without the agents at the end whose host has more; unless there is nothing else.
fn whole_hosts(rows: &[Row<'_>], count: usize) -> usize {
    let next = rows.get(count).map(Row::node_id);
    let other = |row: &Row<'_>| Some(row.node_id()) != next;
    match rows[..count].iter().rposition(other) {
        Some(last) => last + 1,
        None => count,
    }
}

fn encode(position: &Position) -> String {
    // Two texts always have a JSON form.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).unwrap_or_default())
}

fn decode(text: &str) -> Option<Position> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}
