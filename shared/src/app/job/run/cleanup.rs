//! Cleanup: removing what an earlier attempt, or an earlier start, left on a host. Owns: that a container is gone before
//! the agent's row says so, and that only the agent's own container is touched.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::{info, warn};

use super::context::JobContext;
use super::error::StepError;
use crate::app::host_access::Host;
use crate::db;
use crate::db::Connection;
use crate::db::agents::placement::RuntimeRecord;
use crate::domain::agent::AgentStatus;
use crate::domain::container;
use crate::domain::fleet::ContainerObservation;
use crate::domain::ids::AgentId;
use crate::domain::job::StepName;
use crate::hosts::{Engine, EngineError, EngineErrorReason, name_holder};

/// How long a container may take to end by itself before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Connects to the host that a row names. `None` if the host is not registered any more, or if it is declared lost:
/// everything on it counts as gone.
pub(super) async fn open_host(
    context: &JobContext<'_>,
    node_id: &str,
) -> Result<Option<Host>, StepError> {
    let mut conn = context.pool.statements();
    let node = db::hosts::coordinates::host_find(&mut conn, node_id).await?;
    drop(conn);
    let Some(node) = node else {
        warn!(
            node.id = node_id, agent.id = %context.agent_id,
            "host {node_id} of agent {} is not registered any more; what was on it counts as gone",
            context.agent_id
        );
        return Ok(None);
    };
    if node.is_lost {
        warn!(
            node.id = node_id, agent.id = %context.agent_id,
            "host {node_id} of agent {} is declared lost; what was on it counts as gone", context.agent_id
        );
        return Ok(None);
    }
    let open = Host::open(context.pool, &context.hosts.hosts, node);
    Ok(Some(context.with_heartbeat(open).await??))
}

/// The container with the agent's name on this host. It is an error if its label names another agent.
pub(super) async fn find_container(
    context: &JobContext<'_>,
    engine: &Engine,
) -> Result<Option<ContainerObservation>, StepError> {
    find_own_container(engine, context.agent_id).await
}

/// The same without a job.
pub(super) async fn find_own_container(
    engine: &Engine,
    agent_id: AgentId,
) -> Result<Option<ContainerObservation>, StepError> {
    let container = engine.find(&container::name(agent_id)).await?;
    check_label(container, agent_id)
}

/// The container that has the agent's name by what the engine said when it refused the name, although no list shows it.
/// `None` if the engine did not say which one, or if it is gone. It is an error if its label names another agent.
pub(super) async fn find_name_holder(
    context: &JobContext<'_>,
    engine: &Engine,
    refusal: &EngineError,
) -> Result<Option<ContainerObservation>, StepError> {
    let Some(id) = name_holder(refusal) else {
        return Ok(None);
    };
    check_label(engine.observe(&id).await?, context.agent_id)
}

fn check_label(
    container: Option<ContainerObservation>,
    agent_id: AgentId,
) -> Result<Option<ContainerObservation>, StepError> {
    let label = container.as_ref().and_then(|found| found.label.as_ref());
    if label.is_some_and(|label| *label != agent_id.to_string()) {
        return Err(foreign_container(agent_id));
    }
    Ok(container)
}

/// The error if a container has the agent's name and is not the agent's.
pub(super) fn foreign_container(agent_id: AgentId) -> StepError {
    warn!(
        agent.id = %agent_id,
        "a foreign container has the name of agent {agent_id}; it is not touched"
    );
    StepError::external("Another container has the agent's name")
}

/// Stops a container, removes it, and checks that it is gone. Records a directory of the host that it mounts.
pub(super) async fn remove_container(
    context: &JobContext<'_>,
    engine: &Engine,
    container: &ContainerObservation,
) -> Result<(), StepError> {
    // An older deployment mounted a directory of the host as the agent's volume. It is recorded before the container is
    // removed, because afterwards nothing else names it.
    if let Some(directory) = &container.data_bind {
        let mut conn = context.pool.statements();
        db::agents::placement::data_bind_set(&mut conn, context.agent(), directory).await?;
    }
    context
        .with_heartbeat(stop_and_remove(engine, container))
        .await?
}

