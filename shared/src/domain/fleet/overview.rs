//! The totals and incidents of a fleet, put together from what runs over its shards observed. Owns: what a run contributes.
//! Does not own: which run counts for a host (`shard`).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::agent::AgentReport;
use super::host::HostReport;
use super::incident::{
    Incident, IncidentStart, Scope, continue_incidents, fleet_incidents, sort_incidents,
};
use super::observation::OwnFault;
use super::shard::{Shard, ShardRun, ShardRuns};
use super::snapshot::FleetSnapshot;
use super::summary::Summary;
use crate::domain::billing::OpenFindings;
use crate::domain::lane::Backlog;

/// What a run over a shard contributes. The cache stores it: a change, also of the types in it, needs another format there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardDigest {
    pub run: ShardRun,
    pub own_fault: Option<OwnFault>,
    /// Of the whole fleet.
    pub backlog: Backlog,
    /// Of the whole fleet.
    pub billing_findings: Vec<OpenFindings>,
    /// Why the roll-out of a new default image has paused by itself.
    pub paused_roll_out: Option<String>,
    /// By the names that rows give.
    pub hosts: Vec<HostDigest>,
    /// Those of hosts and agents.
    pub incidents: Vec<Incident>,
}

/// A host and the agents whose rows name it, or the agents without a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDigest {
    pub node_id: Option<String>,
    pub summary: Summary,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetOverview {
    /// When the oldest of the runs ended.
    pub refreshed_at: DateTime<Utc>,
    /// Whether there is a run over each part of the fleet.
    pub is_whole: bool,
    pub summary: Summary,
    /// The most severe first, then by title.
    pub incidents: Vec<Incident>,
}

impl ShardDigest {
    #[must_use]
    pub fn of(shard: Shard, token: i64, snapshot: &FleetSnapshot) -> Self {
        let mut rows: BTreeMap<Option<&str>, (Vec<&HostReport>, Vec<&AgentReport>)> =
            BTreeMap::new();
        for host in &snapshot.hosts {
            let of_host = rows.entry(Some(host.node_id.as_str())).or_default();
            of_host.0.push(host);
        }
        for agent in &snapshot.agents {
            let of_host = rows.entry(agent.node_id.as_deref()).or_default();
            of_host.1.push(agent);
        }
        let hosts = rows
            .into_iter()
            .map(|(node_id, (hosts, agents))| HostDigest {
                node_id: node_id.map(str::to_owned),
                summary: Summary::of(&hosts, &agents, Backlog::default()),
            });
        let incidents = snapshot.incidents.iter();
        let incidents = incidents.filter(|incident| incident.scope != Scope::Cluster);
        Self {
            run: ShardRun {
                shard,
                token,
                refreshed_at: snapshot.refreshed_at,
            },
            own_fault: snapshot.own_fault,
            backlog: snapshot.summary.backlog,
            billing_findings: snapshot.billing_findings.clone(),
            paused_roll_out: snapshot.paused_roll_out.clone(),
            hosts: hosts.collect(),
            incidents: incidents.cloned().collect(),
        }
    }

    /// For the next runs.
    pub fn incident_starts(&self) -> impl Iterator<Item = IncidentStart> {
        self.incidents.iter().map(IncidentStart::of)
    }

    /// Whether the run counts for at least one host among these runs. The newest one always does.
    #[must_use]
    pub fn is_needed(&self, runs: &ShardRuns<'_>) -> bool {
        let mut hosts = self.hosts.iter();
        runs.is_newest(&self.run)
            || hosts.any(|host| runs.counts(&self.run, host.node_id.as_deref()))
    }
}

