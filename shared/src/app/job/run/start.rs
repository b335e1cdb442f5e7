//! A start job: asks the credit gate again, then prepares database, host and container. Owns: the order of its steps,
//! each of which is recorded and can be repeated, and that a failed start leaves nothing behind.
//!
//! ```text
//! credit -> (cleanup) -> database -> place -> pull -> create -> start -> health -> restore -> running
//! ```
//! The restore of a running agent is one step: its container takes over the state.

use chrono::{DateTime, Utc};
use serde_json::Map;
use sqlx::PgConnection;
use tracing::warn;

use super::context::JobContext;
use super::error::StepError;
use super::launch::{self, LaunchedContainer};
use super::launch_spec::LaunchSpec;
use super::placement::{self, HostSlot};
use super::{cleanup, database};
use crate::app::agent_state;
use crate::app::billing::gate;
use crate::app::error::RequestError;
use crate::db;
use crate::db::agents::lifecycle::StatusChange;
use crate::db::agents::placement::{RuntimeRecord, StartedContainer};
use crate::domain::agent::{AgentEvent, AgentStatus};
use crate::domain::container;
use crate::domain::fleet::ContainerObservation;
use crate::domain::job::{JobFailure, JobKind, StepName};

const AGENT_NOT_FOUND: JobFailure = JobFailure::StatusConflict("Agent not found");

pub(super) async fn run(context: &mut JobContext<'_>) -> Result<(), StepError> {
    let mut record = match begin(context).await? {
        Task::Nothing => return Ok(()),
        Task::RestoreRunning(record) => return restore_running(context, &record).await,
        Task::Launch(record) => *record,
    };
    let images = &context.hosts.images;
    let image = images.choose(record.docker_image.as_deref());
    let image = image
        .ok_or_else(|| JobFailure::Refused("The agent's image is not allowed".to_owned()))?
        .to_owned();
    record.has_unsaved_state |= cleanup::remove_previous_container(context, &record).await?;
    let database_uri = database::ensure(context, &record).await?;
    let is_restore = context.job.kind == JobKind::Restore;
    let slot = placement::take_slot(context, &record, is_restore).await?;
    let spec = LaunchSpec {
        image,
        database_uri,
        // A backup replaces unsaved state in the volume only if the owner requested it.
        restores_backup: is_restore || slot.is_new_host || !record.has_unsaved_state,
        record: &record,
    };
    let launched = launch_and_record(context, &slot, &spec).await;
    if let Err(error) = &launched {
        roll_back(context, &slot, &record, error).await;
    }
    launched
}

/// What a start job has to do.
enum Task {
    /// The agent runs already. The job is completed.
    Nothing,
    /// The agent runs, and takes over a backup's state.
    RestoreRunning(Box<RuntimeRecord>),
    /// The agent is launched. The record says how it was before.
    Launch(Box<RuntimeRecord>),
}

/// Asks the credit gate again, because the credit may have been spent since the request, and marks the agent as being
/// started.
async fn begin(context: &mut JobContext<'_>) -> Result<Task, StepError> {
    let agent = context.agent();
    let mut tx = context.pool.begin().await?;
    db::identity::organizations::organizations_lock(&mut tx, &[agent.organization_id]).await?;
    let locked = db::agents::lifecycle::agent_lock(&mut tx, agent).await?;
    let locked = locked.ok_or(AGENT_NOT_FOUND)?;
    let record = db::agents::placement::runtime_record_find(&mut tx, agent).await?;
    let record = Box::new(record.ok_or(AGENT_NOT_FOUND)?);
    let now = db::clock::billing_clock(&mut tx).await?;
    let jobs = db::jobs::queue::jobs_active(&mut tx, agent).await?;
    if jobs.iter().any(|job| !job.kind.is_start()) {
        return Err(JobFailure::StatusConflict("Superseded by a stop").into());
    }
    let is_running = locked.status == AgentStatus::Running;
    if is_running && context.job.kind == JobKind::Provision {
        context
            .complete(&mut tx, AgentStatus::Running, Map::new(), now)
            .await?;
        tx.commit().await?;
        return Ok(Task::Nothing);
    }
    let cleared = gate::clear(&mut tx, context.prices, agent).await;
    cleared.map_err(gate_error)?;
    if !is_running {
        let change = StatusChange {
            from: locked.status,
            to: locked.status.after(AgentEvent::StartBegun)?,
        };
        db::agents::lifecycle::agent_change_status(&mut tx, agent, change, None, now).await?;
    }
    context
        .finish_step_in(&mut tx, StepName::Credit, now)
        .await?;
    tx.commit().await?;
    Ok(if is_running {
        Task::RestoreRunning(record)
    } else {
        Task::Launch(record)
    })
}

fn gate_error(error: RequestError) -> StepError {
    match error {
        RequestError::Credit(refusal) => JobFailure::Credit(refusal.to_string()).into(),
        RequestError::Database(error) => error.into(),
        _ => AGENT_NOT_FOUND.into(),
    }
}

