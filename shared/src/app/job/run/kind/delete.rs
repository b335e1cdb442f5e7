//! `milady_delete`: stops an agent and removes everything that belongs to it.
//!
//! ```text
//! stop -> volume -> database -> row
//! ```

use serde_json::{Map, Value};
use tracing::warn;

use crate::app::host_access::Host;
use crate::app::job::run::context::JobContext;
use crate::app::job::run::definition::JobDefinition;
use crate::app::job::run::error::StepError;
use crate::app::job::run::{cleanup, database, stop};
use crate::db;
use crate::db::agents::placement::RuntimeRecord;
use crate::domain::agent::AgentStatus;
use crate::domain::job::StepName;

pub(super) const DELETE: JobDefinition = JobDefinition {
    steps: &[StepName::Stop, StepName::Volume, StepName::Database],
    run: |context| Box::pin(run(context)),
};

async fn run(context: &mut JobContext<'_>) -> Result<(), StepError> {
    let Some(record) = load_or_complete(context).await? else {
        return Ok(());
    };
    let host = stop::open_host(context, &record).await?;
    if let Some(host) = &host
        && let Some(container) = cleanup::find_container(context, &host.engine).await?
    {
        stop::remove_container(context, host, &container).await?;
    }
    clear_placement(context, &record).await?;
    remove_volumes(context, host.as_ref(), &record).await?;
    database::remove(context, &record).await?;
    delete_row(context, &record).await
}

/// Loads what is to be removed. If nothing of the agent is outside its row, deletes the row, completes the job and
/// returns `None`.
async fn load_or_complete(
    context: &mut JobContext<'_>,
) -> Result<Option<RuntimeRecord>, StepError> {
    let mut tx = context.pool.begin().await?;
    let agent = stop::lock_agent(context, &mut tx).await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    if let Some(agent) = agent {
        if agent.may_have_container() || agent.locked.needs_cleanup {
            return Ok(Some(agent.record));
        }
        db::agents::lifecycle::agent_delete(&mut tx, context.agent()).await?;
    }
    context
        .complete(&mut tx, AgentStatus::Stopped, Map::new(), now)
        .await?;
    tx.commit().await?;
    Ok(None)
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
    if let Some(host) = host {
        cleanup::remove_volume(&host.engine, context.agent_id).await?;
    }
    for node_id in &record.former_nodes {
        if let Some(host) = cleanup::open_host(context, node_id).await? {
            cleanup::remove_volume(&host.engine, context.agent_id).await?;
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