impl FleetOverview {
    /// `earlier` are the incidents of the fleet as a whole that were shown before. `None` without digests.
    #[must_use]
    pub fn of(digests: &[&ShardDigest], earlier: &[IncidentStart]) -> Option<Self> {
        let runs = ShardRuns::of(digests.iter().map(|digest| &digest.run));
        let mut all = digests.iter();
        let newest = all.find(|digest| runs.is_newest(&digest.run))?;
        let now = newest.run.refreshed_at;
        let mut summary = Summary {
            backlog: newest.backlog,
            ..Summary::default()
        };
        let mut incidents = Vec::new();
        let mut own_fault = None::<OwnFault>;
        let mut refreshed_at = now;
        for digest in digests.iter().filter(|digest| digest.is_needed(&runs)) {
            let run = &digest.run;
            refreshed_at = refreshed_at.min(run.refreshed_at);
            for host in &digest.hosts {
                if runs.counts(run, host.node_id.as_deref()) {
                    summary.add(&host.summary);
                }
            }
            let of_digest = digest.incidents.iter();
            let shown = of_digest.filter(|one| runs.counts(run, one.node_id.as_deref()));
            incidents.extend(shown.cloned());
            if let Some(fault) = digest.own_fault {
                let sum = own_fault.get_or_insert(OwnFault {
                    unread_hosts: 0,
                    hosts: 0,
                });
                sum.unread_hosts += fault.unread_hosts;
                sum.hosts += fault.hosts;
            }
        }
        let mut of_fleet = fleet_incidents(
            &summary,
            &newest.billing_findings,
            newest.paused_roll_out.as_deref(),
            own_fault,
            now,
        );
        continue_incidents(&mut of_fleet, earlier);
        incidents.extend(of_fleet);
        sort_incidents(&mut incidents);
        Some(Self {
            refreshed_at,
            is_whole: runs.cover_fleet(),
            summary,
            incidents,
        })
    }

