//! What an earlier try, or an earlier life, left on a host. Owns: that a container is gone before its
//! row says so, and that nothing which is not the agent's own is touched.

use std::time::Duration;

use tracing::{info, warn};

use super::work::Work;
use super::{JobFailure, Stop};
use crate::app::host_access::Host;
use crate::db;
use crate::db::agents::placement::Placement;
use crate::domain::agent::AgentStatus;
use crate::domain::container;
use crate::hosts::{Container, Engine, EngineError};

/// What a container gets to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// The host that a row names. None where it is registered no more: it was given back, and what was on
/// it is gone with it.
pub(super) async fn host_of(work: &Work<'_>, node_id: &str) -> Result<Option<Host>, Stop> {
    let mut conn = work.pool.acquire().await?;
    let node = db::hosts::slots::node_find(&mut conn, node_id).await?;
    drop(conn);
    let Some(node) = node else {
        warn!(node = node_id, agent.id = %work.agent_id, "the agent's host is registered no more");
        return Ok(None);
    };
    let host = work
        .patiently(Host::open(work.pool, &work.hosts.fleet, node))
        .await??;
    Ok(Some(host))
}

/// The agent's container on this host: the one of its name, unless that says it is another's.
pub(super) async fn find(work: &Work<'_>, engine: &Engine) -> Result<Option<Container>, Stop> {
    let name = container::name(work.agent_id);
    let Some(found) = engine.find(&name).await? else {
        return Ok(None);
    };
    let id = work.agent_id.to_string();
    if found.agent.as_ref().is_some_and(|agent| *agent != id) {
        return Err(stranger(work));
    }
    Ok(Some(found))
}

/// A container of the agent's name is not the agent's.
pub(super) fn stranger(work: &Work<'_>) -> Stop {
    warn!(agent.id = %work.agent_id, "a container that is not ours has an agent's name");
    JobFailure::Outside("A container that is not ours has the agent's name".to_owned()).into()
}

/// Stops a container, removes it, and sees that it is gone. Where an older deployment mounted a
/// directory of the host as its volume, that is noted before.
pub(super) async fn remove(
    work: &Work<'_>,
    engine: &Engine,
    found: &Container,
) -> Result<(), Stop> {
    if let Some(directory) = &found.data_bind {
        let mut conn = work.pool.acquire().await?;
        db::agents::placement::data_bind_set(&mut conn, work.ids(), directory).await?;
    }
    if let Err(EngineError::Host(error)) = work.patiently(engine.stop(&found.id, GRACE)).await? {
        return Err(EngineError::Host(error).into());
    }
    work.patiently(engine.remove(&found.id)).await??;
    let still = engine.find(&found.name).await?;
    if still.is_some_and(|still| still.id == found.id) {
        return Err(JobFailure::Outside("The container could not be removed".to_owned()).into());
    }
    Ok(())
}

/// Whether an older deployment made it: then nobody knows whether it ever ran, and what it holds.
pub(super) fn is_legacy(found: &Container) -> bool {
    found.attempt.is_none()
}

/// The container of an earlier try is removed, and its slot freed, before anything new is made: an
/// agent never has two (F14, F26). Answers whether its volume may be ahead of the backups.
pub(super) async fn clear(work: &mut Work<'_>, placement: &Placement) -> Result<bool, Stop> {
    if placement.container_name.is_none() {
        return Ok(false);
    }
    let mut ahead = false;
    work.begin("cleanup").await?;
    if let Some(node_id) = &placement.node_id
        && let Some(host) = host_of(work, node_id).await?
        && let Some(found) = find(work, &host.engine).await?
    {
        info!(agent.id = %work.agent_id, attempt = found.attempt, "an older container is removed");
        remove(work, &host.engine, &found).await?;
        ahead = is_legacy(&found);
    }
    let mut tx = work.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    work.record_in(&mut tx, "cleanup", "done", now).await?;
    forget(work, &mut tx, placement, now).await?;
    if ahead {
        db::agents::placement::unsaved_set(&mut tx, work.ids(), Some(now)).await?;
    }
    tx.commit().await?;
    Ok(ahead)
}

/// The row names no container any more, and the slot is free.
pub(super) async fn forget(
    work: &Work<'_>,
    conn: &mut sqlx::PgConnection,
    placement: &Placement,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(), Stop> {
    // What an older web app stopped gave its slot back, and left the name in its row.
    let holds = !matches!(
        placement.status(),
        AgentStatus::Stopped | AgentStatus::Pending
    );
    if db::agents::placement::placement_clear(conn, work.ids(), now).await?
        && holds
        && let Some(node_id) = &placement.node_id
    {
        db::hosts::slots::slot_free(conn, node_id).await?;
    }
    Ok(())
}
