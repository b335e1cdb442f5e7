//! One pass over the fleet, every minute. Owns: that only one goes on at a time, in which order hosts and
//! rows are read, what is written of it, and that what was read in time is kept when the rest was not.
//!
//! Hosts come first, rows after: a start names its container in its row before it makes it, so rows that
//! are read later claim everything that was seen being made.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use sqlx::PgPool;
use tokio::time::timeout_at;
use tracing::{info, warn};
use uuid::Uuid;

use crate::app::fleet::inspect::{Inspected, Probe, Watch, inspect};
use crate::cache::{Cache, CacheError, Lease};
use crate::db;
use crate::db::hosts::inspection::FleetNode;
use crate::domain::agent::{AgentStatus, Change};
use crate::domain::fleet::{Flip, Known, NodePass, NodeStatus, Pass, Reading, Snapshot, flips};
use crate::hosts::Fleet;

/// Hosts that are looked at at the same time.
const HOSTS_AT_ONCE: usize = 64;
/// What writing what was seen may take: the hosts have the rest of the time.
const WRITING: Duration = Duration::from_secs(5);

/// What a pass takes.
#[derive(Clone, Copy, Debug)]
pub struct Refresh<'a> {
    /// One connection.
    pub pool: &'a PgPool,
    /// The hosts.
    pub fleet: &'a Fleet,
    /// Where the snapshot goes.
    pub cache: &'a Cache,
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Hosts that are registered.
    pub hosts: usize,
    /// Of these, those whose Docker Engine was read.
    pub read: usize,
    /// Those that the time did not suffice for.
    pub late: usize,
    /// Agents that answered.
    pub heard: u64,
    /// Agents whose host is lost.
    pub disconnected: usize,
    /// Agents whose host is back.
    pub regained: usize,
    /// Agents whose container is lost.
    pub lost: usize,
    /// Hosts whose count of taken slots was wrong.
    pub slots: usize,
}

/// What became of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// The fleet was looked at, and what was seen is cached.
    Done(Counts),
    /// Somebody else is at it.
    Busy,
    /// What is cached was seen after the question.
    Fresh,
    /// It took longer than its lease, and somebody else has begun another pass: theirs counts.
    Overtaken,
}

/// Why the fleet was not looked at, or what was seen is not cached.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The database.
    #[error("the database did not answer ({})", db::error_class(.0))]
    Database(#[from] sqlx::Error),
}

/// Looks at all hosts and caches what it saw, within this time. `asked`: when somebody asked for it; none
/// if it is simply time. `owner`: the invocation's id, for the lease.
///
/// # Errors
/// [`RefreshError`]; what was written of hosts and agents stays written.
pub async fn fleet_refresh(
    refresh: &Refresh<'_>,
    asked: Option<DateTime<Utc>>,
    owner: Uuid,
    within: Duration,
) -> Result<Refreshed, RefreshError> {
    let end = Instant::now() + within;
    let mut conn = refresh.pool.acquire().await?;
    let (now, adoption_required) = db::clock::readiness(&mut conn).await?;
    drop(conn);
    let watch = Watch::begin(now);
    let until = now + TimeDelta::from_std(within).unwrap_or_default();
    let Some(lease) = refresh.cache.lease_take(owner, now, until).await? else {
        return Ok(Refreshed::Busy);
    };
    let pass = Round {
        refresh,
        watch,
        adopted: !adoption_required,
    };
    let done = pass.run(&lease, asked, end).await;
    // Without it the next one waits until the lease is over.
    if let Err(error) = refresh.cache.lease_return(&lease).await {
        warn!(%error, "the lease of the inspection was not returned");
    }
    done
}

/// A pass that is under way.
struct Round<'a> {
    refresh: &'a Refresh<'a>,
    watch: Watch,
    /// Before an older deployment is adopted its own worker keeps the rows.
    adopted: bool,
}