/// A running agent takes over a backup's state.
async fn restore_running(
    context: &mut JobContext<'_>,
    record: &RuntimeRecord,
) -> Result<(), StepError> {
    let (Some(node_id), Some(bridge_port)) = (&record.node_id, record.bridge()) else {
        return Err(JobFailure::Refused("The agent has no address".to_owned()).into());
    };
    context.start_step(StepName::Restore).await?;
    let host = cleanup::open_host(context, node_id).await?;
    let host = host.ok_or_else(|| StepError::external("The agent's host is not registered"))?;
    let state = launch::backup_state(context, context.job.backup_id).await?;
    let state = state.ok_or(JobFailure::StatusConflict("No backup found"))?;
    let agent = host.agent(bridge_port);
    context
        .with_heartbeat(agent_state::restore(&agent, state))
        .await??;
    let mut tx = context.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    context
        .finish_step_in(&mut tx, StepName::Restore, now)
        .await?;
    context
        .complete(&mut tx, AgentStatus::Running, Map::new(), now)
        .await?;
    tx.commit().await?;
    Ok(())
}

async fn launch_and_record(
    context: &mut JobContext<'_>,
    slot: &HostSlot,
    spec: &LaunchSpec<'_>,
) -> Result<(), StepError> {
    let container = launch::launch(context, slot, spec).await?;
    let agent = context.agent();
    let mut tx = context.pool.begin().await?;
    let locked = db::agents::lifecycle::agent_lock(&mut tx, agent).await?;
    let locked = locked.ok_or(StepError::Lost)?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let to = locked.status.after(AgentEvent::StartFinished)?;
    let change = StatusChange {
        from: locked.status,
        to,
    };
    if !db::agents::lifecycle::agent_change_status(&mut tx, agent, change, None, now).await? {
        return Err(StepError::Lost);
    }
    record_addresses(&mut tx, context, slot, &container, &spec.image, now).await?;
    context
        .finish_step_in(&mut tx, StepName::MarkRunning, now)
        .await?;
    context.complete(&mut tx, to, Map::new(), now).await?;
    tx.commit().await?;
    Ok(())
}

/// Records the addresses at which the web proxy reaches the agent.
async fn record_addresses(
    conn: &mut PgConnection,
    context: &JobContext<'_>,
    slot: &HostSlot,
    container: &LaunchedContainer,
    image: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let hostname = &slot.host.node.hostname;
    // In a URL an IPv6 address stands in brackets.
    let hostname = if hostname.contains(':') {
        format!("[{hostname}]")
    } else {
        hostname.clone()
    };
    let bridge = format!("http://{hostname}:{}", container.ports.bridge);
    let web = format!("http://{hostname}:{}", container.ports.web);
    let agent = context.agent();
    let container = StartedContainer {
        bridge_url: &bridge,
        health_url: &web,
        image,
    };
    db::agents::placement::placement_record_urls(conn, agent, container, now).await
}

/// Removes what a failed start has created, as far as possible. What cannot be removed stays recorded, and the next
/// attempt begins with its cleanup.
async fn roll_back(
    context: &JobContext<'_>,
    slot: &HostSlot,
    before: &RuntimeRecord,
    start_error: &StepError,
) {
    let is_lost = matches!(start_error, StepError::Lost);
    if let Err(error) = try_roll_back(context, slot, before, is_lost).await {
        warn!(
            agent.id = %context.agent_id, job.id = %context.job.id, %error, cause = error.cause(),
            "rolling back a failed start of agent {} failed; the next attempt cleans up",
            context.agent_id
        );
    }
}

/// A worker that lost its job removes only the container that it created itself, and leaves the row to the worker that
/// has the job now.
async fn try_roll_back(
    context: &JobContext<'_>,
    slot: &HostSlot,
    before: &RuntimeRecord,
    is_lost: bool,
) -> Result<(), StepError> {
    let engine = &slot.host.engine;
    let name = container::name(context.agent_id);
    let is_from_this_attempt = |container: &ContainerObservation| {
        container.attempt == Some(context.job.attempt)
            && container.label == Some(context.agent_id.to_string())
    };
    let container = engine.find(&name).await?;
    if let Some(container) = container.filter(is_from_this_attempt) {
        engine.remove(&container.id).await?;
    }
    if is_lost {
        return Ok(());
    }
    if slot.is_new_host {
        // This start created the volume, so it holds nothing else.
        engine.remove_volume(&name).await?;
    }
    let agent = context.agent();
    let mut tx = context.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    context.checkpoint(&mut tx, now).await?;
    if db::agents::placement::placement_clear(&mut tx, agent, now).await? {
        db::hosts::slots::slot_free(&mut tx, &slot.host.node.node_id).await?;
    }
    db::agents::placement::placement_revert(&mut tx, agent, before, now).await?;
    tx.commit().await?;
    Ok(())
}
