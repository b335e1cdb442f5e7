//! A snapshot in pages, because Lambda returns six megabytes at most. Owns: the query parameters, what is
//! left out, where a page ends, and the cursor. Does not own: the JSON of the parts that a page is put together from
//! (`fleet_render`).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lambda_http::{Body, Request};
use serde::{Deserialize, Serialize};
use tracing::error;

use crate::api::encoding::Encoding;
use crate::api::list;
use crate::api::problem::{Problem, log_internal};
use crate::cache::{FinishedIncidents, FinishedSnapshot, Piece, PiecedBody, Section};
use crate::domain::ids::AgentId;
use crate::domain::payload::MAX_PAYLOAD_BYTES;
use crate::domain::timestamp::Timestamp;

/// More than what a page has besides the pieces: the texts around them, and a cursor.
const FRAME_BYTES: usize = 4_096;
/// What a page has besides a piece in a list: a comma, and the header of the block that it is stored in.
const SEPARATOR_BYTES: usize = 6;

/// What a caller wants to see of a snapshot. By default all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetQuery {
    /// One host, its agents and its incidents.
    node_id: Option<String>,
    /// Neither hosts nor agents.
    summary_only: bool,
    /// Where the page before ended.
    after: Option<Position>,
}

/// A place in the order of all rows. A host comes directly before its agents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Position(Option<String>, Option<AgentId>);

impl Position {
    fn end_of(section: &Section) -> Self {
        Self(section.node_id.clone(), Some(section.end))
    }
}

