//! Copying the volume of an agent that is moved, between the creation of its new container and its start. Owns: that every
//! attempt begins with the volume that the agent has left, which a copy never changes, and that an agent whose volume cannot
//! be copied in time is started where it was.
//!
//! ```text
//! host that is left: volume <- container that never runs -> archive -> new container: volume
//! ```
//! A copy that breaks off is begun again by the next attempt, with an empty volume. A host that is lost is not read: then the
//! newest backup is restored.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tracing::{info, warn};

use super::cleanup;
use super::context::JobContext;
use super::error::StepError;
use crate::app::host_access::Host;
use crate::app::host_image::{PullTime, ensure_image};
use crate::db;
use crate::db::agents::placement::RuntimeRecord;
use crate::domain::container;
use crate::domain::fleet::HostReadError;
use crate::domain::job::{JobFailure, StepName, StepProgress};
use crate::domain::volume_copy::{CopyProgress, CopyVerdict, MAX_COPY_TIME, refusal_text};
use crate::hosts::{CopyError, CopyMeter, DataReader, Engine, EngineErrorReason, HostError};

/// How often it is checked whether the copy still fits the time.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How often the progress is recorded. It is the heartbeat of the job, too.
const RECORD_INTERVAL: Duration = Duration::from_secs(10);
/// A copy that does not go on for this long has failed.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);

const INCOMPLETE: &str = "The agent's data was not copied completely";

/// The volume of an agent that is moved.
pub(super) struct CopySource {
    host: Host,
    /// The size of the data; `None` if the host does not say it.
    size: Option<u64>,
}

impl CopySource {
    pub(super) fn node_id(&self) -> &str {
        &self.host.node.node_id
    }
}

/// The container that the data is copied to. It does not run yet.
pub(super) struct CopyTarget<'a> {
    pub(super) engine: &'a Engine,
    pub(super) container: &'a str,
    /// The image of the agent.
    pub(super) image: &'a str,
}

/// Finds the volume that is copied when the agent is started. `None` if the agent is not moved, if it returns to the host of
/// its volume, or if that host is lost or has no such volume.
///
/// Until the agent runs elsewhere, its state is on the host that it leaves. An attempt whose worker was killed has recorded
/// another host: `record` is set back.
pub(super) async fn find_source(
    context: &JobContext<'_>,
    record: &mut RuntimeRecord,
) -> Result<Option<CopySource>, StepError> {
    // A directory of the host that an older deployment mounted is not copied: such an agent is moved by its backup.
    if record.data_bind.is_some() {
        return Ok(None);
    }
    let agent = context.agent();
    let mut tx = context.pool.begin().await?;
    let locked = db::agents::lifecycle::agent_lock(&mut tx, agent).await?;
    locked.ok_or(StepError::Lost)?;
    let open = db::agents::moves::move_find(&mut tx, agent).await?;
    drop(tx);
    let Some(open) = open else {
        return Ok(None);
    };
    let is_set_back = record.node_id.as_ref() != Some(&open.from_node);
    let has_run_elsewhere = record
        .node_id
        .as_ref()
        .is_some_and(|node_id| record.has_state_on(node_id));
    if is_set_back && has_run_elsewhere {
        return Ok(None);
    }
    let Some(host) = cleanup::open_host(context, &open.from_node).await? else {
        return Ok(None);
    };
    let name = container::name(context.agent_id);
    if !host.engine.has_volume(&name).await? {
        warn!(
            agent.id = %agent.agent_id, node.id = open.from_node,
            "agent {} is moved without a copy of its volume, which is not on its host", agent.agent_id
        );
        return Ok(None);
    }
    // Left by an attempt whose worker was killed.
    host.engine
        .remove(&container::reader_name(agent.agent_id))
        .await?;
    if is_set_back || open.refusal.is_some() {
        let mut tx = context.pool.begin().await?;
        let locked = db::agents::lifecycle::agent_lock(&mut tx, agent).await?;
        locked.ok_or(StepError::Lost)?;
        let now = db::clock::billing_clock(&mut tx).await?;
        context.checkpoint(&mut tx, now).await?;
        if !db::agents::placement::placement_return(&mut tx, agent, &open.from_node, now).await? {
            return Err(StepError::Lost);
        }
        let current = db::agents::placement::runtime_record_find(&mut tx, agent).await?;
        tx.commit().await?;
        *record = current.ok_or(StepError::Lost)?;
    }
    if open.refusal.is_some() {
        return Ok(None);
    }
    let size = match context
        .with_heartbeat(host.engine.volume_size(&name))
        .await?
    {
        Ok(size) => size,
        Err(error) => {
            warn!(
                agent.id = %agent.agent_id, node.id = open.from_node, %error, cause = error.cause(),
                "the size of the volume of agent {} is not known; only the time limits its copy", agent.agent_id
            );
            None
        }
    };
    Ok(Some(CopySource { host, size }))
}

