//! Which host an agent goes to. Owns: checking hosts in the order of their rank until one can take the agent, and taking a
//! slot and ports in one transaction with the agent's row (F17). Does not own: the rules (`domain::placement`,
//! `domain::fleet`).

use std::time::{Duration, Instant};

use tracing::info;

use super::context::JobContext;
use super::error::StepError;
use crate::app::host_access::{Host, OpenError};
use crate::db;
use crate::db::agents::placement::{NewPlacement, RuntimeRecord};
use crate::db::hosts::coordinates::HostCoordinates;
use crate::domain::container::{self, AGENT_LIMITS, ResourceLimits};
use crate::domain::job::StepName;
use crate::domain::placement::{Candidate, Ports, free_ports, rank, set_aside_hosts};

/// How often ports of one host are picked when other jobs take the same ones at the same moment.
const MAX_SLOT_ATTEMPTS: u64 = 5;
/// No further host is tried after this. A host that does not answer takes ten seconds, and the function ends after 15
/// minutes. The next attempt tries equally good hosts in another order.
const SEARCH_TIMEOUT: Duration = Duration::from_mins(2);

const NO_SLOT: &str = "No host has a free slot";
const LEFT_STATE: &str = "A host with a free slot holds an older state of the agent that no backup does; an operator \
    must remove that volume first";

/// Where an agent may go besides the host with its volume.
#[derive(Clone, Copy)]
pub(super) struct HostChoice<'a> {
    /// To another host, although its volume holds unsaved state: the volume is copied, or the owner has requested the state
    /// of a backup instead.
    pub(super) may_leave_volume: bool,
    /// The host that comes first among those that are equally good.
    pub(super) preferred: Option<&'a str>,
}

/// A slot that was taken for the agent.
pub(super) struct HostSlot {
    pub(super) host: Host,
    pub(super) ports: Ports,
    /// What the agent may use of the host.
    pub(super) limits: ResourceLimits,
    /// The agent was not on this host before.
    pub(super) is_new_host: bool,
}

/// Finds a host and takes a slot on it.
pub(super) async fn take_slot(
    context: &mut JobContext<'_>,
    record: &RuntimeRecord,
    choice: HostChoice<'_>,
) -> Result<HostSlot, StepError> {
    context.start_step(StepName::Place).await?;
    let started = Instant::now();
    let hosts = find_hosts(context, record, choice).await?;
    // The reason of the best host is the one that the owner sees.
    let mut first_error = None;
    for host in hosts.ranked {
        if started.elapsed() >= SEARCH_TIMEOUT {
            break;
        }
        let claim = host.claim;
        let (host, limits) = match check_host(context, host).await? {
            HostCheck::Usable { host, limits } => (*host, limits),
            HostCheck::Unusable(error) => {
                first_error.get_or_insert(error);
                continue;
            }
        };
        if holds_left_state(context, record, &host).await? {
            first_error.get_or_insert_with(|| StepError::external(LEFT_STATE));
            continue;
        }
        if let Some(ports) = take_slot_on(context, &host, claim).await? {
            let is_new_host = record.node_id.as_ref() != Some(&host.node.node_id);
            return Ok(HostSlot {
                host,
                ports,
                limits,
                is_new_host,
            });
        }
        first_error.get_or_insert_with(|| StepError::external(hosts.no_slot));
    }
    Err(first_error.unwrap_or_else(|| StepError::external(hosts.no_slot)))
}

/// Whether a volume on the host holds state that no backup does, left there when the agent was started elsewhere. A start
/// on this host would have to remove it, which only an operator may do. A start on the agent's own host goes on with it.
async fn holds_left_state(
    context: &JobContext<'_>,
    record: &RuntimeRecord,
    host: &Host,
) -> Result<bool, StepError> {
    let node_id = &host.node.node_id;
    if record.node_id.as_ref() == Some(node_id) || !record.left_nodes.contains(node_id) {
        return Ok(false);
    }
    Ok(host
        .engine
        .has_volume(&container::name(context.agent_id))
        .await?)
}

/// A host that may take the agent.
struct RankedHost {
    node: HostCoordinates,
    claim: Claim,
}

/// Which place on a host the agent may take.
#[derive(Clone, Copy)]
enum Claim {
    /// A free slot of an enabled host that has as much left as an agent is promised.
    Free {
        /// How many agents would be there with this one.
        agents: i64,
    },
    /// A free slot, also while the host is drained: the agent's state is saved only when it runs, and then the drain moves
    /// the agent.
    State,
    /// The place that the agent had until it was stopped to be moved or restarted. Meanwhile another agent may have taken its
    /// slot, and the host may be disabled, but the agent's volume is nowhere else.
    Return,
}