/// What a response shows.
struct Page<'a> {
    incidents: Option<&'a Piece>,
    sections: &'a [&'a Section],
    /// Whether sections follow.
    is_cut: bool,
    /// Whether something was left out.
    is_truncated: bool,
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
    pub fn answer(
        &self,
        snapshot: &FinishedSnapshot,
        stale: bool,
        encoding: Encoding,
    ) -> Result<Body, Problem> {
        let incidents = self.incidents(snapshot)?;
        let sections = self.sections(snapshot);
        let room = max_length(encoding)
            .saturating_sub(FRAME_BYTES)
            .saturating_sub(length(&snapshot.overview.summary, encoding));
        let page = Page::fill(incidents, &sections, room, encoding).ok_or_else(|| {
            error!(
                "not even the shortest page of the snapshot fits into an answer; request failed"
            );
            Problem::internal()
        })?;
        let body = self.body(snapshot, stale, &page);
        match encoding {
            Encoding::Gzip => Ok(Body::Binary(body.to_gzip())),
            Encoding::Plain => {
                let text = body.to_text();
                text.map(Body::Text)
                    .map_err(log_internal("response not decompressed"))
            }
        }
    }

    fn incidents<'a>(
        &self,
        snapshot: &'a FinishedSnapshot,
    ) -> Result<Option<&'a FinishedIncidents>, Problem> {
        if self.node_id.is_none() {
            return Ok(snapshot.overview.incidents.as_ref());
        }
        let mut hosts = snapshot
            .sections
            .iter()
            .filter(|section| section.host.is_some());
        let host = hosts.find(|host| host.node_id == self.node_id);
        let host = host.ok_or_else(|| Problem::not_found("Node not found"))?;
        Ok(host.incidents.as_ref())
    }

    /// The sections after the cursor. Agents without a host come first.
    fn sections<'a>(&self, snapshot: &'a FinishedSnapshot) -> Vec<&'a Section> {
        if self.summary_only {
            return Vec::new();
        }
        let is_selected = |section: &&Section| {
            let is_after = |after: &Position| Position::end_of(section) > *after;
            (self.node_id.is_none() || self.node_id == section.node_id)
                && self.after.as_ref().is_none_or(is_after)
        };
        let sections = snapshot.sections.iter().map(Arc::as_ref);
        sections.filter(is_selected).collect()
    }

    fn body<'a>(
        &self,
        snapshot: &'a FinishedSnapshot,
        stale: bool,
        page: &Page<'a>,
    ) -> PiecedBody<'a> {
        let mut body = PiecedBody::default();
        let refreshed_at = Timestamp(snapshot.overview.refreshed_at);
        body.text(format!(
            r#"{{"success":true,"data":{{"refreshedAt":"{refreshed_at}","stale":{stale},"summary":"#
        ));
        body.piece(&snapshot.overview.summary);
        body.text(r#","incidents":"#);
        match page.incidents {
            Some(incidents) => body.piece(incidents),
            None => body.text("[]"),
        }
        if !self.summary_only {
            let sections = page.sections.iter();
            body.text(r#","nodes":["#);
            append_list(
                &mut body,
                sections.clone().filter_map(|section| section.host.as_ref()),
            );
            body.text(r#"],"containers":["#);
            append_list(
                &mut body,
                sections.filter_map(|section| section.agents.as_ref()),
            );
            body.text("]");
        }
        if page.is_truncated {
            body.text(r#","truncated":true"#);
        }
        if let Some(last) = page.sections.last().filter(|_| page.is_cut) {
            let cursor = encode(&Position::end_of(last));
            body.text(format!(r#","cursor":"{cursor}""#));
        }
        body.text("}}");
        body
    }
}

impl<'a> Page<'a> {
    /// As many sections as there is room for. If all incidents are too long, only the worst are shown. `None` if there is
    /// no room for the first section.
    fn fill(
        incidents: Option<&'a FinishedIncidents>,
        sections: &'a [&'a Section],
        room: usize,
        encoding: Encoding,
    ) -> Option<Self> {
        // A host holds those of its agents that are on its page, which are those of its section.
        let split_host = sections
            .iter()
            .position(|section| section.host.is_some() && !section.is_last());
        let possible = &sections[..split_host.map_or(sections.len(), |at| at + 1)];
        let all = incidents.map(|incidents| &incidents.all);
        let worst = incidents.and_then(|incidents| incidents.worst.as_ref());
        let mut page = Self {
            incidents: all,
            sections: possible,
            is_cut: possible.len() < sections.len(),
            is_truncated: possible.len() < sections.len(),
        };
        if page.length(encoding) <= room {
            return Some(page);
        }
        page.incidents = worst.or(all);
        page.sections = &[];
        let mut rest = room.checked_sub(page.length(encoding))?;
        let fitting = possible.iter().take_while(|section| {
            let left = rest.checked_sub(section_length(section, encoding));
            rest = left.unwrap_or(rest);
            left.is_some()
        });
        page.sections = &possible[..fitting.count()];
        page.is_cut = page.sections.len() < sections.len();
        page.is_truncated = page.is_cut || worst.is_some();
        (sections.is_empty() || !page.sections.is_empty()).then_some(page)
    }

    fn length(&self, encoding: Encoding) -> usize {
        let incidents = self.incidents.map_or(0, |piece| length(piece, encoding));
        let sections = self.sections.iter();
        let sections = sections.map(|section| section_length(section, encoding));
        incidents + sections.sum::<usize>()
    }
}

/// How long a body may be before Lambda makes a JSON string or base64 of it.
const fn max_length(encoding: Encoding) -> usize {
    match encoding {
        // Lengths are those in a JSON string.
        Encoding::Plain => MAX_PAYLOAD_BYTES,
        Encoding::Gzip => MAX_PAYLOAD_BYTES / 4 * 3,
    }
}

fn length(piece: &Piece, encoding: Encoding) -> usize {
    match encoding {
        Encoding::Plain => piece.escaped_length(),
        Encoding::Gzip => piece.compressed_length(),
    }
}

fn section_length(section: &Section, encoding: Encoding) -> usize {
    let pieces = section.host.iter().chain(&section.agents);
    pieces
        .map(|piece| length(piece, encoding) + SEPARATOR_BYTES)
        .sum()
}

fn append_list<'a>(body: &mut PiecedBody<'a>, pieces: impl Iterator<Item = &'a Piece>) {
    for (index, piece) in pieces.enumerate() {
        if index > 0 {
            body.text(",");
        }
        body.piece(piece);
    }
}

fn encode(position: &Position) -> String {
    // A position always has a JSON form.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).unwrap_or_default())
}

fn decode(cursor: &str) -> Option<Position> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::admin::fleet_render::{render_overview, render_sections};
    use crate::api::admin::fleet_view::FleetView;
    use crate::api::response::Data;
    use crate::domain::fleet::fixtures::{example_run, now};
    use crate::domain::fleet::{
        FleetContext, FleetOverview, FleetReading, FleetSnapshot, Shard, ShardDigest,
    };

    #[test]
    fn a_body_of_pieces_is_the_json_of_the_whole_snapshot() {
        for (run, stale) in [(example_run(), false), (FleetReading::default(), true)] {
            let snapshot = FleetSnapshot::of(&run, now());
            let context = FleetContext::default();
            let digest = ShardDigest::of(Shard::default(), 1, &snapshot);
            let overview = FleetOverview::of(&[&digest], &[]).expect("an overview");
            let sections = render_sections(&snapshot, &context).expect("pieces");
            let finished = FinishedSnapshot {
                overview: render_overview(&overview).expect("pieces"),
                sections: sections.into_iter().map(Arc::new).collect(),
            };
            let query = FleetQuery::default();
            let body = query.answer(&finished, stale, Encoding::Plain);
            let Ok(Body::Text(text)) = body else {
                panic!("{body:?}");
            };
            let view = Data::new(FleetView::of(&snapshot, stale, &context));
            assert_eq!(text, serde_json::to_string(&view).expect("JSON"));
        }
    }
}
