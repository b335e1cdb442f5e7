//! `milady_restore`: restores an agent from a backup. An agent that runs takes over the state in one step; another one
//! is started with it.

use serde_json::Map;

use crate::app::agent_state;
use crate::app::job::run::context::JobContext;
use crate::app::job::run::definition::JobDefinition;
use crate::app::job::run::error::StepError;
use crate::app::job::run::start::{self, RestoreBackup, StartTransaction};
use crate::app::job::run::{cleanup, launch};
use crate::db;
use crate::db::agents::placement::RuntimeRecord;
use crate::domain::agent::AgentStatus;
use crate::domain::job::{JobFailure, StepName};

pub(super) const RESTORE: JobDefinition = JobDefinition {
    steps: start::STEPS,
    run: |context| Box::pin(run(context)),
};

async fn run(context: &mut JobContext<'_>) -> Result<(), StepError> {
    let start = StartTransaction::begin(context).await?;
    let is_running = start.is_running();
    let record = start.pass_gate(context).await?;
    if is_running {
        restore_running(context, &record).await
    } else {
        Box::pin(start::launch_agent(context, record, RestoreBackup::Always)).await
    }
}

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
    if !agent_state::is_state(&state) {
        return Err(launch::no_state_error());
    }
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
