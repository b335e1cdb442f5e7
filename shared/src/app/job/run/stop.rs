//! A stop job: suspend and delete. Owns: the order of its steps, that a container is seen gone before
//! anything says that it is, and that no state is lost on the way.
//!
//! ```text
//! suspend: (snapshot) -> stop -> stopped
//! delete:  stop -> volume -> database -> row
//! ```
//! A state that cannot be taken stays in the volume, and the row says so: the agent is then started
//! nowhere else (F16).

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tracing::warn;
use uuid::Uuid;

use super::work::Work;
use super::{JobFailure, Stop, database, leftovers};
use crate::app::agent::state::{self as agent_state, StateError};
use crate::app::host_access::Host;
use crate::db;
use crate::db::agents::placement::Placement;
use crate::domain::agent::{AgentStatus, Change};
use crate::domain::container;
use crate::domain::job::JobKind;
use crate::hosts::Container;

/// How often a state is asked for.
const SNAPSHOT_TRIES: u32 = 2;

pub(super) async fn run(work: &mut Work<'_>) -> Result<(), Stop> {
    let Some(placement) = look(work).await? else {
        return Ok(());
    };
    // What cannot be looked at is not taken for stopped.
    if placement.elsewhere {
        return Err(JobFailure::Outside("The agent's host is not known".to_owned()).into());
    }
    if placement.status() == AgentStatus::Unknown {
        let reason = "Agent is in a state this version does not know";
        return Err(JobFailure::Outside(reason.to_owned()).into());
    }
    let delete = work.job.kind == JobKind::Delete;
    let host = match &placement.node_id {
        Some(node_id) => leftovers::host_of(work, node_id).await?,
        None => None,
    };
    let mut saved = None;
    // Gone at the first look, it took what it held beyond the backups with it, or left it in its volume.
    let mut ahead = work.job.attempt == 1 && is_ahead(&placement);
    if let Some(host) = &host
        && let Some(found) = leftovers::find(work, &host.engine).await?
    {
        if !delete && (is_ahead(&placement) || leftovers::is_legacy(&found)) {
            saved = save(work, host, &placement, &found).await?;
            ahead = saved.is_none();
        }
        work.begin("stop").await?;
        leftovers::remove(work, &host.engine, &found).await?;
        work.done("stop").await?;
    }
    if delete {
        forget_container(work, &placement).await?;
        volumes(work, host.as_ref(), &placement).await?;
        database::remove(work, &placement).await?;
        return remove_row(work, &placement).await;
    }
    finish(work, saved, ahead).await
}

/// Whether the container holds state that no backup does. One that was never up has none: what it would
/// tell must not become the newest backup.
fn is_ahead(placement: &Placement) -> bool {
    placement.unsaved
        || matches!(
            placement.status(),
            AgentStatus::Running | AgentStatus::Disconnected
        )
}

/// What there is to stop. Finishes the job where there is nothing of the agent on any host.
async fn look(work: &mut Work<'_>) -> Result<Option<Placement>, Stop> {
    let (organization_id, agent_id) = work.ids();
    let mut tx = work.pool.begin().await?;
    let agent = db::agents::owner::agent_lock(&mut tx, organization_id, agent_id).await?;
    let placement = db::agents::placement::placement_find(&mut tx, work.ids()).await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    if let (Some(agent), Some(placement)) = (agent, placement) {
        let delete = work.job.kind == JobKind::Delete;
        // A start records where it will create a container before it does: without that there is none.
        let there = match agent.status {
            AgentStatus::Provisioning => agent.recorded,
            status => status.expects_container(agent.recorded),
        } || (delete && agent.leftovers);
        if there || agent.status == AgentStatus::Unknown {
            return Ok(Some(placement));
        }
        if delete {
            db::agents::owner::agent_delete(&mut tx, organization_id, agent_id).await?;
        } else {
            stopped(work, &mut tx, agent.status, now).await?;
        }
    }
    work.complete(&mut tx, AgentStatus::Stopped, &[], now)
        .await?;
    tx.commit().await?;
    Ok(None)
}

