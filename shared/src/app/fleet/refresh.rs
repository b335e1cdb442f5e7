//! The refresh run over a shard of the fleet: every minute, and on request. Owns: that only one runs at a time, the order in
//! which hosts and rows are read, and what a run writes. A run that ends early keeps what it has read. Without the cache a
//! run does everything but renew the snapshot (F72). Does not own: inspecting one host (`inspect`), nor what
//! observations mean (`domain::fleet`).
//!
//! The rows that go into the snapshot are read after the hosts. A start names its container in its row before it
//! creates it, so these rows claim every container that was observed while it was being created.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use tokio::time::error::Elapsed;
use tokio::time::timeout_at;
use tracing::{info, warn};

use super::deaths::{self, DeathDeps};
use super::inspect::{InspectionResult, Simulation, inspect};
use super::plan::RunPlan;
use super::renewal::{self, FinishedRun, FleetCondition, Renewal, RenewalDeps};
use super::repair::repair;
use super::run_clock::RunClock;
use super::transitions::{self, AppliedTransitions};
use crate::cache::TakenSample;
use crate::db;
use crate::db::Database;
use crate::db::hosts::inspection::{FleetHost, HostCheck};
use crate::db::hosts::leases::{FleetLease, lease_return, lease_take};
use crate::domain::agent::AgentStatus;
use crate::domain::fleet::{
    AgentEvidence, AgentRow, ContainerObservation, FleetReading, FleetSnapshot, HostInspection,
    HostRow, HostStatus, InspectedHost, OwnFault, Shard, Suspicions, find_transitions, is_stale,
    next_suspicions,
};
use crate::domain::ids::{AgentId, InvocationId};
use crate::domain::placement::set_aside_hosts;
use crate::hosts::HostClient;

/// With this limit, a run over 500 hosts, 25 of which time out after ten seconds, takes 14 s (`cargo bench -p tests
/// --bench fleet`). A higher limit would need more memory for connections and responses.
const MAX_CONCURRENT_HOSTS: usize = 64;
/// The time before the deadline that is kept free for writing rows and the snapshot.
const WRITE_RESERVE: Duration = Duration::from_secs(5);
/// A recorded heartbeat is replaced when it is as old as this: an agent's row is not rewritten every minute. Below the
/// five minutes from which an agent counts as silent, by more than a run.
const HEARTBEAT_RECORDED_EVERY: TimeDelta = TimeDelta::minutes(3);

#[derive(Clone, Copy, Debug)]
pub struct RefreshDeps<'a> {
    /// The run uses one connection at a time, and none while it reads hosts.
    pub pool: &'a Database,
    pub host_client: &'a HostClient,
    pub renewal: RenewalDeps<'a>,
    /// What the hosts look like, if they are not to be connected to. `None` in a deployment.
    pub simulation: Option<&'a dyn Simulation>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefreshCounts {
    /// Registered hosts of the shard.
    pub hosts: usize,
    /// Hosts whose Docker Engine was read.
    pub read_hosts: usize,
    /// Hosts that the run had no time to inspect.
    pub not_inspected_hosts: usize,
    /// Agents that responded.
    pub heartbeats: usize,
    pub disconnected_agents: usize,
    pub regained_agents: usize,
    /// Agents whose container is lost.
    pub lost_agents: usize,
    /// Hosts whose number of allocated slots was wrong.
    pub corrected_hosts: usize,
    /// When the snapshot was made.
    pub finished_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The run's snapshot is cached. `fleet` is `None` if the last run over another shard is too long ago.
    Done {
        counts: RefreshCounts,
        fleet: Option<FleetCondition>,
    },
    /// Another run is under way.
    Busy,
    /// What is cached of the shard is of a run that began after the request, or recently.
    Fresh,
    /// The run outlived its lease and another run has begun. Its snapshot is discarded.
    Overtaken,
    /// The cache does not answer. The run did everything but renew the snapshot.
    Uncached(RefreshCounts),
}

