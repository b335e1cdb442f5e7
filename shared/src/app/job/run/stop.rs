//! A stop job: suspends or deletes an agent. Owns: the order of its steps, that no row says that a container is gone
//! before its host was seen without it, and that no state is lost on the way.
//!
//! ```text
//! suspend: (snapshot) -> stop -> stopped
//! delete:  stop -> volume -> database -> row
//! ```
//! State that cannot be read stays in the volume, and the row says so: the agent is then started on no other host (F16).

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use tracing::warn;

use super::context::JobContext;
use super::error::StepError;
use super::{cleanup, database};
use crate::app::agent_state::{self, StateErrorReason};
use crate::app::host_access::Host;
use crate::db;
use crate::db::agents::lifecycle::StatusChange;
use crate::db::agents::placement::RuntimeRecord;
use crate::domain::agent::{AgentEvent, AgentStatus};
use crate::domain::container;
use crate::domain::fleet::ContainerObservation;
use crate::domain::ids::BackupId;
use crate::domain::job::{JobKind, StepName};

/// Each attempt can take a minute, in which the owner no longer pays for the running container.
const MAX_SNAPSHOT_ATTEMPTS: u32 = 2;

pub(super) async fn run(context: &mut JobContext<'_>) -> Result<(), StepError> {
    let Some(record) = load_or_complete(context).await? else {
        return Ok(());
    };
    // An agent that cannot be looked for does not count as stopped.
    if record.has_unknown_host {
        return Err(StepError::external("The agent's host is not known"));
    }
    if record.status() == AgentStatus::Unknown {
        return Err(StepError::external(
            "The agent has a status that this version does not know",
        ));
    }
    let host = match &record.node_id {
        Some(node_id) => cleanup::open_host(context, node_id).await?,
        None => None,
    };
    let state = stop_container(context, host.as_ref(), &record).await?;
    if context.job.kind != JobKind::Delete {
        return finish_suspension(context, state).await;
    }
    clear_placement(context, &record).await?;
    remove_volumes(context, host.as_ref(), &record).await?;
    database::remove(context, &record).await?;
    delete_row(context, &record).await
}

/// Loads what is to be stopped. If nothing of the agent is on any host, completes the job and returns `None`.
async fn load_or_complete(
    context: &mut JobContext<'_>,
) -> Result<Option<RuntimeRecord>, StepError> {
    let agent = context.agent();
    let mut tx = context.pool.begin().await?;
    let locked = db::agents::lifecycle::agent_lock(&mut tx, agent).await?;
    let record = db::agents::placement::runtime_record_find(&mut tx, agent).await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    if let (Some(locked), Some(record)) = (locked, record) {
        let is_deletion = context.job.kind == JobKind::Delete;
        let may_have_container = match locked.status {
            // A start records the container's name and host before it creates the container.
            AgentStatus::Provisioning => locked.names_container,
            status => status.expects_container(locked.names_container),
        };
        if may_have_container
            || (is_deletion && locked.needs_cleanup)
            || locked.status == AgentStatus::Unknown
        {
            return Ok(Some(record));
        }
        if is_deletion {
            db::agents::lifecycle::agent_delete(&mut tx, agent).await?;
        } else {
            mark_stopped(context, &mut tx, locked.status, now).await?;
        }
    }
    context
        .complete(&mut tx, AgentStatus::Stopped, Map::new(), now)
        .await?;
    tx.commit().await?;
    Ok(None)
}

/// What became of the agent's state when its container was stopped.
enum StateAfterStop {
    /// The state is in this backup.
    Saved(BackupId),
    /// The volume holds state that no backup holds.
    Unsaved,
    /// What the row says about it is still right.
    AsRecorded,
}

async fn stop_container(
    context: &mut JobContext<'_>,
    host: Option<&Host>,
    record: &RuntimeRecord,
) -> Result<StateAfterStop, StepError> {
    let is_deletion = context.job.kind == JobKind::Delete;
    // If the container is gone already at the first attempt, its unsaved state may still be in the volume. At a later
    // attempt, an earlier one may have saved the state and removed the container.
    let mut state = if context.job.attempt == 1 && may_have_unsaved_state(record) {
        StateAfterStop::Unsaved
    } else {
        StateAfterStop::AsRecorded
    };
    let Some(host) = host else {
        return Ok(state);
    };
    let Some(container) = cleanup::find_container(context, &host.engine).await? else {
        return Ok(state);
    };
    if !is_deletion && (may_have_unsaved_state(record) || cleanup::is_legacy(&container)) {
        state = save_state(context, host, record, &container).await?;
    }
    context.start_step(StepName::Stop).await?;
    cleanup::remove_container(context, &host.engine, &container).await?;
    context.finish_step(StepName::Stop).await?;
    Ok(state)
}

/// Whether the container may hold state that no backup holds. A container that never ran has no state: an empty state
/// must not become the agent's newest backup.
fn may_have_unsaved_state(record: &RuntimeRecord) -> bool {
    record.has_unsaved_state
        || matches!(
            record.status(),
            AgentStatus::Running | AgentStatus::Disconnected
        )
}

