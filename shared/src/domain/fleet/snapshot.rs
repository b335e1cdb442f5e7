//! A refresh run rolled up. Owns: the order of hosts and agents, and when a snapshot is stale. Does not own:
//! its JSON (`api::admin`) nor its stored form (`cache`).

use chrono::{DateTime, TimeDelta, Utc};

use super::agent::AgentReport;
use super::claims::Claims;
use super::host::HostReport;
use super::incident::{Incident, continue_incidents, incidents};
use super::observation::FleetReading;
use super::summary::Summary;

/// A refresh run is due every minute; a snapshot of this age has missed one.
pub const SNAPSHOT_STALE_AFTER: TimeDelta = TimeDelta::seconds(90);

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
        let summary = Summary::of(&hosts, &agents, run.backlog);
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
        }
    }

    /// Lets the incidents that the previous snapshot has, too, begin when they began there.
    pub fn continue_incidents(&mut self, previous: &Self) {
        continue_incidents(&mut self.incidents, &previous.incidents);
    }

    #[must_use]
    pub fn is_stale(&self, now: DateTime<Utc>) -> bool {
        now - self.refreshed_at >= SNAPSHOT_STALE_AFTER
    }
}