/// Copies the volume. `reserve`: how much time the rest of the start takes.
pub(super) async fn copy(
    context: &mut JobContext<'_>,
    source: &CopySource,
    target: CopyTarget<'_>,
    reserve: Duration,
) -> Result<(), StepError> {
    let time_left = context.time_left();
    let allowed = time_left.map_or(MAX_COPY_TIME, |left| left.saturating_sub(reserve));
    let allowed = allowed.min(MAX_COPY_TIME);
    context.start_step(StepName::Copy).await?;
    let started = Instant::now();
    let reader = create_reader(context, source, target.image, allowed).await?;
    let meter = Arc::new(CopyMeter::default());
    let copied = transfer(context, source, &reader, &target, &meter, allowed).await;
    // Also if the copy failed.
    if let Err(error) = source.host.engine.remove(&reader).await {
        warn!(
            agent.id = %context.agent_id, node.id = source.node_id(), %error, cause = error.cause(),
            "the container through which the volume of agent {} was read was not removed; it is removed with the volume",
            context.agent_id
        );
    }
    if let Err(StepError::CopyRefused(reason)) = &copied {
        refuse(context, reason).await?;
    }
    copied?;
    let bytes = meter.bytes();
    // An engine leaves out what it cannot read, without an error.
    if source.size.is_some_and(|size| bytes < size) {
        return Err(JobFailure::FormerHost(INCOMPLETE.to_owned()).into());
    }
    info!(
        agent.id = %context.agent_id, node.id = source.node_id(), bytes, duration = ?started.elapsed(),
        "the volume of agent {} was copied", context.agent_id
    );
    let progress = StepProgress {
        copied_bytes: bytes,
        total_bytes: source.size,
    };
    context.record_progress(StepName::Copy, progress).await?;
    context.finish_step(StepName::Copy).await
}

/// Creates the container through which the volume is read, and its image if a clean-up of the host took it. Returns Docker's
/// id.
async fn create_reader(
    context: &JobContext<'_>,
    source: &CopySource,
    image: &str,
    allowed: Duration,
) -> Result<String, StepError> {
    let engine = &source.host.engine;
    let agent_id = context.agent_id.to_string();
    let name = container::reader_name(context.agent_id);
    let volume = container::name(context.agent_id);
    let reader = DataReader {
        name: &name,
        image,
        volume: &volume,
        agent_id: &agent_id,
    };
    match engine.create_reader(reader).await {
        Err(error) if error.reason() == EngineErrorReason::ImageGone => {}
        created => return created.map_err(StepError::former_host),
    }
    let registries = context.hosts.registries.as_ref();
    let time = PullTime {
        missing: Some(allowed),
        newer: None,
    };
    let pull = ensure_image(engine, registries, image, time);
    let pulled = context.with_heartbeat(pull).await?;
    pulled.map_err(StepError::former_host)?;
    let created = engine.create_reader(reader).await;
    created.map_err(StepError::former_host)
}

/// Passes the data on until all of it is copied, or until it is seen that it cannot be copied in time.
async fn transfer(
    context: &mut JobContext<'_>,
    source: &CopySource,
    reader: &str,
    target: &CopyTarget<'_>,
    meter: &Arc<CopyMeter>,
    allowed: Duration,
) -> Result<(), StepError> {
    let from = &source.host.engine;
    let mut copy = pin!(from.copy_data(reader, target.engine, target.container, meter));
    let started = Instant::now();
    let (mut recorded_at, mut advanced_at) = (started, started);
    let mut copied = 0;
    loop {
        tokio::select! {
            ended = &mut copy => return ended.map_err(copy_error),
            () = sleep(CHECK_INTERVAL) => {}
        }
        if meter.bytes() > copied {
            copied = meter.bytes();
            advanced_at = Instant::now();
        } else if advanced_at.elapsed() >= STALL_TIMEOUT {
            let stalled = HostError::new(HostReadError::TimedOut);
            return Err(StepError::former_host(stalled));
        }
        let progress = CopyProgress {
            copied,
            size: source.size,
            elapsed: started.elapsed(),
        };
        match progress.judge(allowed) {
            CopyVerdict::GoesOn => {}
            CopyVerdict::NeedsMoreTime => return Err(StepError::OutOfTime),
            CopyVerdict::TooLong { needed } => {
                return Err(StepError::CopyRefused(refusal_text(source.size, needed)));
            }
        }
        if recorded_at.elapsed() >= RECORD_INTERVAL {
            recorded_at = Instant::now();
            let progress = StepProgress {
                copied_bytes: copied,
                total_bytes: source.size,
            };
            // The data goes on meanwhile: tasks of the connections carry it.
            context.record_progress(StepName::Copy, progress).await?;
        }
    }
}

fn copy_error(error: CopyError) -> StepError {
    match error {
        CopyError::Source(error) => StepError::former_host(error),
        CopyError::Target(error) => error.into(),
    }
}

/// Records that the agent stays on its host. The next attempt starts it there.
async fn refuse(context: &JobContext<'_>, reason: &str) -> Result<(), StepError> {
    let agent = context.agent();
    let mut tx = context.pool.begin().await?;
    let locked = db::agents::lifecycle::agent_lock(&mut tx, agent).await?;
    locked.ok_or(StepError::Lost)?;
    let now = db::clock::billing_clock(&mut tx).await?;
    context.checkpoint(&mut tx, now).await?;
    db::agents::moves::move_refuse(&mut tx, agent, reason).await?;
    tx.commit().await?;
    warn!(agent.id = %agent.agent_id, reason, "agent {} is not moved: {reason}", agent.agent_id);
    Ok(())
}