struct RankedHosts {
    /// The best first.
    ranked: Vec<RankedHost>,
    /// Why the agent cannot be placed if no other reason is found.
    no_slot: &'static str,
}

async fn find_hosts(
    context: &JobContext<'_>,
    record: &RuntimeRecord,
    choice: HostChoice<'_>,
) -> Result<RankedHosts, StepError> {
    if let Some(host) = find_bound_host(context, record, choice).await? {
        return Ok(RankedHosts {
            ranked: vec![host],
            no_slot: "The host that holds the agent's state has no free slot",
        });
    }
    let mut conn = context.pool.statements();
    // An agent that was moved does not go back to the host that it left.
    let left = db::agents::moves::left_host_find(&mut conn, context.agent()).await?;
    let now = db::clock::billing_clock(&mut conn).await?;
    let mut hosts = db::hosts::coordinates::hosts_enabled(&mut conn).await?;
    let is_any_registered = !hosts.is_empty();
    hosts.retain(|host| left.as_ref() != Some(&host.coordinates.node_id));
    let failed_here =
        db::hosts::failed_starts::failed_starts_of_job(&mut conn, context.job.fence()).await?;
    let failed_starts =
        db::hosts::failed_starts::failed_starts_of_any_organization(&mut conn, now).await?;
    let set_aside = set_aside_hosts(&failed_starts, now);
    let candidates = hosts.iter().map(|host| Candidate {
        node_id: &host.coordinates.node_id,
        status: host.status,
        capacity: host.capacity,
        allocated_count: host.allocated_count,
        holds_volume: choice.preferred == Some(host.coordinates.node_id.as_str()),
        has_failed: failed_here.contains(&host.coordinates.node_id),
        is_set_aside: set_aside.contains_key(&host.coordinates.node_id),
    });
    let candidates: Vec<Candidate<'_>> = candidates.collect();
    let order = rank(&candidates, random_seed(context, 0));
    let no_slot = if !is_any_registered {
        "No host is registered"
    } else if candidates.iter().any(|host| host.has_failed) {
        "No other host has a free slot"
    } else {
        NO_SLOT
    };
    let ranked = order.into_iter().filter_map(|index| {
        let host = hosts.get(index)?;
        Some(RankedHost {
            node: host.coordinates.clone(),
            claim: Claim::Free {
                agents: i64::from(host.allocated_count) + 1,
            },
        })
    });
    Ok(RankedHosts {
        ranked: ranked.collect(),
        no_slot,
    })
}

/// The host that the agent is bound to: it returns there, or its only state is there. `None` also if that host is lost, or
/// not registered any more.
async fn find_bound_host(
    context: &JobContext<'_>,
    record: &RuntimeRecord,
    choice: HostChoice<'_>,
) -> Result<Option<RankedHost>, StepError> {
    let node_id = record.node_id.as_deref();
    let Some(node_id) = node_id.filter(|_| !choice.may_leave_volume) else {
        return Ok(None);
    };
    let mut conn = context.pool.statements();
    let agent = context.agent();
    let returns = match db::agents::moves::move_find(&mut conn, agent).await? {
        Some(open) => open.refusal.is_some() && open.from_node == node_id,
        // Not to another host, whatever the new image did to earlier attempts: no backup is as new as the volume.
        None => db::agents::image_restarts::restart_find(&mut conn, agent)
            .await?
            .is_some(),
    };
    let claim = if returns {
        Claim::Return
    } else if record.has_unsaved_state {
        Claim::State
    } else {
        return Ok(None);
    };
    let node = db::hosts::coordinates::host_find(&mut conn, node_id).await?;
    let node = node.filter(|node| !node.is_lost);
    Ok(node.map(|node| RankedHost { node, claim }))
}

enum HostCheck {
    Usable {
        host: Box<Host>,
        /// What the agent may use of it.
        limits: ResourceLimits,
    },
    /// The host cannot be read, it is too busy, or too much of it is promised to others.
    Unusable(StepError),
}

async fn check_host(
    context: &JobContext<'_>,
    candidate: RankedHost,
) -> Result<HostCheck, StepError> {
    let node_id = candidate.node.node_id.clone();
    let open = Host::open(context.pool, &context.hosts.hosts, candidate.node);
    let host = match context.with_heartbeat(open).await? {
        Ok(host) => host,
        Err(OpenError::Engine(error)) => return Ok(HostCheck::Unusable(error.into())),
        Err(OpenError::Database(error)) => return Err(error.into()),
    };
    let read = async { tokio::join!(host.connection.read_figures(), host.engine.read_info()) };
    let (figures, info) = match context.with_heartbeat(read).await? {
        (Ok(figures), Ok(info)) => (figures, info),
        (Err(error), _) => return Ok(HostCheck::Unusable(error.into())),
        (_, Err(error)) => return Ok(HostCheck::Unusable(error.into())),
    };
    let facts = figures.into_facts(info.root_directory.as_deref());
    if facts.is_overloaded() {
        info!(
            node.id = node_id,
            "host {node_id} is too busy for another agent"
        );
        let error = StepError::external("All hosts are too busy");
        return Ok(HostCheck::Unusable(error));
    }
    if let Claim::Free { agents } = candidate.claim
        && !info.size.can_promise(AGENT_LIMITS, agents)
    {
        info!(
            node.id = node_id,
            "all processors or all memory of host {node_id} are promised to agents"
        );
        return Ok(HostCheck::Unusable(StepError::external(NO_SLOT)));
    }
    Ok(HostCheck::Usable {
        host: Box::new(host),
        limits: info.size.fit(AGENT_LIMITS),
    })
}

