//! The launch: the steps of a start job from the image to a healthy container, on a host that has a slot for it. Owns:
//! their order, and what is attempted again on the same host.

use std::time::Duration;

use bytes::Bytes;
use tracing::warn;

use super::cleanup;
use super::context::JobContext;
use super::error::StepError;
use super::health::{NOT_STARTED_ERROR, wait_until_healthy};
use super::launch_spec::LaunchSpec;
use super::placement::{self, HostSlot};
use crate::app::agent_state;
use crate::app::host_access::{Host, registry_account};
use crate::db;
use crate::domain::container;
use crate::domain::ids::BackupId;
use crate::domain::job::StepName;
use crate::domain::placement::Ports;
use crate::hosts::{ContainerSpec, EngineError, EngineErrorReason};

const PULL_TIMEOUT: Duration = Duration::from_mins(10);
/// How many pairs of ports are tried. A process that is in no row can hold ports of the host.
const MAX_PORT_ATTEMPTS: usize = 5;
/// How many containers are created when Docker refuses to start them. Docker refuses a container that ends while it
/// is being started. On a busy machine it was also seen to refuse a good container without a reason.
const MAX_REFUSED_ATTEMPTS: usize = 3;
/// Pauses before a refused start of the same container is repeated.
const START_RETRY_AFTER: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(750)];

pub(super) struct LaunchedContainer {
    /// Docker's id.
    pub(super) id: String,
    pub(super) ports: Ports,
}

/// Launches the agent up to the point where only its row has to say that it runs.
pub(super) async fn launch(
    context: &mut JobContext<'_>,
    slot: &HostSlot,
    spec: &LaunchSpec<'_>,
) -> Result<LaunchedContainer, StepError> {
    pull(context, &slot.host, &spec.image).await?;
    // Before the container is created, which creates a missing volume. If the volume is lost, the backups are all that
    // is left of the agent's state.
    let restores_backup = spec.restores_backup || !has_data(context, slot, spec).await?;
    let container = create_and_start(context, slot, spec).await?;
    wait_until_healthy(context, &slot.host, &container.id, container.ports.web).await?;
    if restores_backup {
        restore_backup(context, &slot.host, container.ports.bridge).await?;
    }
    Ok(container)
}

/// Whether the agent's data is on the host.
async fn has_data(
    context: &JobContext<'_>,
    slot: &HostSlot,
    spec: &LaunchSpec<'_>,
) -> Result<bool, StepError> {
    if spec.record.data_bind.is_some() && !slot.is_new_host {
        return Ok(true);
    }
    let name = container::name(context.agent_id);
    let has_volume = slot.host.engine.has_volume(&name).await?;
    if !has_volume {
        warn!(
            agent.id = %context.agent_id, node.id = slot.host.node.node_id,
            "the volume of agent {} is lost; its newest backup is restored", context.agent_id
        );
    }
    Ok(has_volume)
}

async fn pull(context: &mut JobContext<'_>, host: &Host, image: &str) -> Result<(), StepError> {
    context.start_step(StepName::Pull).await?;
    if !host.engine.has_image(image).await? {
        let hosts = context.hosts;
        let account = registry_account(&hosts.secrets, hosts.registries.as_ref(), image).await?;
        let pull = host.engine.pull(image, account, PULL_TIMEOUT);
        context.with_heartbeat(pull).await??;
    }
    context.finish_step(StepName::Pull).await
}

/// Creates the container and starts it, if necessary with other ports.
async fn create_and_start(
    context: &mut JobContext<'_>,
    slot: &HostSlot,
    spec: &LaunchSpec<'_>,
) -> Result<LaunchedContainer, StepError> {
    context.start_step(StepName::Create).await?;
    let engine = &slot.host.engine;
    let environment = spec.environment(context).await?;
    if slot.is_new_host && cleanup::find_container(context, engine).await?.is_none() {
        // A volume of an earlier stay on this host is older than the agent's backups.
        let volume = container::name(context.agent_id);
        engine.remove_volume(&volume).await?;
    }
    let mut ports = slot.ports;
    let mut tried_ports = Vec::new();
    loop {
        let container = spec.container(context, slot, &environment, ports);
        let id = create(context, slot, &container).await?;
        context.finish_step(StepName::Create).await?;
        record_start(context).await?;
        let Err(error) = start(slot, &id).await else {
            context.finish_step(StepName::Start).await?;
            return Ok(LaunchedContainer { id, ports });
        };
        tried_ports.push(ports);
        if !is_worth_another_container(error.reason(), tried_ports.len()) {
            return Err(start_error(error));
        }
        engine.remove(&id).await?;
        let others = placement::take_other_ports(context, slot, &tried_ports).await?;
        ports = others.ok_or_else(|| EngineError::new(EngineErrorReason::PortTaken))?;
        context.start_step(StepName::Create).await?;
    }
}

