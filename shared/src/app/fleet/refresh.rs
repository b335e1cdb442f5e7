//! The refresh run: every minute, and on request. Owns: that only one runs at a time, the order in which
//! hosts and rows are read, and what a run writes. A run that ends early keeps what it has read. Does not
//! own: inspecting one host (`inspect`), nor what observations mean (`domain::fleet`).
//!
//! The rows that go into the snapshot are read after the hosts. A start names its container in its row before it
//! creates it, so these rows claim every container that was observed while it was being created.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use tokio::time::timeout_at;
use tracing::{info, warn};

use super::inspect::{InspectionResult, Probe, inspect};
use super::run_clock::RunClock;
use super::transitions::{self, AppliedTransitions};
use crate::cache::{Cache, CacheError, CachedSnapshot, Lease};
use crate::db;
use crate::db::Database;
use crate::db::hosts::inspection::{FleetHost, HostCheck};
use crate::domain::fleet::{
    AgentEvidence, FleetReading, FleetSnapshot, HostInspection, HostStatus, InspectedHost,
    find_transitions,
};
use crate::domain::ids::{AgentId, InvocationId};
use crate::hosts::HostClient;

/// With this limit, a run over 500 hosts, 25 of which time out after ten seconds, takes 14 s (`cargo bench -p tests
/// --bench fleet`). A higher limit would need more memory for connections and responses.
const MAX_CONCURRENT_HOSTS: usize = 64;
/// The time before the deadline that is kept free for writing rows and the snapshot.
const WRITE_RESERVE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
pub struct RefreshDeps<'a> {
    /// The run uses one connection at a time, and none while it reads hosts.
    pub pool: &'a Database,
    pub host_client: &'a HostClient,
    pub cache: &'a Cache,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefreshCounts {
    /// Registered hosts.
    pub hosts: usize,
    /// Hosts whose Docker Engine was read.
    pub read_hosts: usize,
    /// Hosts that the run had no time to inspect.
    pub not_inspected_hosts: usize,
    /// Agents that responded.
    pub heartbeats: u64,
    pub disconnected_agents: usize,
    pub regained_agents: usize,
    /// Agents whose container is lost.
    pub lost_agents: usize,
    /// Hosts whose number of allocated slots was wrong.
    pub corrected_hosts: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The run's snapshot is cached.
    Done(RefreshCounts),
    /// Another run is under way.
    Busy,
    /// The cached snapshot is of a run that began after the request.
    Fresh,
    /// The run outlived its lease and another run has begun. Its snapshot is discarded.
    Overtaken,
}

/// The run ended early. What it wrote about hosts and agents stays; the cache keeps the previous
/// snapshot.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("the database request failed ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
}

/// Inspects all hosts and caches the snapshot. `requested_at` is `None` for a scheduled run. `owner`
/// identifies the invocation in the lease.
pub async fn fleet_refresh(
    deps: RefreshDeps<'_>,
    requested_at: Option<DateTime<Utc>>,
    owner: InvocationId,
    timeout: Duration,
) -> Result<RefreshOutcome, RefreshError> {
    let deadline = Instant::now() + timeout;
    let mut conn = deps.pool.statements();
    let readiness = db::clock::readiness(&mut conn).await?;
    drop(conn);
    let now = readiness.now;
    let clock = RunClock::start(now);
    let lease_end = now + TimeDelta::from_std(timeout).unwrap_or_default();
    let Some(lease) = deps.cache.lease_take(owner, now, lease_end).await? else {
        return Ok(RefreshOutcome::Busy);
    };
    let run = Run {
        deps,
        clock,
        is_adopted: !readiness.adoption_required,
        deadline,
    };
    let outcome = run.run(&lease, requested_at).await;
    if let Err(error) = deps.cache.lease_return(&lease).await {
        warn!(%error, "fleet lease not returned; runs are skipped until it expires");
    }
    outcome
}