/// Reads the agent's state and stores it as a backup, if the state can be read.
async fn save_state(
    context: &mut JobContext<'_>,
    host: &Host,
    record: &RuntimeRecord,
    container: &ContainerObservation,
) -> Result<StateAfterStop, StepError> {
    context.start_step(StepName::Snapshot).await?;
    let Some(state) = read_state(context, host, record, container).await? else {
        context.skip_step(StepName::Snapshot).await?;
        return Ok(StateAfterStop::Unsaved);
    };
    let agent = context.agent();
    let mut tx = context.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    context
        .finish_step_in(&mut tx, StepName::Snapshot, now)
        .await?;
    let backup_id = agent_state::store(&mut tx, agent, "pre-shutdown", &state, now).await?;
    db::agents::placement::unsaved_since_set(&mut tx, agent, None).await?;
    tx.commit().await?;
    Ok(StateAfterStop::Saved(backup_id))
}

async fn read_state(
    context: &JobContext<'_>,
    host: &Host,
    record: &RuntimeRecord,
    container: &ContainerObservation,
) -> Result<Option<Bytes>, StepError> {
    let is_running = container.state == "running";
    let Some(bridge_port) = record.bridge().filter(|_| is_running) else {
        return Ok(None);
    };
    let agent = host.agent(bridge_port);
    for attempt in 1..=MAX_SNAPSHOT_ATTEMPTS {
        let fetch = agent_state::fetch(&agent, agent_state::TIMEOUT);
        let error = match context.with_heartbeat(fetch).await? {
            Ok(state) => return Ok(Some(state)),
            Err(error) => error,
        };
        warn!(
            agent.id = %context.agent_id, attempt, %error, cause = error.cause(),
            "could not read the state of agent {}; unless a later attempt succeeds, the state is only in the \
            agent's volume",
            context.agent_id
        );
        if error.reason() == StateErrorReason::TooLarge {
            break;
        }
    }
    Ok(None)
}

/// Records that the agent is stopped: its container was seen gone, and its slot is free.
async fn finish_suspension(
    context: &mut JobContext<'_>,
    state: StateAfterStop,
) -> Result<(), StepError> {
    let agent = context.agent();
    let mut tx = context.pool.begin().await?;
    let locked = db::agents::lifecycle::agent_lock(&mut tx, agent).await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let record = db::agents::placement::runtime_record_find(&mut tx, agent).await?;
    if let (Some(locked), Some(record)) = (locked, record) {
        cleanup::clear_placement(context, &mut tx, &record, now).await?;
        if matches!(state, StateAfterStop::Unsaved) {
            db::agents::placement::unsaved_since_set(&mut tx, agent, Some(now)).await?;
        }
        mark_stopped(context, &mut tx, locked.status, now).await?;
    }
    let mut details = Map::new();
    if let StateAfterStop::Saved(backup_id) = state {
        details.insert("backupId".to_owned(), json!(backup_id));
    }
    context
        .complete(&mut tx, AgentStatus::Stopped, details, now)
        .await?;
    tx.commit().await?;
    Ok(())
}

/// Moves the agent to `stopped`. If the job only removes what a failed start left, the agent stays in `error`.
async fn mark_stopped(
    context: &JobContext<'_>,
    conn: &mut PgConnection,
    status: AgentStatus,
    now: DateTime<Utc>,
) -> Result<(), StepError> {
    if context.job.cleanup && status == AgentStatus::Error {
        return Ok(());
    }
    if let Ok(to) = status.after(AgentEvent::StopFinished) {
        let change = StatusChange { from: status, to };
        db::agents::lifecycle::agent_change_status(conn, context.agent(), change, None, now)
            .await?;
    }
    Ok(())
}

/// Frees the slot of a deleted agent as soon as its container is gone, not only when everything else is removed.
async fn clear_placement(
    context: &JobContext<'_>,
    record: &RuntimeRecord,
) -> Result<(), StepError> {
    let mut tx = context.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    context.checkpoint(&mut tx, now).await?;
    cleanup::clear_placement(context, &mut tx, record, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Removes the agent's volumes on its host and on the hosts where it was before. A directory of the host that an older
/// deployment mounted is not removed.
async fn remove_volumes(
    context: &mut JobContext<'_>,
    host: Option<&Host>,
    record: &RuntimeRecord,
) -> Result<(), StepError> {
    context.start_step(StepName::Volume).await?;
    let name = container::name(context.agent_id);
    if let Some(host) = host {
        host.engine.remove_volume(&name).await?;
    }
    for node_id in &record.former_nodes {
        if let Some(host) = cleanup::open_host(context, node_id).await? {
            host.engine.remove_volume(&name).await?;
        }
    }
    context.finish_step(StepName::Volume).await
}

async fn delete_row(context: &mut JobContext<'_>, record: &RuntimeRecord) -> Result<(), StepError> {
    let agent = context.agent();
    let mut tx = context.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    db::agents::lifecycle::agent_delete(&mut tx, agent).await?;
    let mut details = Map::new();
    if record.data_bind.is_some() {
        let notice = "The host directory that was mounted as the agent's volume was not removed";
        warn!(
            agent.id = %agent.agent_id, node.id = record.node_id,
            "agent {} is deleted; the host directory that was mounted as its volume was not removed",
            agent.agent_id
        );
        details.insert("left".to_owned(), Value::from(notice));
    }
    context
        .complete(&mut tx, AgentStatus::Stopped, details, now)
        .await?;
    tx.commit().await?;
    Ok(())
}