    /// The incidents of the fleet as a whole, for the next overview.
    #[must_use]
    pub fn fleet_incident_starts(&self) -> Vec<IncidentStart> {
        let incidents = self.incidents.iter();
        let of_fleet = incidents.filter(|incident| incident.scope == Scope::Cluster);
        of_fleet.map(IncidentStart::of).collect()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::fixtures::{
        agent, example_run, failed, host, now, observed, read, unreachable,
    };
    use super::super::{
        AlertCode, EngineObservation, FleetReading, HostInspection, HostReadError, InspectedHost,
    };
    use super::*;

    fn shard(number: i32, first: Option<&str>, end: Option<&str>) -> Shard {
        Shard {
            number,
            first: first.map(str::to_owned),
            end: end.map(str::to_owned),
        }
    }

    /// What a run over a shard of these hosts observes, with one agent on each.
    fn digest(shard: Shard, hosts: &[&str], seconds: i64) -> ShardDigest {
        let reading = FleetReading {
            hosts: hosts.iter().map(|name| host(name, read(vec![]))).collect(),
            agents: (1..).zip(hosts).map(|(n, name)| agent(n, name)).collect(),
            ..FleetReading::default()
        };
        let at = now() + TimeDelta::seconds(seconds);
        ShardDigest::of(shard, seconds, &FleetSnapshot::of(&reading, at))
    }

    fn overview(digests: &[ShardDigest]) -> FleetOverview {
        let digests: Vec<&ShardDigest> = digests.iter().collect();
        FleetOverview::of(&digests, &[]).expect("an overview")
    }

    #[test]
    fn the_overview_of_one_shard_is_that_of_its_snapshot() {
        let paused = FleetReading {
            paused_roll_out: Some("3 of the last 5 restarts failed".to_owned()),
            ..FleetReading::default()
        };
        for reading in [example_run(), FleetReading::default(), paused] {
            let snapshot = FleetSnapshot::of(&reading, now());
            let digest = ShardDigest::of(Shard::default(), 1, &snapshot);
            let overview = overview(&[digest]);
            assert_eq!(overview.summary, snapshot.summary);
            assert_eq!(overview.incidents, snapshot.incidents);
            assert_eq!(overview.refreshed_at, snapshot.refreshed_at);
            assert!(overview.is_whole);
        }
    }

    #[test]
    fn each_host_counts_as_the_newest_run_over_it_observed_it() {
        let whole = digest(Shard::default(), &["a", "b", "c", "d"], 0);
        let before_c = digest(shard(0, None, Some("c")), &["a", "b"], 60);
        let from_c = digest(shard(1, Some("c"), None), &["c", "d", "e"], 61);
        let hosts = |digests: &[&ShardDigest]| {
            let runs = ShardRuns::of(digests.iter().map(|digest| &digest.run));
            let overview = FleetOverview::of(digests, &[]).expect("an overview");
            assert_eq!(overview.summary.total_agents, overview.summary.total_hosts);
            let needed = digests.iter().filter(|digest| digest.is_needed(&runs));
            (overview.summary.total_hosts, needed.count())
        };
        assert_eq!(hosts(&[&whole]), (4, 1));
        // While the fleet is cut, no host disappears, and none counts twice.
        assert_eq!(hosts(&[&whole, &before_c]), (4, 2));
        assert_eq!(hosts(&[&from_c, &whole]), (5, 2));
        assert_eq!(hosts(&[&from_c, &whole, &before_c]), (5, 2));
        // A host that was removed disappears, although an older run observed it.
        let without_b = digest(shard(0, None, Some("c")), &["a"], 120);
        assert_eq!(hosts(&[&from_c, &whole, &without_b]), (4, 2));
    }

    #[test]
    fn the_overview_is_as_old_as_its_oldest_shard() {
        let shards = [
            digest(shard(0, None, Some("c")), &["a"], 0),
            digest(shard(1, Some("c"), None), &["c"], 100),
        ];
        assert_eq!(overview(&shards).refreshed_at, now());
    }

    #[test]
    fn unreadable_hosts_and_the_fullest_disk_are_those_of_the_whole_fleet() {
        let with_disk = |name: &str, percent| {
            let mut observation = observed(Ok(EngineObservation::default()));
            observation.facts.disk_used_percent = Some(percent);
            host(name, HostInspection::Observed(Box::new(observation)))
        };
        let of = |shard: Shard, hosts: Vec<InspectedHost>| {
            let reading = FleetReading {
                hosts,
                ..FleetReading::default()
            };
            ShardDigest::of(shard, 1, &FleetSnapshot::of(&reading, now()))
        };
        let mut lost = host("f", unreachable());
        lost.row.is_lost = true;
        let mut emptied = host("g", unreachable());
        (emptied.row.enabled, emptied.row.allocated_count) = (false, 0);
        let first = vec![host("a", unreachable()), with_disk("b", 97), lost, emptied];
        let not_inspected = host("d", HostInspection::NotInspected);
        let second = vec![
            with_disk("c", 40),
            not_inspected,
            host("e", failed(HostReadError::NoKey)),
        ];
        let shards = [
            of(shard(0, None, Some("c")), first),
            of(shard(1, Some("c"), None), second),
        ];
        let whole = overview(&shards);
        assert_eq!(whole.summary.unreadable_hosts, 2);
        assert_eq!(whole.summary.fullest_disk_percent, Some(97));
        assert!(whole.is_whole);
        assert!(!overview(&shards[1..]).is_whole);
    }

    #[test]
    fn f67_faults_on_this_side_in_several_shards_are_one_incident_that_goes_on() {
        let fault = |unread_hosts| {
            Some(OwnFault {
                unread_hosts,
                hosts: 4,
            })
        };
        let mut shards = [
            digest(shard(0, None, Some("c")), &["a"], 0),
            digest(shard(1, Some("c"), None), &["c"], 1),
        ];
        shards[0].own_fault = fault(3);
        shards[1].own_fault = fault(4);
        let first = overview(&shards);
        let of_fleet = |overview: &FleetOverview| -> Vec<Incident> {
            let incidents = overview.incidents.iter().cloned();
            incidents
                .filter(|incident| incident.scope == Scope::Cluster)
                .collect()
        };
        let incidents = of_fleet(&first);
        let [incident] = &incidents[..] else {
            panic!("{first:?}");
        };
        assert_eq!(incident.code, AlertCode::FleetUnreadable);
        assert!(incident.detail.starts_with("7 of 8 hosts"), "{incident:?}");
        shards[1].run.refreshed_at = now() + TimeDelta::minutes(1);
        let digests = [&shards[0], &shards[1]];
        let second = FleetOverview::of(&digests, &first.fleet_incident_starts());
        let second = second.expect("an overview");
        assert_eq!(of_fleet(&second)[0].since, incident.since);
    }

    #[test]
    fn incidents_of_all_shards_are_in_one_order() {
        let broken = |number: i32, name: &str, first: Option<&str>, end: Option<&str>| {
            let reading = FleetReading {
                hosts: vec![host(name, unreachable())],
                ..FleetReading::default()
            };
            let snapshot = FleetSnapshot::of(&reading, now());
            ShardDigest::of(shard(number, first, end), 1, &snapshot)
        };
        let shards = [
            broken(0, "b", None, Some("c")),
            broken(1, "c", Some("c"), None),
        ];
        let overview = overview(&shards);
        let keys = overview
            .incidents
            .iter()
            .map(|one| (one.severity, &one.title));
        let keys: Vec<_> = keys.collect();
        assert!(keys.is_sorted(), "{keys:?}");
        assert!(keys.len() >= 3, "{keys:?}");
    }
}