/// The same without a job.
pub(super) async fn stop_and_remove(
    engine: &Engine,
    container: &ContainerObservation,
) -> Result<(), StepError> {
    let stopped = engine.stop(&container.id, STOP_GRACE).await;
    // The removal is by force, so a refusal to stop does not matter. A host that cannot be reached does.
    if let Err(error) = stopped
        && matches!(error.reason(), EngineErrorReason::Host(_))
    {
        return Err(error.into());
    }
    engine.remove(&container.id).await?;
    let remaining = engine.find(&container.name).await?;
    if remaining.is_some_and(|remaining| remaining.id == container.id) {
        return Err(StepError::external("The container could not be removed"));
    }
    Ok(())
}

/// Removes the agent's volume, and before it the container that a copy of the volume may have left.
pub(super) async fn remove_volume(engine: &Engine, agent_id: AgentId) -> Result<(), EngineError> {
    engine.remove(&container::reader_name(agent_id)).await?;
    engine.remove_volume(&container::name(agent_id)).await
}

/// Removes the agent's volume if this job has created it: then it holds no state, or a part of a copy.
pub(super) async fn remove_own_volume(
    context: &JobContext<'_>,
    engine: &Engine,
) -> Result<(), EngineError> {
    let name = container::name(context.agent_id);
    let creator = engine.volume_job(&name).await?;
    if creator.is_some_and(|job_id| job_id == context.job.id.to_string()) {
        engine.remove_volume(&name).await?;
    }
    Ok(())
}

/// Whether an older deployment created the container. Then it is not known whether it ever ran and what it holds.
pub(super) fn is_of_older_deployment(container: &ContainerObservation) -> bool {
    container.attempt.is_none()
}

/// Removes the container of an earlier attempt and frees its slot, before anything new is created: an agent never has
/// two containers (F14, F26). A volume that such an attempt of the same job created goes, too. Returns whether the volume
/// of the container may hold unsaved state.
pub(super) async fn remove_previous_container(
    context: &mut JobContext<'_>,
    record: &RuntimeRecord,
) -> Result<bool, StepError> {
    if record.container_name.is_none() {
        return Ok(false);
    }
    let mut has_unsaved_state = false;
    context.start_step(StepName::Cleanup).await?;
    if let Some(node_id) = &record.node_id
        && let Some(host) = open_host(context, node_id).await?
    {
        if let Some(container) = find_container(context, &host.engine).await? {
            info!(
                agent.id = %context.agent_id, node.id = node_id, attempt = container.attempt,
                "the previous container of agent {} is removed", context.agent_id
            );
            remove_container(context, &host.engine, &container).await?;
            has_unsaved_state = is_of_older_deployment(&container);
        }
        if !record.has_state_on(node_id) {
            remove_own_volume(context, &host.engine).await?;
        }
    }
    let mut tx = context.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    context
        .finish_step_in(&mut tx, StepName::Cleanup, now)
        .await?;
    clear_placement(context, &mut tx, record, now).await?;
    if has_unsaved_state {
        db::agents::placement::unsaved_since_set(&mut tx, context.agent(), Some(now)).await?;
    }
    tx.commit().await?;
    Ok(has_unsaved_state)
}

/// Records that the agent has no container any more, and frees its slot.
pub(super) async fn clear_placement(
    context: &JobContext<'_>,
    conn: &mut Connection,
    record: &RuntimeRecord,
    now: DateTime<Utc>,
) -> Result<(), StepError> {
    // The older web app freed the slot of an agent that it stopped, and left the container's name in the row.
    let holds_slot = !matches!(record.status(), AgentStatus::Stopped | AgentStatus::Pending);
    let had_container = db::agents::placement::placement_clear(conn, context.agent(), now).await?;
    if had_container
        && holds_slot
        && let Some(node_id) = &record.node_id
    {
        db::hosts::slots::slot_free(conn, node_id).await?;
    }
    Ok(())
}