impl Round<'_> {
    async fn run(
        &self,
        lease: &Lease,
        asked: Option<DateTime<Utc>>,
        end: Instant,
    ) -> Result<Refreshed, RefreshError> {
        let began = self.watch.now();
        let before = match self.refresh.cache.snapshot(began).await {
            Ok(before) => before,
            // It is written anew.
            Err(CacheError::Broken) => None,
            Err(error) => return Err(error.into()),
        };
        if let (Some(asked), Some(before)) = (asked, &before)
            && before.began >= asked
        {
            return Ok(Refreshed::Fresh);
        }
        let mut conn = self.refresh.pool.acquire().await?;
        let nodes = db::hosts::inspection::nodes_all(&mut conn).await?;
        let expected = db::hosts::inspection::agents_expected(&mut conn).await?;
        drop(conn);
        let mut known = Known {
            expected: expected.iter().map(|agent| agent.agent_id).collect(),
            ..Known::default()
        };
        let mut probes: HashMap<String, Vec<Probe>> = HashMap::new();
        for agent in expected {
            if let Some(port) = agent.web_port {
                let agent_id = agent.agent_id;
                let probe = Probe { agent_id, port };
                probes.entry(agent.node_id).or_default().push(probe);
            }
        }
        let hosts_end = end.checked_sub(WRITING).unwrap_or(end);
        let mut inspected = self.inspect_all(&nodes, &probes, hosts_end).await;
        known.alive = inspected
            .values()
            .flat_map(|inspected| inspected.alive.iter().copied())
            .collect();
        let mut counts = Counts {
            hosts: nodes.len(),
            ..Counts::default()
        };
        self.write(&inspected, &known.alive, &mut counts).await?;
        let mut readings: HashMap<String, Reading> = inspected
            .drain()
            .map(|(node, inspected)| (node, inspected.reading))
            .collect();
        let mut pass = self.read_rows(&mut readings).await?;
        counts.read = pass
            .nodes
            .iter()
            .filter(|node| node.reading.docker().is_ok())
            .count();
        counts.late = pass
            .nodes
            .iter()
            .filter(|node| node.reading.at().is_none())
            .count();
        if self.adopted {
            let before = before.as_deref().map(|before| &before.snapshot);
            let found = flips(&pass, before, &known, self.watch.now());
            if !found.is_empty() {
                self.flip(&found, &pass, &mut counts).await?;
                // What is shown is what is so by now.
                let mut conn = self.refresh.pool.acquire().await?;
                pass.agents = db::hosts::inspection::agents_all(&mut conn).await?;
            }
        }
        let now = self.watch.now();
        let snapshot = Snapshot::of(&pass, now);
        let written = self
            .refresh
            .cache
            .snapshot_write(lease, &snapshot, began, now);
        if !written.await? {
            warn!("an inspection took longer than its lease, and another one has begun");
            return Ok(Refreshed::Overtaken);
        }
        Ok(Refreshed::Done(counts))
    }

    /// What all hosts told that came to it; the others have no entry.
    async fn inspect_all(
        &self,
        nodes: &[FleetNode],
        probes: &HashMap<String, Vec<Probe>>,
        end: Instant,
    ) -> HashMap<String, Inspected> {
        let Refresh { pool, fleet, .. } = *self.refresh;
        let looks = stream::iter(nodes).map(|FleetNode { node, .. }| async {
            let probes = probes.get(&node.node_id).map_or(&[][..], Vec::as_slice);
            let inspected = inspect(pool, fleet, node, probes, (self.watch, end)).await;
            (node.node_id.clone(), inspected)
        });
        let mut looks = looks.buffer_unordered(HOSTS_AT_ONCE);
        let mut inspected = HashMap::with_capacity(nodes.len());
        while let Ok(Some(look)) = timeout_at(end.into(), looks.next()).await {
            inspected.extend([look]);
        }
        inspected
    }

    /// Writes what was seen of hosts, who was heard, and how many slots are taken.
    async fn write(
        &self,
        inspected: &HashMap<String, Inspected>,
        alive: &HashSet<Uuid>,
        counts: &mut Counts,
    ) -> sqlx::Result<()> {
        let checked: Vec<(String, NodeStatus, DateTime<Utc>)> = inspected
            .iter()
            .filter_map(|(node, inspected)| {
                let at = inspected.reading.at()?;
                Some((node.clone(), NodeStatus::of(&inspected.reading), at))
            })
            .collect();
        let alive: Vec<Uuid> = alive.iter().copied().collect();
        let mut tx = self.refresh.pool.begin().await?;
        counts.heard = db::hosts::inspection::heartbeats_write(&mut tx, &alive, self.watch.now()).await?;
        tx.commit().await?;
        let mut tx = self.refresh.pool.begin().await?;
        if self.adopted {
            let changed = db::hosts::slots::slots_reconcile(&mut tx).await?;
            for (node, before, after) in &changed {
                info!(
                    node,
                    before, after, "a host's count of taken slots was wrong"
                );
            }
            counts.slots = changed.len();
        }
        db::hosts::inspection::nodes_checked(&mut tx, &checked).await?;
        tx.commit().await
    }

    /// The rows as they are now, each host with what it told. A host that was registered meanwhile was
    /// not inspected.
    async fn read_rows(&self, readings: &mut HashMap<String, Reading>) -> sqlx::Result<Pass> {
        let mut conn = self.refresh.pool.acquire().await?;
        let nodes = db::hosts::inspection::nodes_all(&mut conn).await?;
        let backlog = db::hosts::inspection::jobs_waiting(&mut conn, self.watch.now()).await?;
        let nodes = nodes.into_iter().map(|node| NodePass {
            reading: readings
                .remove(&node.row.node_id)
                .unwrap_or(Reading::NotInspected),
            row: node.row,
        });
        Ok(Pass {
            nodes: nodes.collect(),
            agents: db::hosts::inspection::agents_all(&mut conn).await?,
            backlog: u64::try_from(backlog).unwrap_or_default(),
        })
    }

    async fn flip(&self, found: &[Flip], pass: &Pass, counts: &mut Counts) -> sqlx::Result<()> {
        let of = |change| {
            let ids = found.iter().filter(|flip| flip.change == change);
            ids.map(|flip| flip.agent_id).collect::<Vec<Uuid>>()
        };
        for (change, from, count) in [
            (
                Change::LoseHost,
                AgentStatus::Running,
                &mut counts.disconnected,
            ),
            (
                Change::RegainHost,
                AgentStatus::Disconnected,
                &mut counts.regained,
            ),
        ] {
            let (ids, Ok(to)) = (of(change), from.after(change)) else {
                continue;
            };
            if ids.is_empty() {
                continue;
            }
            let mut tx = self.refresh.pool.begin().await?;
            let now = db::clock::billing_clock(&mut tx).await?;
            let moved = db::hosts::inspection::agents_move(&mut tx, &ids, (from, to), now).await?;
            tx.commit().await?;
            for agent in &moved {
                info!(agent.id = %agent, status = to.as_str(), "an inspection changed an agent's status");
            }
            *count = moved.len();
        }
        for flip in found
            .iter()
            .filter(|flip| flip.change == Change::LoseContainer)
        {
            let row = pass.agents.iter().find(|row| row.id == flip.agent_id);
            let seen = row.map(|row| (row.node_id.as_deref(), row.container_name.as_deref()));
            if let Some(seen) = seen
                && self.lose(flip, seen).await?
            {
                counts.lost += 1;
            }
        }
        Ok(())
    }

    /// An agent whose container is lost is in error, and its slot is free, unless somebody works on it or
    /// it is somewhere else by now. Its volume stays where it was.
    async fn lose(&self, flip: &Flip, seen: (Option<&str>, Option<&str>)) -> sqlx::Result<bool> {
        let agent = (flip.organization_id, flip.agent_id);
        let mut tx = self.refresh.pool.begin().await?;
        let locked = db::agents::owner::agent_lock(&mut tx, agent.0, agent.1).await?;
        let placement = db::agents::placement::placement_find(&mut tx, agent).await?;
        let (Some(locked), Some(placement)) = (locked, placement) else {
            return Ok(false);
        };
        let is_the_same =
            placement.node_id.as_deref() == seen.0 && placement.container_name.as_deref() == seen.1;
        let Ok(to) = locked.status.after(Change::LoseContainer) else {
            return Ok(false);
        };
        let jobs = db::jobs::queue::jobs_active(&mut tx, agent.0, agent.1).await?;
        if !is_the_same || locked.stop_requested || !jobs.is_empty() {
            return Ok(false);
        }
        let now = db::clock::billing_clock(&mut tx).await?;
        let change = (locked.status, to);
        if !db::agents::owner::agent_move(&mut tx, agent, change, flip.reason, now).await? {
            return Ok(false);
        }
        if db::agents::placement::placement_clear(&mut tx, agent, now).await?
            && let Some(node_id) = &placement.node_id
        {
            db::hosts::slots::slot_free(&mut tx, node_id).await?;
        }
        tx.commit().await?;
        warn!(agent.id = %flip.agent_id, node = placement.node_id, reason = flip.reason,
            "an agent's container is lost");
        Ok(true)
    }
}
