//! What the kinds of jobs that stop an agent share. Owns: that no row says that a container is gone before its host was
//! seen without it.

use super::cleanup;
use super::context::JobContext;
use super::error::StepError;
use crate::app::host_access::Host;
use crate::db;
use crate::db::Connection;
use crate::db::agents::lifecycle::LockedAgent;
use crate::db::agents::placement::RuntimeRecord;
use crate::domain::agent::AgentStatus;
use crate::domain::fleet::ContainerObservation;
use crate::domain::job::StepName;

/// The agent of a stop job. Its lock is held until the transaction ends.
pub(super) struct StoppingAgent {
    pub(super) locked: LockedAgent,
    pub(super) record: RuntimeRecord,
}

impl StoppingAgent {
    /// Whether the agent's host must be inspected before the agent counts as stopped.
    pub(super) fn may_have_container(&self) -> bool {
        match self.locked.status {
            AgentStatus::Unknown => true,
            // A start records the container's name and host before it creates the container.
            AgentStatus::Provisioning => self.locked.names_container,
            status => status.expects_container(self.locked.names_container),
        }
    }
}

/// `None` if the agent is gone.
pub(super) async fn lock_agent(
    context: &JobContext<'_>,
    conn: &mut Connection,
) -> sqlx::Result<Option<StoppingAgent>> {
    let agent = context.agent();
    let locked = db::agents::lifecycle::agent_lock(conn, agent).await?;
    let record = db::agents::placement::runtime_record_find(conn, agent).await?;
    Ok(locked
        .zip(record)
        .map(|(locked, record)| StoppingAgent { locked, record }))
}

/// Connects to the agent's host. `None` if the agent has none, or if its host is no longer registered.
pub(super) async fn open_host(
    context: &JobContext<'_>,
    record: &RuntimeRecord,
) -> Result<Option<Host>, StepError> {
    // An agent that cannot be looked for does not count as stopped.
    if record.has_unknown_host {
        return Err(StepError::external("The agent's host is not known"));
    }
    if record.status() == AgentStatus::Unknown {
        return Err(StepError::external(
            "The agent has a status that this version does not know",
        ));
    }
    match &record.node_id {
        Some(node_id) => cleanup::open_host(context, node_id).await,
        None => Ok(None),
    }
}

/// Stops and removes the agent's container.
pub(super) async fn remove_container(
    context: &mut JobContext<'_>,
    host: &Host,
    container: &ContainerObservation,
) -> Result<(), StepError> {
    context.start_step(StepName::Stop).await?;
    cleanup::remove_container(context, &host.engine, container).await?;
    context.finish_step(StepName::Stop).await
}
