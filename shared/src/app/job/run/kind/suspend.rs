//! `milady_suspend`: stops an agent and keeps what it needs to be started again. Owns: that no state is lost on the
//! way.
//!
//! ```text
//! (snapshot) -> stop -> stopped
//! ```
//! State that cannot be read or stored stays in the volume, and the row says so: the agent is then started on no other host
//! (F16). A stop that begins a move, or a restart with another image, saves the state before it asks the agent to stop.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, json};
use tracing::warn;

use crate::app::agent_state::{self, StateErrorReason};
use crate::app::host_access::Host;
use crate::app::job::run::context::JobContext;
use crate::app::job::run::definition::JobDefinition;
use crate::app::job::run::error::StepError;
use crate::app::job::run::{cleanup, stop, surplus};
use crate::app::state_store::{self, StagedState, StoreError};
use crate::db;
use crate::db::Connection;
use crate::db::agents::backups::PRE_SHUTDOWN;
use crate::db::agents::lifecycle::StatusChange;
use crate::db::agents::placement::RuntimeRecord;
use crate::db::jobs::worker::StopPurpose;
use crate::domain::agent::{AgentEvent, AgentStatus, StopReason};
use crate::domain::fleet::ContainerObservation;
use crate::domain::ids::{AgentRef, BackupId};
use crate::domain::job::StepName;
use crate::domain::roll_out::RestartOutcome;

pub(super) const SUSPEND: JobDefinition = JobDefinition {
    steps: &[StepName::Snapshot, StepName::Stop],
    run: |context| Box::pin(run(context)),
};

/// Each attempt can take a minute, in which the owner no longer pays for the running container.
const MAX_SNAPSHOT_ATTEMPTS: u32 = 2;
/// Likewise.
const MAX_STORE_ATTEMPTS: u32 = 2;

/// Why an agent stays on its host.
const STATE_NOT_SAVED: &str = "The agent's state could not be saved";

async fn run(context: &mut JobContext<'_>) -> Result<(), StepError> {
    let Some(record) = load_or_complete(context).await? else {
        return Ok(());
    };
    let host = stop::open_host(context, &record).await?;
    let state = if context.job.purpose == StopPurpose::Move && !record.stop_requested {
        let left = leave_host(context, host.as_ref(), &record).await?;
        let Some(state) = left else {
            return Ok(());
        };
        state
    } else {
        stop_container(context, host.as_ref(), &record).await?
    };
    finish(context, state).await
}

/// Stops an agent that is moved to another host or restarted with another image, and saves its state before. The start that
/// follows a move copies the volume, but the host may be lost until then. A new image may damage the volume, and a directory
/// of the host is not copied: without a backup, such a restart or move ends, the agent keeps running, the job is completed,
/// and `None` is returned.
async fn leave_host(
    context: &mut JobContext<'_>,
    host: Option<&Host>,
    record: &RuntimeRecord,
) -> Result<Option<StateAfterStop>, StepError> {
    let container = match host {
        Some(host) => cleanup::find_container(context, &host.engine).await?,
        None => None,
    };
    let (Some(host), Some(container)) = (host, container) else {
        return stay(context, "The agent's container was not found on its host").await;
    };
    let image_id = host.engine.image_id(&container.id).await?;
    context.start_step(StepName::Snapshot).await?;
    let staged = stage_state(context, host, record, &container).await?;
    let agent = context.agent();
    let mut tx = context.pool.begin().await?;
    let locked = db::agents::lifecycle::agent_lock(&mut tx, agent).await?;
    let locked = locked.ok_or(StepError::Lost)?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let is_moving = db::agents::moves::move_find(&mut tx, agent)
        .await?
        .is_some();
    let is_restarting =
        db::agents::image_restarts::restart_leave(&mut tx, agent, &image_id).await?;
    if !is_moving && !is_restarting && !locked.stop_requested {
        drop(tx);
        return stay(context, "The operator cancelled it").await;
    }
    let backup_id = match &staged {
        Some(staged) => insert_or_undo(&mut tx, agent, staged, now).await?,
        None => None,
    };
    let needs_backup = is_restarting || container.data_bind.is_some();
    if backup_id.is_none() && needs_backup && !locked.stop_requested {
        drop(tx);
        context.skip_step(StepName::Snapshot).await?;
        return stay(context, STATE_NOT_SAVED).await;
    }
    if backup_id.is_some() {
        context
            .finish_step_in(&mut tx, StepName::Snapshot, now)
            .await?;
        db::agents::placement::unsaved_since_set(&mut tx, agent, None).await?;
    } else {
        context
            .skip_step_in(&mut tx, StepName::Snapshot, now)
            .await?;
    }
    if !locked.stop_requested {
        let cause = StopReason::Drain.into();
        db::agents::lifecycle::agent_request_stop(&mut tx, agent, cause, now).await?;
    }
    tx.commit().await?;
    stop::remove_container(context, host, &container).await?;
    Ok(Some(
        backup_id.map_or(StateAfterStop::Unsaved, StateAfterStop::Saved),
    ))
}

