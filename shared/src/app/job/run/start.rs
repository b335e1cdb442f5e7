//! A start job: the gate once more, then database, host and container, each step recorded and
//! repeatable. Owns: the order of its steps, and that what failed leaves nothing behind.
//!
//! ```text
//! credit -> (cleanup) -> database -> place -> pull -> create -> start -> health -> restore -> running
//! ```
//! A restore of an agent that runs is one step: its container takes on the state.

use sqlx::PgConnection;

use super::bring_up::{self, Brought};
use super::place::{self, Place};
use super::work::Work;
use super::{JobFailure, Stop, database, leftovers};
use crate::app::agent::state as agent_state;
use crate::app::error::RequestError;
use crate::app::billing::gate;
use crate::db;
use crate::db::agents::placement::Placement;
use crate::domain::agent::{AgentStatus, Change};
use crate::domain::container;
use crate::domain::job::JobKind;
use crate::hosts::Container;

pub(super) async fn run(work: &mut Work<'_>) -> Result<(), Stop> {
    let mut placement = match begin(work).await? {
        Begun::Done => return Ok(()),
        Begun::Runs(placement) => return restore(work, &placement).await,
        Begun::Start(placement) => *placement,
    };
    let image = work.hosts.images.choose(placement.docker_image.as_deref());
    let refused = || JobFailure::Refused("The agent's image is not allowed".to_owned());
    let image = image.ok_or_else(refused)?.to_owned();
    placement.unsaved |= leftovers::clear(work, &placement).await?;
    let uri = database::ensure(work, &placement).await?;
    let restores = work.job.kind == JobKind::Restore;
    let place = place::take(work, &placement, restores).await?;
    let wanted = bring_up::Wanted {
        image,
        database_uri: uri,
        // A volume that is ahead of the backups is not overwritten by one, unless that was asked for.
        restores: restores || place.moves || !placement.unsaved,
        placement: &placement,
    };
    match finish(work, &place, &wanted).await {
        Ok(()) => Ok(()),
        Err(stop) => {
            undo(work, &place, &placement, &stop).await;
            Err(stop)
        }
    }
}

async fn finish(
    work: &mut Work<'_>,
    place: &Place,
    wanted: &bring_up::Wanted<'_>,
) -> Result<(), Stop> {
    let brought = bring_up::bring_up(work, place, wanted).await?;
    let mut tx = work.pool.begin().await?;
    let (organization_id, agent_id) = work.ids();
    let agent = db::agents::owner::agent_lock(&mut tx, organization_id, agent_id).await?;
    let agent = agent.ok_or(Stop::Lost)?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let to = agent.status.after(Change::FinishStart);
    let to = to.map_err(|reason| JobFailure::NotNow(reason.0))?;
    let change = (agent.status, to);
    if !db::agents::owner::agent_move(&mut tx, work.ids(), change, None, now).await? {
        return Err(Stop::Lost);
    }
    publish(&mut tx, work, place, &brought, &wanted.image, now).await?;
    work.record_in(&mut tx, "running", "done", now).await?;
    work.complete(&mut tx, to, &[], now).await?;
    tx.commit().await?;
    Ok(())
}

async fn publish(
    conn: &mut PgConnection,
    work: &Work<'_>,
    place: &Place,
    brought: &Brought,
    image: &str,
    now: chrono::DateTime<chrono::Utc>,
) -> sqlx::Result<()> {
    let host = &place.host.node.hostname;
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.clone()
    };
    let bridge = format!("http://{host}:{}", brought.ports.bridge);
    let web = format!("http://{host}:{}", brought.ports.web);
    db::agents::placement::placement_publish(conn, work.ids(), &bridge, &web, image, now).await
}

