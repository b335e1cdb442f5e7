//! Which host an agent goes to. Owns: checking the best candidates, and taking a slot and ports in one transaction with
//! the agent's row (F17). Does not own: the rules (`domain::placement`, `domain::fleet`).

use tracing::info;

use super::context::JobContext;
use super::error::StepError;
use crate::app::host_access::{Host, OpenError};
use crate::db;
use crate::db::agents::placement::{NewPlacement, RuntimeRecord};
use crate::db::hosts::coordinates::HostCoordinates;
use crate::domain::container;
use crate::domain::job::StepName;
use crate::domain::placement::{Ports, free_ports};

/// How often ports of one host are picked when other jobs take the same ones at the same moment.
const MAX_SLOT_ATTEMPTS: u64 = 5;

const NO_SLOT: &str = "No host has a free slot";

/// A slot that was taken for the agent.
pub(super) struct HostSlot {
    pub(super) host: Host,
    pub(super) ports: Ports,
    /// The agent was not on this host before.
    pub(super) is_new_host: bool,
}

/// Finds a host and takes a slot on it. With `may_leave_volume` the agent may go to another host although its volume
/// holds unsaved state: the owner has requested the state of a backup instead.
pub(super) async fn take_slot(
    context: &mut JobContext<'_>,
    record: &RuntimeRecord,
    may_leave_volume: bool,
) -> Result<HostSlot, StepError> {
    context.start_step(StepName::Place).await?;
    let candidates = find_candidates(context, record, may_leave_volume).await?;
    let no_slot = if candidates.is_bound_to_volume {
        "The host that holds the agent's state has no free slot"
    } else {
        NO_SLOT
    };
    // The reason of the best candidate is the one that the owner sees.
    let mut first_error = None;
    for node in candidates.nodes {
        let host = match check_host(context, node).await? {
            HostCheck::Usable(host) => host,
            HostCheck::Unusable(error) => {
                first_error.get_or_insert(error);
                continue;
            }
        };
        if let Some(ports) = take_slot_on(context, &host).await? {
            let is_new_host = record.node_id.as_ref() != Some(&host.node.node_id);
            return Ok(HostSlot {
                host,
                ports,
                is_new_host,
            });
        }
        first_error.get_or_insert_with(|| StepError::external(no_slot));
    }
    if let Some(error) = first_error {
        return Err(error);
    }
    let mut conn = context.pool.statements();
    let is_any_registered = db::hosts::coordinates::any_host_enabled(&mut conn).await?;
    Err(StepError::external(if is_any_registered {
        NO_SLOT
    } else {
        "No host is registered"
    }))
}

struct Candidates {
    /// The best first.
    nodes: Vec<HostCoordinates>,
    /// The only candidate is the host whose volume holds the agent's unsaved state.
    is_bound_to_volume: bool,
}

async fn find_candidates(
    context: &JobContext<'_>,
    record: &RuntimeRecord,
    may_leave_volume: bool,
) -> Result<Candidates, StepError> {
    let mut conn = context.pool.statements();
    let node_id = record.node_id.as_deref();
    if let Some(node_id) = node_id
        && record.has_unsaved_state
        && !may_leave_volume
        && let Some(node) = db::hosts::coordinates::host_find(&mut conn, node_id).await?
    {
        return Ok(Candidates {
            nodes: vec![node],
            is_bound_to_volume: true,
        });
    }
    Ok(Candidates {
        nodes: db::hosts::coordinates::hosts_with_free_slots(&mut conn, node_id).await?,
        is_bound_to_volume: false,
    })
}

enum HostCheck {
    Usable(Host),
    /// The host cannot be read, or it is too busy.
    Unusable(StepError),
}

async fn check_host(
    context: &JobContext<'_>,
    node: HostCoordinates,
) -> Result<HostCheck, StepError> {
    let node_id = node.node_id.clone();
    let open = Host::open(context.pool, &context.hosts.hosts, node);
    let host = match context.with_heartbeat(open).await? {
        Ok(host) => host,
        Err(OpenError::Engine(error)) => return Ok(HostCheck::Unusable(error.into())),
        Err(OpenError::Database(error)) => return Err(error.into()),
    };
    Ok(match host.connection.read_facts().await {
        Ok(facts) if facts.is_overloaded() => {
            info!(
                node.id = node_id,
                "host {node_id} is too busy for another agent"
            );
            HostCheck::Unusable(StepError::external("All hosts are too busy"))
        }
        Ok(_) => HostCheck::Usable(host),
        Err(error) => HostCheck::Unusable(error.into()),
    })
}

/// Takes a slot and ports. `None` if the host has none left, or if other jobs took the picked ports each time.
async fn take_slot_on(
    context: &mut JobContext<'_>,
    host: &Host,
) -> Result<Option<Ports>, StepError> {
    for round in 0..MAX_SLOT_ATTEMPTS {
        match try_take_slot(context, host, round).await? {
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
    round: u64,
) -> Result<SlotAttempt, StepError> {
    let node_id = &host.node.node_id;
    let mut tx = context.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    if !db::hosts::slots::slot_take(&mut tx, node_id).await? {
        return Ok(SlotAttempt::Full);
    }
    let taken = db::agents::placement::ports_taken_of_any_organization(&mut tx, node_id).await?;
    let Some(ports) = free_ports(&taken, port_search_seed(context, round)) else {
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
    let Some(ports) = free_ports(&taken, port_search_seed(context, round)) else {
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

/// Where the search for ports begins: somewhere else for each job, attempt and round, so that jobs at the same moment
/// seldom pick the same ports.
fn port_search_seed(context: &JobContext<'_>, round: u64) -> u64 {
    let (high, low) = context.job.id.uuid().as_u64_pair();
    let attempt = u64::try_from(context.job.attempt).unwrap_or_default();
    high ^ low.rotate_left(17) ^ (attempt * 8 + round).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