/// Takes the agent's state and stores it, if it can be had.
async fn save(
    work: &mut Work<'_>,
    host: &Host,
    placement: &Placement,
    found: &Container,
) -> Result<Option<Uuid>, Stop> {
    work.begin("snapshot").await?;
    let Some(state) = state(work, host, placement, found).await? else {
        work.without("snapshot").await?;
        return Ok(None);
    };
    let mut tx = work.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    work.record_in(&mut tx, "snapshot", "done", now).await?;
    let id = agent_state::store(&mut tx, work.ids(), "pre-shutdown", &state, now).await?;
    db::agents::placement::unsaved_set(&mut tx, work.ids(), None).await?;
    tx.commit().await?;
    Ok(Some(id))
}

async fn state(
    work: &Work<'_>,
    host: &Host,
    placement: &Placement,
    found: &Container,
) -> Result<Option<Bytes>, Stop> {
    let Some(port) = placement.bridge().filter(|_| found.state == "running") else {
        return Ok(None);
    };
    let agent = host.agent(port);
    for attempt in 1..=SNAPSHOT_TRIES {
        match work
            .patiently(agent_state::take(&agent, agent_state::WITHIN))
            .await?
        {
            Ok(state) => return Ok(Some(state)),
            Err(error) => {
                warn!(agent.id = %work.agent_id, attempt, %error, "no state was had");
                if error == StateError::TooLarge {
                    break;
                }
            }
        }
    }
    Ok(None)
}

/// The agent is stopped: its container was seen gone, its slot is free. `ahead`: its volume holds state
/// that no backup does.
async fn finish(work: &mut Work<'_>, saved: Option<Uuid>, ahead: bool) -> Result<(), Stop> {
    let (organization_id, agent_id) = work.ids();
    let mut tx = work.pool.begin().await?;
    let agent = db::agents::owner::agent_lock(&mut tx, organization_id, agent_id).await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let placement = db::agents::placement::placement_find(&mut tx, work.ids()).await?;
    let more: Vec<(&str, Value)> = saved
        .map(|id| ("backupId", json!(id)))
        .into_iter()
        .collect();
    if let (Some(agent), Some(placement)) = (agent, placement) {
        leftovers::forget(work, &mut tx, &placement, now).await?;
        if ahead {
            db::agents::placement::unsaved_set(&mut tx, work.ids(), Some(now)).await?;
        }
        stopped(work, &mut tx, agent.status, now).await?;
    }
    work.complete(&mut tx, AgentStatus::Stopped, &more, now)
        .await?;
    tx.commit().await?;
    Ok(())
}

/// The row says so, but where only what a failed start has left was removed.
async fn stopped(
    work: &Work<'_>,
    conn: &mut PgConnection,
    status: AgentStatus,
    now: DateTime<Utc>,
) -> Result<(), Stop> {
    if work.job.cleanup && status == AgentStatus::Error {
        return Ok(());
    }
    if let Ok(to) = status.after(Change::FinishStop) {
        let change = (status, to);
        db::agents::owner::agent_move(conn, work.ids(), change, None, now).await?;
    }
    Ok(())
}

/// The slot of a deleted agent is free as soon as its container is gone.
async fn forget_container(work: &Work<'_>, placement: &Placement) -> Result<(), Stop> {
    let mut tx = work.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    work.hold(&mut tx, now).await?;
    leftovers::forget(work, &mut tx, placement, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Removes the agent's volumes, here and where it was before. A directory of the host that an older
/// deployment mounted is not ours to remove.
async fn volumes(
    work: &mut Work<'_>,
    host: Option<&Host>,
    placement: &Placement,
) -> Result<(), Stop> {
    work.begin("volume").await?;
    let name = container::name(work.agent_id);
    if let Some(host) = host {
        host.engine.remove_volume(&name).await?;
    }
    for node_id in &placement.former_nodes {
        if let Some(host) = leftovers::host_of(work, node_id).await? {
            host.engine.remove_volume(&name).await?;
        }
    }
    work.done("volume").await
}

async fn remove_row(work: &mut Work<'_>, placement: &Placement) -> Result<(), Stop> {
    let (organization_id, agent_id) = work.ids();
    let mut tx = work.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    db::agents::owner::agent_delete(&mut tx, organization_id, agent_id).await?;
    let mut more = Vec::new();
    if placement.data_bind.is_some() {
        let left = "A directory of the host that was mounted as the agent's data was left";
        warn!(agent.id = %agent_id, node = placement.node_id, left);
        more.push(("left", json!(left)));
    }
    work.complete(&mut tx, AgentStatus::Stopped, &more, now)
        .await?;
    tx.commit().await?;
    Ok(())
}