/// The run ended early: the database failed. What it wrote about hosts and agents stays; the cache keeps the previous
/// snapshot.
#[derive(Debug, thiserror::Error)]
#[error("the database request failed ({})", db::error_class(.0))]
pub struct RefreshError(#[from] sqlx::Error);

/// Inspects the hosts of a shard and caches what readers get of it. `requested_at` is `None` for a scheduled run. `owner`
/// identifies the invocation in the lease.
pub async fn fleet_refresh(
    deps: RefreshDeps<'_>,
    shard: &Shard,
    requested_at: Option<DateTime<Utc>>,
    owner: InvocationId,
    timeout: Duration,
) -> Result<RefreshOutcome, RefreshError> {
    let deadline = Instant::now() + timeout;
    let mut conn = deps.pool.statements();
    let readiness = db::clock::readiness(&mut conn).await?;
    let now = readiness.now;
    let clock = RunClock::start(now);
    let lease_end = now + TimeDelta::from_std(timeout).unwrap_or_default();
    let lease = lease_take(&mut conn, shard.number, owner, now, lease_end).await?;
    drop(conn);
    let Some(lease) = lease else {
        return Ok(RefreshOutcome::Busy);
    };
    let run = Run {
        deps,
        shard,
        clock,
        is_adopted: !readiness.adoption_required,
        deadline,
    };
    let outcome = Box::pin(run.run(lease, requested_at)).await;
    if let Err(error) = lease_return(&mut deps.pool.statements(), lease).await {
        let error = db::error_class(&error);
        warn!(
            error,
            "fleet lease not returned; runs are skipped until it expires"
        );
    }
    outcome
}

/// A refresh run under way.
struct Run<'a> {
    deps: RefreshDeps<'a>,
    shard: &'a Shard,
    clock: RunClock,
    /// Until the database of an older deployment is adopted, that deployment's own worker maintains agents
    /// and slots.
    is_adopted: bool,
    deadline: Instant,
}

