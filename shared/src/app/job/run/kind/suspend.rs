//! `milady_suspend`: stops an agent and keeps what it needs to be started again. Owns: that no state is lost on the
//! way.
//!
//! ```text
//! (snapshot) -> stop -> stopped
//! ```
//! State that cannot be read stays in the volume, and the row says so: the agent is then started on no other host
//! (F16).

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, json};
use tracing::warn;

use crate::app::agent_state::{self, StateErrorReason};
use crate::app::host_access::Host;
use crate::app::job::run::context::JobContext;
use crate::app::job::run::definition::JobDefinition;
use crate::app::job::run::error::StepError;
use crate::app::job::run::{cleanup, stop};
use crate::db;
use crate::db::Connection;
use crate::db::agents::lifecycle::StatusChange;
use crate::db::agents::placement::RuntimeRecord;
use crate::domain::agent::{AgentEvent, AgentStatus};
use crate::domain::fleet::ContainerObservation;
use crate::domain::ids::BackupId;
use crate::domain::job::StepName;

pub(super) const SUSPEND: JobDefinition = JobDefinition {
    steps: &[StepName::Snapshot, StepName::Stop],
    retry: stop::RETRY,
    run: |context| Box::pin(run(context)),
};

/// Each attempt can take a minute, in which the owner no longer pays for the running container.
const MAX_SNAPSHOT_ATTEMPTS: u32 = 2;

async fn run(context: &mut JobContext<'_>) -> Result<(), StepError> {
    let Some(record) = load_or_complete(context).await? else {
        return Ok(());
    };
    let host = stop::open_host(context, &record).await?;
    let state = stop_container(context, host.as_ref(), &record).await?;
    finish(context, state).await
}

/// Loads what is to be stopped. If nothing of the agent is on any host, completes the job and returns `None`.
async fn load_or_complete(
    context: &mut JobContext<'_>,
) -> Result<Option<RuntimeRecord>, StepError> {
    let mut tx = context.pool.begin().await?;
    let agent = stop::lock_agent(context, &mut tx).await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    if let Some(agent) = agent {
        if agent.may_have_container() {
            return Ok(Some(agent.record));
        }
        mark_stopped(context, &mut tx, agent.locked.status, now).await?;
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
    if may_have_unsaved_state(record) || cleanup::is_of_older_deployment(&container) {
        state = save_state(context, host, record, &container).await?;
    }
    stop::remove_container(context, host, &container).await?;
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
    conn: &mut Connection,
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
