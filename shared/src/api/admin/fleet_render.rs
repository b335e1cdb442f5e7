//! A snapshot as compressed JSON. Owns: which rows make a section, and what is compressed together. Does not own: the JSON
//! of hosts and agents (`fleet_view`), which sections a response has (`fleet_page`).

use std::collections::BTreeMap;
use std::io;

use uuid::Uuid;

use super::fleet_view::{AgentView, HostView, IncidentView, SummaryView};
use crate::cache::{FinishedIncidents, FinishedOverview, Piece, Section};
use crate::domain::fleet::{
    AgentReport, FleetContext, FleetOverview, FleetSnapshot, HostReport, Incident,
};
use crate::domain::ids::AgentId;

/// The JSON of a section's agents, unless it is one agent. A response has it twice, and must have room for it beside the
/// worst incidents.
const MAX_AGENTS_BYTES: usize = 500_000;
/// An answer that would be too long holds this many incidents, the most severe ones.
const MAX_INCIDENTS: usize = 1_000;

/// # Errors
/// Something has no JSON form or cannot be compressed.
pub fn render_sections(
    snapshot: &FleetSnapshot,
    context: &FleetContext,
) -> io::Result<Vec<Section>> {
    let mut rows: BTreeMap<Option<&str>, HostRows<'_>> = BTreeMap::new();
    for host in &snapshot.hosts {
        rows.entry(Some(host.node_id.as_str())).or_default().host = Some(host);
    }
    for agent in &snapshot.agents {
        let of_host = rows.entry(agent.node_id.as_deref()).or_default();
        of_host.agents.push(RenderedAgent {
            report: agent,
            json: serde_json::to_string(&AgentView::new(agent, context))?,
        });
    }
    for incident in &snapshot.incidents {
        if let Some(node_id) = incident.node_id.as_deref()
            && let Some(of_host) = rows.get_mut(&Some(node_id))
        {
            of_host.incidents.push(incident);
        }
    }
    let mut sections = Vec::with_capacity(rows.len());
    for (node_id, rows) in &rows {
        rows.render(*node_id, context, &mut sections)?;
    }
    Ok(sections)
}

/// # Errors
/// Something has no JSON form or cannot be compressed.
pub fn render_overview(overview: &FleetOverview) -> io::Result<FinishedOverview> {
    let incidents: Vec<&Incident> = overview.incidents.iter().collect();
    let summary = SummaryView::from(&overview.summary);
    Ok(FinishedOverview {
        refreshed_at: overview.refreshed_at,
        is_whole: overview.is_whole,
        summary: Piece::compress(&serde_json::to_string(&summary)?)?,
        incidents: render_incidents(&incidents)?,
    })
}

/// The rows with one `node_id`.
#[derive(Default)]
struct HostRows<'a> {
    /// `None` if no such host is registered.
    host: Option<&'a HostReport>,
    /// Sorted by id.
    agents: Vec<RenderedAgent<'a>>,
    incidents: Vec<&'a Incident>,
}

struct RenderedAgent<'a> {
    report: &'a AgentReport,
    json: String,
}

/// Agents of one section.
struct Group<'r, 'a> {
    agents: &'r [RenderedAgent<'a>],
    end: u128,
}

impl HostRows<'_> {
    fn render(
        &self,
        node_id: Option<&str>,
        context: &FleetContext,
        sections: &mut Vec<Section>,
    ) -> io::Result<()> {
        let mut groups = Vec::new();
        split(&self.agents, 0, u128::MAX, &mut groups);
        if groups.is_empty() {
            groups.push(Group {
                agents: &[],
                end: u128::MAX,
            });
        }
        if let Some(last) = groups.last_mut() {
            last.end = u128::MAX;
        }
        for (index, group) in groups.iter().enumerate() {
            let host = self.host.filter(|_| index == 0);
            let host = host.map(|host| group.render_host(host, context));
            let incidents = if index == 0 { &self.incidents[..] } else { &[] };
            sections.push(Section {
                node_id: node_id.map(str::to_owned),
                end: AgentId::new(Uuid::from_u128(group.end)),
                host: host.transpose()?,
                agents: group.render_agents()?,
                incidents: render_incidents(incidents)?,
            });
        }
        Ok(())
    }
}

impl Group<'_, '_> {
    fn render_host(&self, host: &HostReport, context: &FleetContext) -> io::Result<Piece> {
        let agents = self.agents.iter();
        let agents = agents.map(|agent| AgentView::new(agent.report, context));
        let view = HostView::new(host, agents.collect());
        Piece::compress(&serde_json::to_string(&view)?)
    }

    fn render_agents(&self) -> io::Result<Option<Piece>> {
        if self.agents.is_empty() {
            return Ok(None);
        }
        let agents: Vec<&str> = self
            .agents
            .iter()
            .map(|agent| agent.json.as_str())
            .collect();
        Piece::compress(&agents.join(",")).map(Some)
    }
}

/// Splits agents with ids from `first` to `last` until each group is short enough. It splits at fixed ids and not where a
/// group is full: so the next snapshot has, as a rule, the same sections, and a cursor of this one neither skips nor
/// repeats agents there.
fn split<'r, 'a>(
    agents: &'r [RenderedAgent<'a>],
    first: u128,
    last: u128,
    groups: &mut Vec<Group<'r, 'a>>,
) {
    let length: usize = agents.iter().map(|agent| agent.json.len()).sum();
    if agents.len() > 1 && length > MAX_AGENTS_BYTES {
        let middle = first + (last - first) / 2;
        let is_before = |agent: &RenderedAgent<'_>| agent.report.id.uuid().as_u128() <= middle;
        let (before, after) = agents.split_at(agents.partition_point(is_before));
        split(before, first, middle, groups);
        split(after, middle + 1, last, groups);
    } else if !agents.is_empty() {
        groups.push(Group { agents, end: last });
    }
}

fn render_incidents(incidents: &[&Incident]) -> io::Result<Option<FinishedIncidents>> {
    if incidents.is_empty() {
        return Ok(None);
    }
    let render = |incidents: &[&Incident]| {
        let views = incidents.iter().map(|incident| (*incident).into());
        let views: Vec<IncidentView<'_>> = views.collect();
        Piece::compress(&serde_json::to_string(&views)?)
    };
    let worst = incidents.get(..MAX_INCIDENTS);
    let worst = worst.filter(|_| incidents.len() > MAX_INCIDENTS);
    Ok(Some(FinishedIncidents {
        all: render(incidents)?,
        worst: worst.map(render).transpose()?,
    }))
}