impl Run<'_> {
    async fn run(
        &self,
        lease: FleetLease,
        requested_at: Option<DateTime<Utc>>,
    ) -> Result<RefreshOutcome, RefreshError> {
        let began_at = self.clock.now();
        // Agents' lives must not depend on the cache: without it the run does everything else.
        let previous_began_at =
            renewal::previous_run(self.deps.renewal.cache, self.shard, began_at).await;
        // A reader requests a run because a part of the snapshot is stale. Without the second condition, one shard whose
        // runs all fail would have all others inspected every ten seconds.
        if let (Some(requested_at), Ok(Some(previous_began_at))) = (requested_at, previous_began_at)
            && (previous_began_at >= requested_at || !is_stale(previous_began_at, began_at))
        {
            return Ok(RefreshOutcome::Fresh);
        }
        let mut plan = RunPlan::read(self.deps.pool, self.shard, began_at).await?;
        if let Ok(previous_began_at) = previous_began_at {
            plan.add_figures(previous_began_at, began_at);
        }
        let mut results = self.inspect_all(&plan).await;
        let samples = take_samples(&mut results);
        let own_fault = plan.own_fault(&results);
        let evidence = AgentEvidence {
            responding: results
                .values()
                .flat_map(|result| result.responding.iter().copied())
                .collect(),
            expected_before_run: plan.agents.iter().map(|agent| agent.agent_id).collect(),
        };
        self.write_heartbeats(&evidence.responding).await?;
        let corrected_hosts = self.write_hosts(&results, own_fault).await?;
        // Before the rows are read: a transition or a repair would act on a dead container, too, and knows less of it.
        let deaths = self.find_deaths(&plan, &results).await?;
        let mut reading = self.read_rows(results, own_fault).await?;
        let mut applied = AppliedTransitions::default();
        if self.is_adopted {
            let transitions =
                find_transitions(&reading, &plan.suspicions, &evidence, self.clock.now());
            if !transitions.is_empty() {
                applied = transitions::apply(self.deps.pool, &transitions).await?;
            }
            let is_repaired =
                repair(self.deps.pool, self.shard, &reading, self.clock.now()).await?;
            if is_repaired || !transitions.is_empty() {
                // The snapshot shows the statuses after the transitions.
                reading.agents = self.read_agents().await?;
            }
            let next = next_suspicions(&reading, &plan.suspicions, &evidence, began_at);
            self.write_suspicions(&plan.suspicions, &next).await?;
        }
        let inspections = || reading.hosts.iter().map(|host| &host.inspection);
        let counts = RefreshCounts {
            hosts: plan.hosts.len(),
            read_hosts: inspections()
                .filter(|inspection| inspection.engine().is_ok())
                .count(),
            not_inspected_hosts: inspections()
                .filter(|inspection| inspection.inspected_at().is_none())
                .count(),
            heartbeats: evidence.responding.len(),
            disconnected_agents: applied.disconnected,
            regained_agents: applied.regained,
            lost_agents: applied.lost + deaths,
            corrected_hosts,
            finished_at: self.clock.now(),
        };
        self.show_heartbeats(&mut reading.agents, &evidence.responding);
        if previous_began_at.is_err() {
            return Ok(RefreshOutcome::Uncached(counts));
        }
        let snapshot = FleetSnapshot::of(&reading, self.clock.now());
        let RefreshDeps { pool, renewal, .. } = self.deps;
        let run = FinishedRun {
            shard: self.shard,
            lease,
            began_at,
        };
        let renewed = renewal::renew(renewal, pool, run, snapshot);
        Ok(match renewed.await? {
            Renewal::Done(fleet) => {
                self.write_figures(&samples).await;
                RefreshOutcome::Done { counts, fleet }
            }
            Renewal::Overtaken => RefreshOutcome::Overtaken,
            Renewal::Failed => RefreshOutcome::Uncached(counts),
        })
    }

    /// Figures that are not written are missing, and nothing else is.
    async fn write_figures(&self, samples: &[TakenSample]) {
        let write = self.deps.renewal.cache.figures_write(samples);
        match timeout_at(self.deadline.into(), write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(%error, "agents' figures not written; five minutes of them are missing");
            }
            Err(Elapsed { .. }) => {
                warn!("no time to write agents' figures; five minutes of them are missing");
            }
        }
    }

    /// Returns the number of agents whose container died.
    async fn find_deaths(
        &self,
        plan: &RunPlan,
        results: &HashMap<String, InspectionResult>,
    ) -> sqlx::Result<usize> {
        if !self.is_adopted {
            return Ok(0);
        }
        let deps = DeathDeps {
            pool: self.deps.pool,
            host_client: self.deps.host_client,
            shard: self.shard,
            clock: self.clock,
            deadline: self
                .deadline
                .checked_sub(WRITE_RESERVE)
                .unwrap_or(self.deadline),
        };
        deaths::find_deaths(deps, &plan.hosts, &plan.agents, results).await
    }

    /// The results by host. A host that was not reached before the deadline has none.
    async fn inspect_all(&self, plan: &RunPlan) -> HashMap<String, InspectionResult> {
        let deadline = self.deadline.checked_sub(WRITE_RESERVE);
        let deadline = deadline.unwrap_or(self.deadline);
        let RefreshDeps {
            pool,
            host_client,
            simulation,
            ..
        } = self.deps;
        let inspections = stream::iter(&plan.hosts).map(|FleetHost { coordinates, .. }| async {
            let node_id = &coordinates.node_id;
            let questions = plan.questions(node_id);
            let result = match simulation {
                Some(simulation) => simulation.observe(node_id, questions.probes, self.clock.now()),
                None => {
                    inspect(
                        pool,
                        host_client,
                        coordinates,
                        questions,
                        self.clock,
                        deadline,
                    )
                    .await
                }
            };
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

    async fn write_heartbeats(&self, responding: &HashSet<AgentId>) -> sqlx::Result<()> {
        let agents: Vec<AgentId> = responding.iter().copied().collect();
        let now = self.clock.now();
        let mut tx = self.deps.pool.begin().await?;
        db::hosts::inspection::heartbeats_record_of_any_organization(
            &mut tx,
            &agents,
            now - HEARTBEAT_RECORDED_EVERY,
            now,
        )
        .await?;
        tx.commit().await
    }

    /// Gives the agents that responded the time of this run: their rows may have an older one.
    fn show_heartbeats(&self, agents: &mut [AgentRow], responding: &HashSet<AgentId>) {
        let now = self.clock.now();
        for agent in agents {
            let should_run = matches!(
                agent.status,
                AgentStatus::Running | AgentStatus::Disconnected
            );
            if should_run && responding.contains(&agent.id) {
                agent.last_heartbeat_at = Some(now);
            }
        }
    }

    async fn write_suspicions(&self, earlier: &Suspicions, next: &Suspicions) -> sqlx::Result<()> {
        let mut tx = self.deps.pool.begin().await?;
        db::hosts::suspicions::suspicions_replace_of_any_organization(&mut tx, earlier, next)
            .await?;
        tx.commit().await
    }

    /// Writes the status of each inspected host and since when it cannot be read, and corrects the numbers of allocated
    /// slots. Returns the number of corrected hosts. A host that could not be read because of a fault on this side keeps
    /// the status that it had, and may not be declared lost for it.
    async fn write_hosts(
        &self,
        results: &HashMap<String, InspectionResult>,
        own_fault: Option<OwnFault>,
    ) -> sqlx::Result<usize> {
        let checks: Vec<HostCheck> = results
            .iter()
            .filter(|(_, result)| own_fault.is_none() || result.inspection.engine().is_ok())
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
            let corrections = db::hosts::slots::slots_reconcile(&mut tx, self.shard).await?;
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
        let hosts = |was_read| -> Vec<String> {
            let results = results.iter();
            results
                .filter(|(_, result)| result.inspection.was_read() == Some(was_read))
                .map(|(node_id, _)| node_id.clone())
                .collect()
        };
        // Hosts that are well must not seem lost to an operator.
        if own_fault.is_none() {
            db::hosts::unread::unread_hosts_record(&mut tx, &hosts(false), self.clock.now())
                .await?;
        }
        db::hosts::unread::read_hosts_record(&mut tx, &hosts(true)).await?;
        db::hosts::inspection::hosts_record_checks(&mut tx, &checks).await?;
        tx.commit().await?;
        Ok(corrected_hosts)
    }

    /// The rows as they are now. A host that was registered during the run is not inspected.
    async fn read_rows(
        &self,
        mut results: HashMap<String, InspectionResult>,
        own_fault: Option<OwnFault>,
    ) -> sqlx::Result<FleetReading> {
        let mut conn = self.deps.pool.statements();
        let rows = db::hosts::inspection::hosts_of_shard(&mut conn, self.shard).await?;
        let now = self.clock.now();
        let backlog = db::jobs::lanes::backlog_of_any_organization(&mut conn, now).await?;
        let agents =
            db::hosts::inspection::agents_of_any_organization(&mut conn, self.shard).await?;
        let observed_elsewhere = agents_elsewhere(&results, &agents);
        let hosts_elsewhere =
            db::hosts::inspection::agent_hosts_of_any_organization(&mut conn, &observed_elsewhere)
                .await?;
        let billing_findings = db::billing::findings::findings_open(&mut conn).await?;
        let paused_roll_out = db::hosts::roll_outs::roll_out_pause_reason(&mut conn).await?;
        let failed_starts =
            db::hosts::failed_starts::failed_starts_of_any_organization(&mut conn, now).await?;
        let mut set_aside = set_aside_hosts(&failed_starts, now);
        let mut failed_moves =
            db::agents::moves::failed_moves_of_any_organization(&mut conn).await?;
        let hosts = rows.into_iter().map(|FleetHost { row, .. }| InspectedHost {
            inspection: results
                .remove(&row.node_id)
                .map_or(HostInspection::NotInspected, |result| result.inspection),
            row: HostRow {
                set_aside_until: set_aside.remove(&row.node_id),
                failed_moves: failed_moves.remove(&row.node_id).unwrap_or_default(),
                ..row
            },
        });
        Ok(FleetReading {
            hosts: hosts.collect(),
            agents,
            hosts_elsewhere,
            backlog,
            billing_findings,
            paused_roll_out,
            own_fault,
        })
    }

    async fn read_agents(&self) -> sqlx::Result<Vec<AgentRow>> {
        let mut conn = self.deps.pool.statements();
        db::hosts::inspection::agents_of_any_organization(&mut conn, self.shard).await
    }
}

/// The samples of agents' figures, by host.
fn take_samples(results: &mut HashMap<String, InspectionResult>) -> Vec<TakenSample> {
    let results = results.iter_mut();
    let samples = results.filter_map(|(node_id, result)| {
        Some(TakenSample {
            node_id: node_id.clone(),
            sample: result.sample.take()?,
        })
    });
    samples.collect()
}

/// The agents whose containers were observed and that are not among these.
fn agents_elsewhere(
    results: &HashMap<String, InspectionResult>,
    agents: &[AgentRow],
) -> Vec<AgentId> {
    let known: HashSet<AgentId> = agents.iter().map(|agent| agent.id).collect();
    let engines = results.values();
    let engines = engines.filter_map(|result| result.inspection.engine().ok());
    let observed = engines.flat_map(|engine| &engine.containers);
    let observed = observed.filter_map(ContainerObservation::agent_id);
    observed
        .filter(|agent_id| !known.contains(agent_id))
        .collect()
}