/// Records, under the fence, that the container starts now: from now on the owner pays, if the start succeeds.
///
/// The time is recorded before the engine is asked. After the answer it would be too late: an answer that is late or
/// lost leaves a container that runs and that nothing says the beginning of. The owner pays for one request to the
/// engine more than the container runs. Each container that is tried replaces the time of the one before.
async fn record_start(context: &mut JobContext<'_>) -> Result<(), StepError> {
    let mut tx = context.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    // The agent's row before the job's, as everywhere.
    if !db::agents::placement::compute_started_set(&mut tx, context.agent(), now).await? {
        return Err(StepError::Lost);
    }
    context.start_step_in(&mut tx, StepName::Start, now).await?;
    tx.commit().await?;
    Ok(())
}

fn is_worth_another_container(reason: EngineErrorReason, attempts: usize) -> bool {
    match reason {
        EngineErrorReason::PortTaken => attempts < MAX_PORT_ATTEMPTS,
        EngineErrorReason::Refused => attempts < MAX_REFUSED_ATTEMPTS,
        _ => false,
    }
}

fn start_error(error: EngineError) -> StepError {
    match error.reason() {
        EngineErrorReason::Refused => StepError::external_with_cause(NOT_STARTED_ERROR, error),
        _ => error.into(),
    }
}

/// Starts a container. A refused start is repeated.
async fn start(slot: &HostSlot, id: &str) -> Result<(), EngineError> {
    for pause in START_RETRY_AFTER {
        match slot.host.engine.start(id).await {
            Err(error) if error.reason() == EngineErrorReason::Refused => {
                tokio::time::sleep(pause).await;
            }
            other => return other,
        }
    }
    slot.host.engine.start(id).await
}

/// Creates a container. If its name is taken by an older container of the agent, that one is removed first.
async fn create(
    context: &JobContext<'_>,
    slot: &HostSlot,
    spec: &ContainerSpec,
) -> Result<String, StepError> {
    let engine = &slot.host.engine;
    match engine.create(spec).await {
        Err(error) if error.reason() == EngineErrorReason::NameTaken => {}
        created => return Ok(created?),
    }
    if let Some(existing) = cleanup::find_container(context, engine).await? {
        let is_newer = existing
            .attempt
            .is_some_and(|attempt| attempt > spec.attempt);
        if existing.label.is_none() || is_newer {
            return Err(cleanup::foreign_container(context.agent_id));
        }
        cleanup::remove_container(context, engine, &existing).await?;
    }
    Ok(engine.create(spec).await?)
}

async fn restore_backup(
    context: &mut JobContext<'_>,
    host: &Host,
    bridge_port: u16,
) -> Result<(), StepError> {
    let Some(state) = backup_state(context, context.job.backup_id).await? else {
        return Ok(());
    };
    context.start_step(StepName::Restore).await?;
    let agent = host.agent(bridge_port);
    context
        .with_heartbeat(agent_state::restore(&agent, state))
        .await??;
    context.finish_step(StepName::Restore).await
}

/// The state in a backup of the agent: in the newest one if no backup is named.
pub(super) async fn backup_state(
    context: &JobContext<'_>,
    backup_id: Option<BackupId>,
) -> Result<Option<Bytes>, StepError> {
    let mut conn = context.pool.statements();
    let stored = db::agents::backups::backup_state(&mut conn, context.agent(), backup_id).await?;
    Ok(stored.map(agent_state::decode).transpose()?)
}