/// A refresh run under way.
struct Run<'a> {
    deps: RefreshDeps<'a>,
    clock: RunClock,
    /// Until the database of an older deployment is adopted, that deployment's own worker maintains agents
    /// and slots.
    is_adopted: bool,
    deadline: Instant,
}

/// What to inspect, from the rows as they were before the inspection.
struct RunPlan {
    hosts: Vec<FleetHost>,
    probes: HashMap<String, Vec<Probe>>,
    expected_agents: HashSet<AgentId>,
}

impl Run<'_> {
    async fn run(
        &self,
        lease: &Lease,
        requested_at: Option<DateTime<Utc>>,
    ) -> Result<RefreshOutcome, RefreshError> {
        let began_at = self.clock.now();
        let previous = self.previous_snapshot(began_at).await?;
        if let (Some(requested_at), Some(previous)) = (requested_at, &previous)
            && previous.began_at >= requested_at
        {
            return Ok(RefreshOutcome::Fresh);
        }
        let plan = self.read_plan().await?;
        let results = self.inspect_all(&plan).await;
        let responding = results.values().flat_map(|result| &result.responding);
        let evidence = AgentEvidence {
            responding: responding.copied().collect(),
            expected_before_run: plan.expected_agents,
        };
        let heartbeats = self.write_heartbeats(&evidence.responding).await?;
        let corrected_hosts = self.write_hosts(&results).await?;
        let mut reading = self.read_rows(results).await?;
        let mut applied = AppliedTransitions::default();
        if self.is_adopted {
            let previous = previous.as_deref().map(|previous| &previous.snapshot);
            let transitions = find_transitions(&reading, previous, &evidence, self.clock.now());
            if !transitions.is_empty() {
                applied = transitions::apply(self.deps.pool, &transitions).await?;
                // The snapshot shows the statuses after the transitions.
                let mut conn = self.deps.pool.statements();
                reading.agents =
                    db::hosts::inspection::agents_of_any_organization(&mut conn).await?;
            }
        }
        let now = self.clock.now();
        let mut snapshot = FleetSnapshot::of(&reading, now);
        if let Some(previous) = &previous {
            snapshot.continue_incidents(&previous.snapshot);
        }
        let cache = self.deps.cache;
        if !cache
            .snapshot_write(lease, &snapshot, began_at, now)
            .await?
        {
            warn!(
                "refresh run outlived its lease and another one has begun; its snapshot is discarded"
            );
            return Ok(RefreshOutcome::Overtaken);
        }
        let inspections = || reading.hosts.iter().map(|host| &host.inspection);
        Ok(RefreshOutcome::Done(RefreshCounts {
            hosts: plan.hosts.len(),
            read_hosts: inspections()
                .filter(|inspection| inspection.engine().is_ok())
                .count(),
            not_inspected_hosts: inspections()
                .filter(|inspection| inspection.inspected_at().is_none())
                .count(),
            heartbeats,
            disconnected_agents: applied.disconnected,
            regained_agents: applied.regained,
            lost_agents: applied.lost,
            corrected_hosts,
        }))
    }

    /// A snapshot that cannot be read counts as none: the run replaces it.
    async fn previous_snapshot(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Option<Arc<CachedSnapshot>>, CacheError> {
        match self.deps.cache.snapshot(now).await {
            Err(CacheError::Unreadable) => Ok(None),
            other => other,
        }
    }

    async fn read_plan(&self) -> sqlx::Result<RunPlan> {
        let mut conn = self.deps.pool.statements();
        let hosts = db::hosts::inspection::hosts_all(&mut conn).await?;
        let agents = db::hosts::inspection::agents_expected_of_any_organization(&mut conn).await?;
        let mut plan = RunPlan {
            hosts,
            probes: HashMap::new(),
            expected_agents: agents.iter().map(|agent| agent.agent_id).collect(),
        };
        for agent in agents {
            if let Some(port) = agent.web_port {
                let agent_id = agent.agent_id;
                let probes = plan.probes.entry(agent.node_id).or_default();
                probes.push(Probe { agent_id, port });
            }
        }
        Ok(plan)
    }

    /// The results by host. A host that was not reached before the deadline has none.
    async fn inspect_all(&self, plan: &RunPlan) -> HashMap<String, InspectionResult> {
        let deadline = self.deadline.checked_sub(WRITE_RESERVE);
        let deadline = deadline.unwrap_or(self.deadline);
        let RefreshDeps {
            pool, host_client, ..
        } = self.deps;
        let inspections = stream::iter(&plan.hosts).map(|FleetHost { coordinates, .. }| async {
            let node_id = &coordinates.node_id;
            let probes = plan.probes.get(node_id).map_or(&[][..], Vec::as_slice);
            let result =
                inspect(pool, host_client, coordinates, probes, self.clock, deadline).await;
            (node_id.clone(), result)
        });
        let mut inspections = inspections.buffer_unordered(MAX_CONCURRENT_HOSTS);
        let mut results = HashMap::with_capacity(plan.hosts.len());
        while let Ok(Some((node_id, result))) =
            timeout_at(deadline.into(), inspections.next()).await
        {
            results.insert(node_id, result);
        }
        results
    }

    /// Returns the number of agents whose heartbeat was written.
    async fn write_heartbeats(&self, responding: &HashSet<AgentId>) -> sqlx::Result<u64> {
        let agents: Vec<AgentId> = responding.iter().copied().collect();
        let mut tx = self.deps.pool.begin().await?;
        let now = self.clock.now();
        let written =
            db::hosts::inspection::heartbeats_record_of_any_organization(&mut tx, &agents, now)
                .await?;
        tx.commit().await?;
        Ok(written)
    }

    /// Writes the status of each inspected host and corrects the numbers of allocated slots. Returns the
    /// number of corrected hosts.
    async fn write_hosts(
        &self,
        results: &HashMap<String, InspectionResult>,
    ) -> sqlx::Result<usize> {
        let checks: Vec<HostCheck> = results
            .iter()
            .filter_map(|(node_id, result)| {
                Some(HostCheck {
                    node_id: node_id.clone(),
                    status: HostStatus::of(&result.inspection),
                    checked_at: result.inspection.inspected_at()?,
                })
            })
            .collect();
        let mut corrected_hosts = 0;
        let mut tx = self.deps.pool.begin().await?;
        if self.is_adopted {
            let corrections = db::hosts::slots::slots_reconcile(&mut tx).await?;
            for correction in &corrections {
                info!(
                    node.id = correction.node_id,
                    before = correction.before,
                    after = correction.after,
                    "number of allocated slots corrected"
                );
            }
            corrected_hosts = corrections.len();
        }
        db::hosts::inspection::hosts_record_checks(&mut tx, &checks).await?;
        tx.commit().await?;
        Ok(corrected_hosts)
    }

    /// The rows as they are now. A host that was registered during the run is not inspected.
    async fn read_rows(
        &self,
        mut results: HashMap<String, InspectionResult>,
    ) -> sqlx::Result<FleetReading> {
        let mut conn = self.deps.pool.statements();
        let rows = db::hosts::inspection::hosts_all(&mut conn).await?;
        let now = self.clock.now();
        let backlog =
            db::hosts::inspection::jobs_waiting_of_any_organization(&mut conn, now).await?;
        let agents = db::hosts::inspection::agents_of_any_organization(&mut conn).await?;
        let billing_findings = db::billing::findings::findings_open(&mut conn).await?;
        let hosts = rows.into_iter().map(|FleetHost { row, .. }| InspectedHost {
            inspection: results
                .remove(&row.node_id)
                .map_or(HostInspection::NotInspected, |result| result.inspection),
            row,
        });
        Ok(FleetReading {
            hosts: hosts.collect(),
            agents,
            backlog: u64::try_from(backlog).unwrap_or_default(),
            billing_findings,
        })
    }
}
