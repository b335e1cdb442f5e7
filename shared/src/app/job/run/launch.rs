//! The launch: the steps of a start job from the image to a healthy container, on a host that has a slot for it. Owns:
//! their order, and what is attempted again on the same host.

use std::time::Duration;

use bytes::Bytes;
use tracing::{info, warn};

use super::cleanup;
use super::context::JobContext;
use super::death::died_at_start;
use super::error::StepError;
use super::health::wait_until_healthy;
use super::launch_spec::LaunchSpec;
use super::placement::{self, HostSlot};
use crate::app::host_access::{Host, registry_account};
use crate::app::{agent_state, state_store};
use crate::db;
use crate::domain::container;
use crate::domain::fleet::HostReadError;
use crate::domain::ids::BackupId;
use crate::domain::job::{JobFailure, JobKind, StepName};
use crate::domain::placement::Ports;
use crate::hosts::{ContainerSpec, Engine, EngineError, EngineErrorReason, NextStep};

/// Docker does not always tell which of the two happened.
const NOT_STARTED_ERROR: &str = "The agent's container could not be started, or ended at once";
const PULL_TIMEOUT: Duration = Duration::from_mins(10);
/// What creating and starting a container takes, with the attempts that are repeated.
const START_TIME: Duration = Duration::from_secs(30);
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
    require_time_to_start(context)?;
    let container = create_and_start(context, slot, spec).await?;
    wait_until_healthy(context, &slot.host, &container.id, container.ports.web).await?;
    if restores_backup {
        restore_backup(context, &slot.host, container.ports.bridge).await?;
    }
    Ok(container)
}

/// From the creation of the container to the end of the job in one go: a container that the function's end leaves half-way
/// would run unnoticed.
fn require_time_to_start(context: &JobContext<'_>) -> Result<(), StepError> {
    context.require_time(START_TIME + context.hosts.health_within + agent_state::TIMEOUT)
}

/// Whether the agent's data is on the host. A volume that a failed start created there does not count.
async fn has_data(
    context: &JobContext<'_>,
    slot: &HostSlot,
    spec: &LaunchSpec<'_>,
) -> Result<bool, StepError> {
    if spec.record.data_bind.is_some() && !slot.is_new_host {
        return Ok(true);
    }
    if !spec.record.has_state_on(&slot.host.node.node_id) {
        return Ok(false);
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
        pull_image(context, host, image).await?;
    }
    context.finish_step(StepName::Pull).await
}

async fn pull_image(context: &JobContext<'_>, host: &Host, image: &str) -> Result<(), StepError> {
    context.require_time(PULL_TIMEOUT)?;
    let account = registry_account(context.hosts.registries.as_ref(), image).await?;
    let pull = host.engine.pull(image, account, PULL_TIMEOUT);
    let pulled = context.with_heartbeat(pull).await?;
    pulled.map_err(pull_error)
}

/// A pull that takes too long may be due to the image, so it does not count against the host.
fn pull_error(error: EngineError) -> StepError {
    match error.reason() {
        EngineErrorReason::Host(reason @ HostReadError::TimedOut) => {
            StepError::external_with_cause(&reason.to_string(), error)
        }
        _ => error.into(),
    }
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
        remove_older_volume(context, slot).await?;
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
            return Err(start_error(context, &slot.host, &id, error).await);
        }
        engine.remove(&id).await?;
        let others = placement::take_other_ports(context, slot, &tried_ports).await?;
        ports = others.ok_or_else(|| EngineError::new(EngineErrorReason::PortTaken))?;
        context.start_step(StepName::Create).await?;
    }
}

/// Removes the volume of an earlier stay on this host. Backups hold its state: hosts whose volumes hold more are not taken.
async fn remove_older_volume(context: &JobContext<'_>, slot: &HostSlot) -> Result<(), StepError> {
    let volume = container::name(context.agent_id);
    if slot.host.engine.has_volume(&volume).await? {
        info!(
            agent.id = %context.agent_id, node.id = slot.host.node.node_id,
            "an older volume of agent {}, whose state its backups hold, is removed", context.agent_id
        );
        slot.host.engine.remove_volume(&volume).await?;
    }
    Ok(())
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
    match reason.next_step() {
        NextStep::OtherPorts => attempts < MAX_PORT_ATTEMPTS,
        NextStep::NewContainer => attempts < MAX_REFUSED_ATTEMPTS,
        NextStep::PullImage | NextStep::ReplaceContainer | NextStep::LaterAttempt => false,
    }
}

