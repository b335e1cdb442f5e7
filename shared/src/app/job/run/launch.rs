//! The launch: the steps of a start job from the image to a healthy container, on a host that has a slot for it. Owns:
//! their order, and what is attempted again on the same host.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tracing::{info, warn};

use super::cleanup;
use super::context::JobContext;
use super::death::died_at_start;
use super::error::StepError;
use super::health::wait_until_healthy;
use super::launch_spec::LaunchSpec;
use super::placement::{self, HostSlot};
use super::volume_copy::{self, CopyTarget};
use crate::app::host_access::Host;
use crate::app::host_image::{PullTime, ensure_image, pull_image};
use crate::app::{agent_state, state_store};
use crate::db;
use crate::domain::container;
use crate::domain::ids::BackupId;
use crate::domain::job::{JobFailure, JobKind, StepName};
use crate::domain::placement::Ports;
use crate::hosts::{ContainerSpec, Engine, EngineError, EngineErrorReason, NextStep};

/// Docker does not always tell which of the two happened.
const NOT_STARTED_ERROR: &str = "The agent's container could not be started, or ended at once";
/// With less time left no pull is begun.
const MIN_PULL_TIME: Duration = Duration::from_secs(5);
/// How long a pull takes at most where no function's end limits it.
const MAX_PULL_TIME: Duration = Duration::from_hours(1);
/// How long a start waits for a newer version of the default image than its host has. The upkeep of hosts pulls it, too, but no
/// image that owners chose.
const MAX_WAIT_FOR_NEWER_DEFAULT: Duration = Duration::from_mins(2);
/// Asking a registry for its version, and what lies between the pull and the creation of the container.
const PULL_RESERVE: Duration = Duration::from_secs(30);
/// What creating and starting a container takes, with the attempts that are repeated.
const START_TIME: Duration = Duration::from_secs(30);
/// How many pairs of ports are tried. A process that is in no row can hold ports of the host.
const MAX_PORT_ATTEMPTS: usize = 5;
/// How many containers are created when Docker refuses to start them. Docker refuses a container that ends while it
/// is being started. On a busy machine it was also seen to refuse a good container without a reason.
const MAX_REFUSED_ATTEMPTS: usize = 3;
const IO_WEIGHT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pauses before a refused start of the same container is repeated.
const START_RETRY_AFTER: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(750)];

pub(super) struct LaunchedContainer {
    /// Docker's id.
    pub(super) id: String,
    pub(super) ports: Ports,
    /// `None` if the image came from no registry.
    pub(super) image_digest: Option<String>,
}

/// Launches the agent up to the point where only its row has to say that it runs.
pub(super) async fn launch(
    context: &mut JobContext<'_>,
    slot: &HostSlot,
    spec: &LaunchSpec<'_>,
) -> Result<LaunchedContainer, StepError> {
    let image_digest = pull(context, &slot.host, &spec.image).await?;
    // Before the container is created, which creates a missing volume. If the volume is lost, the backups are all that
    // is left of the agent's state.
    let has_data = spec.copy_source.is_some() || has_data(context, slot, spec).await?;
    let restores_backup = spec.restores_backup || !has_data;
    require_time_to_start(context)?;
    let container = create_and_start(context, slot, spec, image_digest).await?;
    wait_until_healthy(context, &slot.host, &container.id, container.ports.web).await?;
    if restores_backup {
        restore_backup(context, &slot.host, container.ports.bridge).await?;
    }
    Ok(container)
}

/// From the creation of the container to the end of the job in one go: a container that the function's end leaves half-way
/// would run unnoticed.
fn require_time_to_start(context: &JobContext<'_>) -> Result<(), StepError> {
    context.require_time(time_to_start(context))
}

fn time_to_start(context: &JobContext<'_>) -> Duration {
    START_TIME + context.hosts.health_within + agent_state::TIMEOUT
}

/// How long a pull may take if this much time is needed after it.
fn pull_time(context: &JobContext<'_>, needed: Duration) -> Option<Duration> {
    let left = context.time_left().unwrap_or(MAX_PULL_TIME);
    let time = left.checked_sub(needed)?;
    (time >= MIN_PULL_TIME).then_some(time)
}

