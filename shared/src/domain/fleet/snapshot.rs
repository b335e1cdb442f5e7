//! A refresh run rolled up. Owns: the order of hosts and agents, and when a snapshot is stale. Does not own:
//! its JSON (`api::admin`) nor its stored form (`cache`).

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};

use super::agent::AgentReport;
use super::claims::Claims;
use super::host::HostReport;
use super::incident::{Incident, IncidentStart, continue_incidents, incidents};
use super::observation::{FleetReading, OwnFault};
use super::summary::Summary;
use crate::domain::billing::OpenFindings;
use crate::domain::ids::OrganizationId;

/// A refresh run is due every minute; a snapshot of this age has missed one.
const SNAPSHOT_STALE_AFTER: TimeDelta = TimeDelta::seconds(90);

/// What operators are shown of the fleet. It holds no address of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetSnapshot {
    /// When the run ended.
    pub refreshed_at: DateTime<Utc>,
    pub summary: Summary,
    /// The most severe first, then by title.
    pub incidents: Vec<Incident>,
    /// Sorted by `node_id`.
    pub hosts: Vec<HostReport>,
    /// Sorted by `node_id` and id; agents without a host come first.
    pub agents: Vec<AgentReport>,
    pub own_fault: Option<OwnFault>,
    pub billing_findings: Vec<OpenFindings>,
    pub paused_roll_out: Option<String>,
}

/// What is shown with a snapshot that is not in it.
#[derive(Debug, Default)]
pub struct FleetContext {
    /// The image of agents that name none.
    pub default_image: String,
    /// The names of the organizations. Those of deleted ones are missing.
    pub organization_names: HashMap<OrganizationId, String>,
}

/// Whether a snapshot of a run that ended at `refreshed_at` is stale.
#[must_use]
pub fn is_stale(refreshed_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - refreshed_at >= SNAPSHOT_STALE_AFTER
}

impl FleetSnapshot {
    #[must_use]
    pub fn of(run: &FleetReading, now: DateTime<Utc>) -> Self {
        let claims = Claims::of(run);
        let hosts = run.hosts.iter();
        let mut hosts: Vec<HostReport> = hosts
            .map(|host| HostReport::of(host, &claims, now))
            .collect();
        hosts.sort_by(|one, other| one.node_id.cmp(&other.node_id));
        let agents = run.agents.iter();
        let mut agents: Vec<AgentReport> = agents
            .map(|agent| AgentReport::of(agent, &claims, now))
            .collect();
        agents.sort_by(|one, other| (&one.node_id, one.id).cmp(&(&other.node_id, other.id)));
        let all_hosts: Vec<&HostReport> = hosts.iter().collect();
        let all_agents: Vec<&AgentReport> = agents.iter().collect();
        let summary = Summary::of(&all_hosts, &all_agents, run.backlog);
        let incidents = incidents(
            &hosts,
            &agents,
            &summary,
            &run.billing_findings,
            run.paused_roll_out.as_deref(),
            run.own_fault,
            now,
        );
        Self {
            refreshed_at: now,
            incidents,
            summary,
            hosts,
            agents,
            own_fault: run.own_fault,
            billing_findings: run.billing_findings.clone(),
            paused_roll_out: run.paused_roll_out.clone(),
        }
    }

    /// Lets the incidents that the previous snapshot has, too, begin when they began there.
    pub fn continue_incidents(&mut self, previous: &[IncidentStart]) {
        continue_incidents(&mut self.incidents, previous);
    }

    /// The organizations of the agents, each once.
    #[must_use]
    pub fn organizations(&self) -> Vec<OrganizationId> {
        let agents = self.agents.iter();
        let ids: BTreeSet<OrganizationId> = agents.map(|agent| agent.organization_id).collect();
        ids.into_iter().collect()
    }
}