/// Docker refuses a start also because the container ended at once.
async fn start_error(
    context: &JobContext<'_>,
    host: &Host,
    id: &str,
    error: EngineError,
) -> StepError {
    if error.reason() != EngineErrorReason::Refused {
        return error.into();
    }
    match host.engine.inspect(id).await {
        Ok(runtime) if runtime.finished_at.is_some() => {
            died_at_start(context, host, id, &runtime).await
        }
        _ => StepError::external_with_cause(NOT_STARTED_ERROR, error),
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

/// Creates a container. An image that a clean-up of the host took meanwhile is pulled again, and an older container of
/// the agent that has the name is removed, once each.
async fn create(
    context: &JobContext<'_>,
    slot: &HostSlot,
    spec: &ContainerSpec,
) -> Result<String, StepError> {
    let engine = &slot.host.engine;
    let (mut may_pull, mut may_replace) = (true, true);
    loop {
        let refusal = match engine.create(spec).await {
            Ok(id) => return Ok(id),
            Err(refusal) => refusal,
        };
        match refusal.reason().next_step() {
            NextStep::PullImage if may_pull => {
                may_pull = false;
                pull_image(context, &slot.host, &spec.image).await?;
                require_time_to_start(context)?;
            }
            NextStep::ReplaceContainer if may_replace => {
                may_replace = false;
                remove_name_holder(context, engine, spec, &refusal).await?;
            }
            _ => return Err(refusal.into()),
        }
    }
}

/// Removes the agent's older container that has the name of the new one.
async fn remove_name_holder(
    context: &JobContext<'_>,
    engine: &Engine,
    spec: &ContainerSpec,
    refusal: &EngineError,
) -> Result<(), StepError> {
    let existing = match cleanup::find_container(context, engine).await? {
        // An engine keeps the name of a container whose creation or removal broke off, and lists it nowhere.
        None => cleanup::find_name_holder(context, engine, refusal).await?,
        listed => listed,
    };
    let Some(existing) = existing else {
        return Ok(());
    };
    let is_newer = existing
        .attempt
        .is_some_and(|attempt| attempt > spec.attempt);
    if existing.label.is_none() || is_newer {
        return Err(cleanup::foreign_container(context.agent_id));
    }
    cleanup::remove_container(context, engine, &existing).await
}

async fn restore_backup(
    context: &mut JobContext<'_>,
    host: &Host,
    bridge_port: u16,
) -> Result<(), StepError> {
    let Some(state) = backup_state(context, context.job.backup_id).await? else {
        return Ok(());
    };
    if !agent_state::is_state(&state) {
        if context.job.kind == JobKind::Restore {
            return Err(no_state_error());
        }
        warn!(
            agent.id = %context.agent_id,
            "the newest backup of agent {} holds no state; the agent starts without one", context.agent_id
        );
        return Ok(());
    }
    context.start_step(StepName::Restore).await?;
    let agent = host.agent(bridge_port);
    context
        .with_heartbeat(agent_state::restore(&agent, state))
        .await??;
    context.finish_step(StepName::Restore).await
}

/// The error if a backup that the owner chose holds something else than a state (F68).
pub(super) fn no_state_error() -> StepError {
    JobFailure::Refused("The backup holds no state of an agent".to_owned()).into()
}

/// The state in a backup of the agent: in the newest one if no backup is named.
pub(super) async fn backup_state(
    context: &JobContext<'_>,
    backup_id: Option<BackupId>,
) -> Result<Option<Bytes>, StepError> {
    let bucket = context.hosts.bucket.as_ref();
    let load = state_store::load(context.pool, bucket, context.agent(), backup_id);
    Ok(context.with_heartbeat(load).await??)
}
