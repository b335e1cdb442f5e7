//! Which host an agent goes to. Owns: asking the best few how they are, and taking a slot and ports in
//! one transaction with the agent's row (F17). Rules are in `domain::placement`.

use tracing::info;

use super::work::Work;
use super::{JobFailure, Stop};
use crate::app::host_access::{Host, OpenError};
use crate::db;
use crate::db::hosts::slots::Node;
use crate::db::agents::placement::Placement;
use crate::domain::container;
use crate::domain::placement::{Ports, free_ports, is_saturated};

/// How often ports are picked anew when somebody else takes them at the same moment.
const TRIES: u64 = 5;

/// Where an agent goes.
pub(super) struct Place {
    pub(super) host: Host,
    pub(super) ports: Ports,
    /// It was not on this host before.
    pub(super) moves: bool,
}

/// Finds a host and takes a slot of it. `anywhere`: the owner has asked for a backup's state, so what
/// the agent's volume holds beyond it may be left behind.
pub(super) async fn take(
    work: &mut Work<'_>,
    placement: &Placement,
    anywhere: bool,
) -> Result<Place, Stop> {
    work.begin("place").await?;
    let mut reason = None;
    let (nodes, no_other) = candidates(work, placement, anywhere).await?;
    for node in nodes {
        let host = match look(work, node).await? {
            Ok(host) => host,
            Err(why) => {
                reason.get_or_insert(why);
                continue;
            }
        };
        for turn in 0..TRIES {
            match slot(work, &host, turn).await? {
                Slot::Taken(ports) => {
                    let moves = placement.node_id.as_ref() != Some(&host.node.node_id);
                    return Ok(Place { host, ports, moves });
                }
                Slot::None => break,
                Slot::Again => {}
            }
        }
        reason.get_or_insert_with(|| {
            if no_other {
                "The host that holds the agent's state has no free slot".to_owned()
            } else {
                "No host has a free slot".to_owned()
            }
        });
    }
    let mut conn = work.pool.acquire().await?;
    let reason = match reason {
        Some(reason) => reason,
        None if !db::hosts::slots::any_node(&mut conn).await? => "No host is registered".to_owned(),
        None => "No host has a free slot".to_owned(),
    };
    Err(JobFailure::Outside(reason).into())
}

/// The best few, or the only one that may be: the one whose volume is ahead of the backups. Also
/// answers whether there is no other.
async fn candidates(
    work: &Work<'_>,
    placement: &Placement,
    anywhere: bool,
) -> Result<(Vec<Node>, bool), Stop> {
    let mut conn = work.pool.acquire().await?;
    if let Some(node_id) = placement.node_id.as_deref()
        && placement.unsaved
        && !anywhere
        && let Some(node) = db::hosts::slots::node_find(&mut conn, node_id).await?
    {
        return Ok((vec![node], true));
    }
    let preferred = placement.node_id.as_deref();
    let best = db::hosts::slots::nodes_best(&mut conn, preferred).await?;
    Ok((best, false))
}

/// The host, if it can be read and is not too busy; otherwise why not.
async fn look(work: &Work<'_>, node: Node) -> Result<Result<Host, String>, Stop> {
    let node_id = node.node_id.clone();
    let opened = work
        .patiently(Host::open(work.pool, &work.hosts.fleet, node))
        .await?;
    let host = match opened {
        Ok(host) => host,
        Err(OpenError::Engine(error)) => return Ok(Err(error.to_string())),
        Err(OpenError::Database(error)) => return Err(error.into()),
    };
    match host.connection.facts().await {
        Ok(facts) if is_saturated(&facts) => {
            info!(node = node_id, "the host is too busy for more");
            Ok(Err("All hosts are too busy".to_owned()))
        }
        Ok(_) => Ok(Ok(host)),
        Err(error) => Ok(Err(error.to_string())),
    }
}

enum Slot {
    Taken(Ports),
    None,
    /// Somebody took one of the ports at the same moment.
    Again,
}

async fn slot(work: &mut Work<'_>, host: &Host, turn: u64) -> Result<Slot, Stop> {
    let node_id = &host.node.node_id;
    let mut tx = work.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    if !db::hosts::slots::slot_take(&mut tx, node_id).await? {
        return Ok(Slot::None);
    }
    let taken = db::agents::placement::ports_taken(&mut tx, node_id).await?;
    let Some(ports) = free_ports(&taken, chance(work, turn)) else {
        return Ok(Slot::None);
    };
    let name = container::name(work.agent_id);
    let ids = work.ids();
    let recorded = db::agents::placement::placement_record(&mut tx, ids, node_id, &name, ports, now).await;
    match recorded {
        Ok(true) => {}
        Ok(false) => return Err(Stop::Lost),
        Err(error) if db::is_duplicate(&error) => return Ok(Slot::Again),
        Err(error) => return Err(error.into()),
    }
    work.record_in(&mut tx, "place", "done", now).await?;
    tx.commit().await?;
    Ok(Slot::Taken(ports))
}

/// Other ports for an agent whose first ones turned out to be taken on the host.
pub(super) async fn other_ports(
    work: &Work<'_>,
    place: &Place,
    tried: &[Ports],
) -> Result<Option<Ports>, Stop> {
    let mut tx = work.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    work.hold(&mut tx, now).await?;
    let mut taken = db::agents::placement::ports_taken(&mut tx, &place.host.node.node_id).await?;
    taken.extend(tried.iter().flat_map(|ports| [ports.bridge, ports.web]));
    let turn = TRIES + u64::try_from(tried.len()).unwrap_or_default();
    let Some(ports) = free_ports(&taken, chance(work, turn)) else {
        return Ok(None);
    };
    match db::agents::placement::placement_ports(&mut tx, work.ids(), ports).await {
        Ok(()) => {}
        Err(error) if db::is_duplicate(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    tx.commit().await?;
    Ok(Some(ports))
}

/// Where the search for ports begins: somewhere else for each job, try and turn.
fn chance(work: &Work<'_>, turn: u64) -> u64 {
    let (high, low) = work.job.id.as_u64_pair();
    let attempt = u64::try_from(work.job.attempt).unwrap_or_default();
    high ^ low.rotate_left(17) ^ (attempt * 8 + turn).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