/// Reads the agent's state and stages it. `None` if it cannot be read, or if the store does not take it.
async fn stage_state(
    context: &JobContext<'_>,
    host: &Host,
    record: &RuntimeRecord,
    container: &ContainerObservation,
) -> Result<Option<StagedState>, StepError> {
    let Some(state) = read_state(context, host, record, container).await? else {
        return Ok(None);
    };
    let bucket = context.hosts.bucket.as_ref();
    let upload = state_store::stage(context.pool, bucket, context.agent(), state);
    match context.with_heartbeat(upload).await? {
        Ok(staged) => Ok(Some(staged)),
        Err(error) if error.is_refusal() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Stores a staged state in a transaction, which goes on without it if the store refuses it.
async fn insert_or_undo(
    conn: &mut Connection,
    agent: AgentRef,
    staged: &StagedState,
    now: DateTime<Utc>,
) -> Result<Option<BackupId>, StepError> {
    // `insert` sets the same mark again, at a point where nothing is stored yet.
    conn.savepoint().await?;
    match state_store::insert(conn, agent, PRE_SHUTDOWN, staged, now).await {
        Ok(backup_id) => Ok(Some(backup_id)),
        Err(error) if error.is_refusal() => {
            conn.rollback_to_savepoint().await?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Ends the move or the restart of an agent that keeps running on its host, and completes the job.
async fn stay(context: &JobContext<'_>, reason: &str) -> Result<Option<StateAfterStop>, StepError> {
    let agent = context.agent();
    let mut tx = context.pool.begin().await?;
    let locked = db::agents::lifecycle::agent_lock(&mut tx, agent).await?;
    let locked = locked.ok_or(StepError::Lost)?;
    if locked.stop_requested {
        // The next attempt stops the agent like any other.
        return Err(StepError::external("The agent was asked to stop meanwhile"));
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    db::agents::moves::move_end(&mut tx, agent, Some(reason), now).await?;
    let skipped = RestartOutcome::Skipped;
    db::agents::image_restarts::restart_end(&mut tx, agent, skipped, Some(reason), now).await?;
    let mut details = Map::new();
    details.insert("notMoved".to_owned(), json!(reason));
    context
        .complete(&mut tx, locked.status, details, now)
        .await?;
    tx.commit().await?;
    warn!(agent.id = %agent.agent_id, reason, "agent {} keeps running as it is: {reason}", agent.agent_id);
    Ok(None)
}

/// Loads what is to be stopped. If nothing of the agent is on any host, completes the job and returns `None`.
async fn load_or_complete(
    context: &mut JobContext<'_>,
) -> Result<Option<RuntimeRecord>, StepError> {
    let mut tx = context.pool.begin().await?;
    let agent = stop::lock_agent(context, &mut tx).await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    if let Some(agent) = agent {
        if surplus::may_have_container(context, &agent) {
            return Ok(Some(agent.record));
        }
        if context.job.purpose != StopPurpose::RemoveSurplus {
            mark_stopped(context, &mut tx, agent.locked.status, now).await?;
        }
    }
    surplus::record_end(context, &mut tx, "not needed", now).await?;
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
    let container = match host {
        Some(host) => cleanup::find_container(context, &host.engine).await?,
        None => None,
    };
    let (Some(host), Some(container)) = (host, container) else {
        return state_without_container(context, record).await;
    };
    let mut state = StateAfterStop::AsRecorded;
    // What a failed start left of an agent in error has no state yet, unless it ran with the volume that holds the state.
    let ran_while_stopped = context.job.purpose == StopPurpose::RemoveSurplus
        && record.status() == AgentStatus::Stopped;
    let ran_with_state = record.has_state_on(&host.node.node_id) && container.state != "created";
    if ran_while_stopped
        || ran_with_state
        || may_have_unsaved_state(record)
        || cleanup::is_of_older_deployment(&container)
    {
        state = save_state(context, host, record, &container).await?;
    }
    stop::remove_container(context, host, &container).await?;
    Ok(state)
}

/// What became of the state of an agent whose container is gone already. An earlier attempt, or another stop job, may have
/// saved it and removed the container (F81); else it may still be in the volume.
async fn state_without_container(
    context: &JobContext<'_>,
    record: &RuntimeRecord,
) -> Result<StateAfterStop, StepError> {
    if !may_have_unsaved_state(record) {
        return Ok(StateAfterStop::AsRecorded);
    }
    if record.has_unsaved_state {
        return Ok(StateAfterStop::Unsaved);
    }
    let mut conn = context.pool.statements();
    let saved = db::agents::backups::backup_of_stop(&mut conn, context.agent()).await?;
    Ok(saved.map_or(StateAfterStop::Unsaved, StateAfterStop::Saved))
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

/// Reads the agent's state and stores it as a backup, if the state can be read and stored.
async fn save_state(
    context: &mut JobContext<'_>,
    host: &Host,
    record: &RuntimeRecord,
    container: &ContainerObservation,
) -> Result<StateAfterStop, StepError> {
    context.start_step(StepName::Snapshot).await?;
    let Some(state) = read_state(context, host, record, container).await? else {
        return state_without_snapshot(context).await;
    };
    for attempt in 1..=MAX_STORE_ATTEMPTS {
        match store_state(context, &state).await? {
            StoreOutcome::Saved(backup_id) => return Ok(StateAfterStop::Saved(backup_id)),
            StoreOutcome::Refused(error) => warn!(
                agent.id = %context.agent_id, attempt, state.bytes = state.len(), %error, cause = error.cause(),
                "could not store the state of agent {}; unless a later attempt succeeds, the state is only in the \
                agent's volume",
                context.agent_id
            ),
        }
    }
    state_without_snapshot(context).await
}

/// What the row says of a state that this attempt could not save. A move has saved it before it asked the agent to stop; an
/// agent whose state counted as unsaved would not be started on another host.
async fn state_without_snapshot(context: &mut JobContext<'_>) -> Result<StateAfterStop, StepError> {
    context.skip_step(StepName::Snapshot).await?;
    Ok(if is_saved_for_move(context).await? {
        StateAfterStop::AsRecorded
    } else {
        StateAfterStop::Unsaved
    })
}

/// What became of a state that the agent has sent.
enum StoreOutcome {
    Saved(BackupId),
    /// The store works and does not take this state. Waiting for it would let the container run on, unbilled (F75).
    Refused(StoreError),
}

async fn store_state(
    context: &mut JobContext<'_>,
    state: &Bytes,
) -> Result<StoreOutcome, StepError> {
    let agent = context.agent();
    let bucket = context.hosts.bucket.as_ref();
    let upload = state_store::stage(context.pool, bucket, agent, state.clone());
    let staged = match context.with_heartbeat(upload).await? {
        Ok(staged) => staged,
        Err(error) => return refused(error),
    };
    let mut tx = context.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let inserted = state_store::insert(&mut tx, agent, PRE_SHUTDOWN, &staged, now).await;
    let backup_id = match inserted {
        Ok(backup_id) => backup_id,
        Err(error) => return refused(error),
    };
    db::agents::placement::unsaved_since_set(&mut tx, agent, None).await?;
    context
        .finish_step_in(&mut tx, StepName::Snapshot, now)
        .await?;
    match tx.commit().await {
        Ok(()) => Ok(StoreOutcome::Saved(backup_id)),
        Err(error) => refused(error.into()),
    }
}

fn refused(error: StoreError) -> Result<StoreOutcome, StepError> {
    if error.is_refusal() {
        Ok(StoreOutcome::Refused(error))
    } else {
        Err(error.into())
    }
}

/// Whether an earlier attempt saved the agent's state before it asked the agent to stop for its move.
async fn is_saved_for_move(context: &JobContext<'_>) -> Result<bool, StepError> {
    let mut tx = context.pool.begin().await?;
    let locked = db::agents::lifecycle::agent_lock(&mut tx, context.agent()).await?;
    let locked = locked.ok_or(StepError::Lost)?;
    Ok(locked.stop_requested && locked.stop_reason == Some(StopReason::Drain))
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
async fn finish(context: &mut JobContext<'_>, state: StateAfterStop) -> Result<(), StepError> {
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
    surplus::record_end(context, &mut tx, "ok", now).await?;
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

/// Moves the agent to `stopped`. If the job only removes a container that should not be there, an agent in error stays so.
async fn mark_stopped(
    context: &JobContext<'_>,
    conn: &mut Connection,
    status: AgentStatus,
    now: DateTime<Utc>,
) -> Result<(), StepError> {
    let only_removes = matches!(
        context.job.purpose,
        StopPurpose::CleanUp | StopPurpose::RemoveSurplus
    );
    if only_removes && status == AgentStatus::Error {
        return Ok(());
    }
    if let Ok(to) = status.after(AgentEvent::StopFinished) {
        let change = StatusChange { from: status, to };
        db::agents::lifecycle::agent_change_status(conn, context.agent(), change, None, now)
            .await?;
    }
    Ok(())
}