/// How much of the time a start waits for a newer version of an image.
fn time_for_newer(time: Option<Duration>, is_default: bool) -> Option<Duration> {
    let max = if is_default {
        MAX_WAIT_FOR_NEWER_DEFAULT
    } else {
        Duration::MAX
    };
    time.map(|time| time.min(max))
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

/// Returns the digest of the image.
async fn pull(
    context: &mut JobContext<'_>,
    host: &Host,
    image: &str,
) -> Result<Option<String>, StepError> {
    context.start_step(StepName::Pull).await?;
    let registries = context.hosts.registries.as_ref();
    let is_default = image == context.hosts.images.default;
    let time_before_start = pull_time(context, PULL_RESERVE + time_to_start(context));
    let time = PullTime {
        // All the time that is left: the next attempt starts the agent.
        missing: pull_time(context, Duration::ZERO),
        // Without the time for a pull, the version that the host has will do.
        newer: time_for_newer(time_before_start, is_default),
    };
    let ensure = ensure_image(&host.engine, registries, image, time);
    let digest = context.with_heartbeat(ensure).await??;
    context.finish_step(StepName::Pull).await?;
    Ok(digest)
}

/// Pulls an image that was on the host a moment ago. Returns its digest.
async fn pull_again(
    context: &JobContext<'_>,
    host: &Host,
    image: &str,
) -> Result<Option<String>, StepError> {
    let time = pull_time(context, Duration::ZERO).ok_or(StepError::OutOfTime)?;
    let registries = context.hosts.registries.as_ref();
    let pull = pull_image(&host.engine, registries, image, time);
    Ok(context.with_heartbeat(pull).await??)
}

/// Creates the container, copies the agent's volume if it is moved, and starts the container, if necessary with other ports.
async fn create_and_start(
    context: &mut JobContext<'_>,
    slot: &HostSlot,
    spec: &LaunchSpec<'_>,
    mut image_digest: Option<String>,
) -> Result<LaunchedContainer, StepError> {
    context.start_step(StepName::Create).await?;
    let engine = &slot.host.engine;
    let environment = spec.environment(context).await?;
    if slot.is_new_host && cleanup::find_container(context, engine).await?.is_none() {
        remove_older_volume(context, slot).await?;
    }
    let mut copy_source = spec.copy_source;
    let mut ports = slot.ports;
    let mut tried_ports = Vec::new();
    loop {
        let container = spec.container(context, slot, &environment, ports);
        let id = create(context, slot, &container, &mut image_digest).await?;
        context.finish_step(StepName::Create).await?;
        if let Some(source) = copy_source.take() {
            let to = CopyTarget {
                engine,
                container: &id,
                image: &spec.image,
            };
            let reserve = time_to_start(context);
            volume_copy::copy(context, source, to, reserve).await?;
        }
        record_start(context).await?;
        let Err(error) = start(slot, &id).await else {
            lower_io_weight(context, slot, &id).await;
            context.finish_step(StepName::Start).await?;
            return Ok(LaunchedContainer {
                id,
                ports,
                image_digest,
            });
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
        cleanup::remove_volume(&slot.host.engine, context.agent_id).await?;
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

/// An agent runs without the weight, too: then its disk accesses delay those of the host as much as the other way round.
async fn lower_io_weight(context: &JobContext<'_>, slot: &HostSlot, id: &str) {
    let lower = async {
        slot.host.engine.lower_io_weight(id).await?;
        let is_low = slot.host.connection.has_low_io_weight(id).await?;
        Ok::<bool, EngineError>(is_low)
    };
    if !matches!(timeout(IO_WEIGHT_TIMEOUT, lower).await, Ok(Ok(true))) {
        warn!(
            agent.id = %context.agent_id, node.id = slot.host.node.node_id,
            "host {} has no weights for disk accesses; those of agent {} count as much as its own",
            slot.host.node.node_id, context.agent_id
        );
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
/// the agent that has the name is removed, once each. Returns Docker's id.
async fn create(
    context: &JobContext<'_>,
    slot: &HostSlot,
    spec: &ContainerSpec,
    image_digest: &mut Option<String>,
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
                *image_digest = pull_again(context, &slot.host, &spec.image).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f69_a_start_waits_two_minutes_for_a_newer_default_image_alone() {
        let minutes = Duration::from_mins;
        for (time, is_default, expected) in [
            (Some(minutes(9)), true, Some(minutes(2))),
            (Some(minutes(1)), true, Some(minutes(1))),
            (Some(minutes(9)), false, Some(minutes(9))),
            (None, true, None),
        ] {
            assert_eq!(
                time_for_newer(time, is_default),
                expected,
                "{time:?} {is_default}"
            );
        }
    }
}