/// What a start that did not come about has made is removed again, as far as that can be: what cannot
/// stays recorded, and the next try begins with it. A worker that lost its job removes what it made
/// itself, and leaves the row to whoever has the job now.
async fn undo(work: &mut Work<'_>, place: &Place, before: &Placement, stop: &Stop) {
    let lost = matches!(stop, Stop::Lost);
    let undone = async {
        let name = container::name(work.agent_id);
        let ours = |found: &Container| {
            found.attempt == Some(work.job.attempt)
                && found.agent == Some(work.agent_id.to_string())
        };
        let found = place.host.engine.find(&name).await?;
        if let Some(found) = found.filter(ours) {
            place.host.engine.remove(&found.id).await?;
        }
        if lost {
            return Ok(());
        }
        if place.moves {
            // Nothing else was ever in it.
            place.host.engine.remove_volume(&name).await?;
        }
        let mut tx = work.pool.begin().await?;
        let now = db::clock::billing_clock(&mut tx).await?;
        work.hold(&mut tx, now).await?;
        let held = db::agents::placement::placement_clear(&mut tx, work.ids(), now).await?;
        if held {
            db::hosts::slots::slot_free(&mut tx, &place.host.node.node_id).await?;
        }
        db::agents::placement::placement_return(&mut tx, work.ids(), before, now).await?;
        tx.commit().await?;
        Ok::<_, Stop>(())
    };
    if undone.await.is_err() {
        tracing::warn!(
            agent.id = %work.agent_id,
            "what a failed start has made is left to the next try"
        );
    }
}

enum Begun {
    /// There is nothing left to do.
    Done,
    /// It runs, and is to take on a state.
    Runs(Box<Placement>),
    /// It is to be started; what its row said before.
    Start(Box<Placement>),
}

/// Asks the gate again, for credit may have gone since the request, and marks the agent as being
/// started.
async fn begin(work: &mut Work<'_>) -> Result<Begun, Stop> {
    let (organization_id, agent_id) = work.ids();
    let mut tx = work.pool.begin().await?;
    db::identity::organizations::organizations_lock(&mut tx, &[organization_id]).await?;
    let agent = db::agents::owner::agent_lock(&mut tx, organization_id, agent_id).await?;
    let agent = agent.ok_or(JobFailure::NotNow("Agent not found"))?;
    let placement = db::agents::placement::placement_find(&mut tx, work.ids()).await?;
    let placement = placement.ok_or(JobFailure::NotNow("Agent not found"))?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let jobs = db::jobs::queue::jobs_active(&mut tx, organization_id, agent_id).await?;
    if jobs.iter().any(|job| !job.kind.starts()) {
        return Err(JobFailure::NotNow("Superseded by a stop").into());
    }
    let runs = agent.status == AgentStatus::Running;
    if runs && work.job.kind == JobKind::Provision {
        work.complete(&mut tx, AgentStatus::Running, &[], now)
            .await?;
        tx.commit().await?;
        return Ok(Begun::Done);
    }
    let ports = work.ports;
    let cleared = gate::clear(&mut tx, ports.prices, organization_id, agent_id).await;
    cleared.map_err(refused)?;
    if !runs {
        let to = agent.status.after(Change::BeginStart);
        let to = to.map_err(|reason| JobFailure::NotNow(reason.0))?;
        let change = (agent.status, to);
        db::agents::owner::agent_move(&mut tx, work.ids(), change, None, now).await?;
    }
    work.record_in(&mut tx, "credit", "done", now).await?;
    tx.commit().await?;
    let placement = Box::new(placement);
    Ok(if runs {
        Begun::Runs(placement)
    } else {
        Begun::Start(placement)
    })
}

/// A running agent takes on a backup's state.
async fn restore(work: &mut Work<'_>, placement: &Placement) -> Result<(), Stop> {
    let (Some(node_id), Some(port)) = (&placement.node_id, placement.bridge()) else {
        return Err(JobFailure::Refused("The agent has no address".to_owned()).into());
    };
    work.begin("restore").await?;
    let host = leftovers::host_of(work, node_id).await?;
    let gone = || JobFailure::Outside("The agent's host is not registered".to_owned());
    let host = host.ok_or_else(gone)?;
    let state = bring_up::state(work, work.job.backup_id).await?;
    let state = state.ok_or(JobFailure::NotNow("No backup found"))?;
    work.patiently(agent_state::give(&host.agent(port), state))
        .await??;
    let mut tx = work.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    work.record_in(&mut tx, "restore", "done", now).await?;
    work.complete(&mut tx, AgentStatus::Running, &[], now)
        .await?;
    tx.commit().await?;
    Ok(())
}

fn refused(error: RequestError) -> Stop {
    match error {
        RequestError::Credit(refusal) => JobFailure::Credit(refusal.to_string()).into(),
        RequestError::Database(error) => error.into(),
        _ => JobFailure::NotNow("Agent not found").into(),
    }
}