/// Takes a slot and ports. `None` if the host has none left, or if other jobs took the picked ports each time.
async fn take_slot_on(
    context: &mut JobContext<'_>,
    host: &Host,
    claim: Claim,
) -> Result<Option<Ports>, StepError> {
    for round in 0..MAX_SLOT_ATTEMPTS {
        match try_take_slot(context, host, claim, round).await? {
            SlotAttempt::Taken(ports) => return Ok(Some(ports)),
            SlotAttempt::Full => return Ok(None),
            SlotAttempt::PortConflict => {}
        }
    }
    Ok(None)
}

enum SlotAttempt {
    Taken(Ports),
    Full,
    /// Another job took one of the ports at the same moment.
    PortConflict,
}

async fn try_take_slot(
    context: &mut JobContext<'_>,
    host: &Host,
    claim: Claim,
    round: u64,
) -> Result<SlotAttempt, StepError> {
    let node_id = &host.node.node_id;
    let mut tx = context.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let is_taken = db::hosts::slots::slot_take(&mut tx, node_id).await?
        || match claim {
            Claim::Free { .. } => false,
            Claim::State => db::hosts::slots::slot_take_on_drained_host(&mut tx, node_id).await?,
            Claim::Return => db::hosts::slots::slot_take_back(&mut tx, node_id).await?,
        };
    if !is_taken {
        return Ok(SlotAttempt::Full);
    }
    let taken = db::agents::placement::ports_taken_of_any_organization(&mut tx, node_id).await?;
    let Some(ports) = free_ports(&taken, random_seed(context, round)) else {
        return Ok(SlotAttempt::Full);
    };
    let name = container::name(context.agent_id);
    let agent = context.agent();
    let placement = NewPlacement {
        node_id,
        container_name: &name,
        ports,
    };
    let recorded = db::agents::placement::placement_record(&mut tx, agent, placement, now).await;
    match recorded {
        Ok(true) => {}
        Ok(false) => return Err(StepError::Lost),
        Err(error) if db::is_unique_violation(&error) => return Ok(SlotAttempt::PortConflict),
        Err(error) => return Err(error.into()),
    }
    context
        .finish_step_in(&mut tx, StepName::Place, now)
        .await?;
    tx.commit().await?;
    Ok(SlotAttempt::Taken(ports))
}

/// Takes other ports for an agent whose ports turned out to be taken on the host. `None` if there are none, or if
/// another job took them at the same moment.
pub(super) async fn take_other_ports(
    context: &JobContext<'_>,
    slot: &HostSlot,
    tried: &[Ports],
) -> Result<Option<Ports>, StepError> {
    let node_id = &slot.host.node.node_id;
    let mut tx = context.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    context.checkpoint(&mut tx, now).await?;
    let mut taken =
        db::agents::placement::ports_taken_of_any_organization(&mut tx, node_id).await?;
    taken.extend(tried.iter().flat_map(|ports| [ports.bridge, ports.web]));
    let round = MAX_SLOT_ATTEMPTS + u64::try_from(tried.len()).unwrap_or_default();
    let Some(ports) = free_ports(&taken, random_seed(context, round)) else {
        return Ok(None);
    };
    match db::agents::placement::placement_change_ports(&mut tx, context.agent(), ports).await {
        Ok(()) => {}
        Err(error) if db::is_unique_violation(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    tx.commit().await?;
    Ok(Some(ports))
}

/// Another number for each job, attempt and round, so that jobs at the same moment seldom pick the same host and ports. An
/// attempt that follows one which did not count gets the same number: on the same host it may find a part of its image.
fn random_seed(context: &JobContext<'_>, round: u64) -> u64 {
    let (high, low) = context.job.id.uuid().as_u64_pair();
    let attempt = context.job.attempt - context.job.unspent_attempts;
    let attempt = u64::try_from(attempt).unwrap_or_default();
    high ^ low.rotate_left(17) ^ (attempt * 8 + round).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
