//! What the kinds of jobs that start an agent share. Owns: that the credit gate is asked again, the order of the steps
//! of a launch, each of which is recorded and can be repeated, and that a failed start leaves nothing behind.
//!
//! ```text
//! credit -> (cleanup) -> database -> place -> pull -> create -> (copy) -> start -> health -> (restore) -> running
//! ```

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tracing::{info, warn};

use super::context::JobContext;
use super::error::StepError;
use super::launch::{self, LaunchedContainer};
use super::launch_spec::LaunchSpec;
use super::placement::{self, HostChoice, HostSlot};
use super::volume_copy::{self, CopySource};
use super::{cleanup, database};
use crate::app::billing::gate;
use crate::app::error::RequestError;
use crate::db;
use crate::db::agents::image_restarts::OpenRestart;
use crate::db::agents::lifecycle::StatusChange;
use crate::db::agents::placement::{RuntimeRecord, StartedContainer};
use crate::db::jobs::queue::SUPERSEDED_BY_A_STOP;
use crate::db::jobs::worker::FenceState;
use crate::db::{Connection, Transaction};
use crate::domain::agent::{AgentEvent, AgentStatus, BillingStatus};
use crate::domain::container;
use crate::domain::fleet::ContainerObservation;
use crate::domain::image::at_digest;
use crate::domain::job::{JobFailure, StepName};

pub(super) const STEPS: &[StepName] = &[
    StepName::Credit,
    StepName::Cleanup,
    StepName::Database,
    StepName::Place,
    StepName::Pull,
    StepName::Create,
    StepName::Copy,
    StepName::Start,
    StepName::Health,
    StepName::Restore,
    StepName::MarkRunning,
];

const AGENT_NOT_FOUND: JobFailure = JobFailure::StatusConflict("Agent not found");

/// The beginning of a start job: a transaction that holds the locks of the organization and the agent.
pub(super) struct StartTransaction {
    tx: Transaction,
    status: AgentStatus,
    billing: Option<BillingStatus>,
    record: Box<RuntimeRecord>,
    now: DateTime<Utc>,
}

impl StartTransaction {
    /// Fails if a stop job is active.
    pub(super) async fn begin(context: &JobContext<'_>) -> Result<Self, StepError> {
        let agent = context.agent();
        let mut tx = context.pool.begin().await?;
        db::identity::organizations::organizations_lock(&mut tx, &[agent.organization_id]).await?;
        let locked = db::agents::lifecycle::agent_lock(&mut tx, agent).await?;
        let locked = locked.ok_or(AGENT_NOT_FOUND)?;
        let record = db::agents::placement::runtime_record_find(&mut tx, agent).await?;
        let record = Box::new(record.ok_or(AGENT_NOT_FOUND)?);
        let now = db::clock::billing_clock(&mut tx).await?;
        let jobs = db::jobs::queue::jobs_active(&mut tx, agent).await?;
        if jobs.iter().any(|job| !job.kind.is_start()) {
            return Err(JobFailure::StatusConflict(SUPERSEDED_BY_A_STOP).into());
        }
        Ok(Self {
            tx,
            status: locked.status,
            billing: locked.billing,
            record,
            now,
        })
    }

    pub(super) fn is_running(&self) -> bool {
        self.status == AgentStatus::Running
    }

    /// Completes the job of an agent that runs and needs nothing.
    pub(super) async fn complete(mut self, context: &JobContext<'_>) -> Result<(), StepError> {
        context
            .complete(&mut self.tx, AgentStatus::Running, Map::new(), self.now)
            .await?;
        self.tx.commit().await?;
        Ok(())
    }

    /// Asks the credit gate again, because the credit may have been spent since the request, and marks an agent that
    /// does not run as being started. Returns the agent's record from before.
    pub(super) async fn pass_gate(
        mut self,
        context: &mut JobContext<'_>,
    ) -> Result<Box<RuntimeRecord>, StepError> {
        let agent = context.agent();
        let is_moving = db::agents::moves::move_find(&mut self.tx, agent).await?;
        let is_restarting = db::agents::image_restarts::restart_find(&mut self.tx, agent).await?;
        let clearance = if is_moving.is_some() || is_restarting.is_some() {
            gate::ask_for_move(&mut self.tx, agent, self.billing).await
        } else {
            gate::ask(&mut self.tx, context.prices, agent).await
        };
        clearance.map_err(gate_error)?;
        if !self.is_running() {
            let change = StatusChange {
                from: self.status,
                to: self.status.after(AgentEvent::StartBegun)?,
            };
            db::agents::lifecycle::agent_change_status(&mut self.tx, agent, change, None, self.now)
                .await?;
        }
        context
            .finish_step_in(&mut self.tx, StepName::Credit, self.now)
            .await?;
        self.tx.commit().await?;
        Ok(self.record)
    }
}

fn gate_error(error: RequestError) -> StepError {
    match error {
        RequestError::Credit(refusal) => JobFailure::Credit(refusal.to_string()).into(),
        RequestError::StatusConflict(conflict) => conflict.into(),
        RequestError::Database(error) => error.into(),
        _ => AGENT_NOT_FOUND.into(),
    }
}

/// When a launch restores a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RestoreBackup {
    /// The owner requested it.
    Always,
    /// Only if the agent's volume is not on the host: where it is, it is at least as new as every backup.
    UnlessVolumeIsThere,
}

/// Launches an agent that passed the credit gate.
pub(super) async fn launch_agent(
    context: &mut JobContext<'_>,
    mut record: Box<RuntimeRecord>,
    restore: RestoreBackup,
) -> Result<(), StepError> {
    let ChosenImage { image, digest } = choose_image(context, &record).await?;
    record.has_unsaved_state |= cleanup::remove_previous_container(context, &record).await?;
    let database_uri = database::ensure(context, &record).await?;
    let is_restore = restore == RestoreBackup::Always;
    let last_node = record.node_id.clone();
    let copy_source = if is_restore {
        None
    } else {
        Box::pin(volume_copy::find_source(context, &mut record)).await?
    };
    let choice = HostChoice {
        may_leave_volume: is_restore || copy_source.is_some(),
        preferred: last_node.as_deref(),
    };
    let slot = Box::pin(placement::take_slot(context, &record, choice)).await?;
    let spec = LaunchSpec {
        image,
        image_digest: digest,
        database_uri,
        restores_backup: is_restore,
        copy_source: copy_source.as_ref(),
        record: &record,
    };
    let launched = Box::pin(launch_and_record(context, &slot, &spec)).await;
    // Whatever the reason: the next attempt must find where the agent's state is, and there may be none.
    if let Err(error) = &launched {
        record_failed_start(context, &slot, error).await;
        roll_back(context, &slot, &record, error).await;
    }
    launched
}

struct ChosenImage {
    image: String,
    /// The version, if it is known although the reference does not name it.
    digest: Option<String>,
}

/// The image of an agent: what its row names, or the default. A roll-out says which version of the default, or that the
/// agent goes back to what it ran before.
async fn choose_image(
    context: &JobContext<'_>,
    record: &RuntimeRecord,
) -> Result<ChosenImage, StepError> {
    let images = &context.hosts.images;
    let image = images.choose(record.docker_image.as_deref());
    let image =
        image.ok_or_else(|| JobFailure::Refused("The agent's image is not allowed".to_owned()))?;
    let mut chosen = ChosenImage {
        image: image.to_owned(),
        digest: None,
    };
    if image != images.default {
        return Ok(chosen);
    }
    let mut conn = context.pool.statements();
    let restart = db::agents::image_restarts::restart_find(&mut conn, context.agent()).await?;
    match restart {
        Some(OpenRestart {
            has_failed: true,
            previous_image: Some(previous),
            previous_digest,
            ..
        }) => {
            chosen.image = previous;
            chosen.digest = previous_digest;
        }
        Some(restart) => {
            if let Some(version) = at_digest(&restart.image, &restart.digest) {
                chosen.image = version;
            }
        }
        None => {}
    }
    Ok(chosen)
}

/// What the owner has to know of an agent whose state was not on the host that it was started on.
fn move_notice(
    slot: &HostSlot,
    before: &RuntimeRecord,
    copy_source: Option<&CopySource>,
) -> Option<&'static str> {
    if copy_source.is_some() {
        return Some(
            "The agent was moved to another host with all its data. Its old volume stays on the former host until the agent \
            is deleted",
        );
    }
    if before.has_state_on(&slot.host.node.node_id) {
        return None;
    }
    if before.has_unsaved_state || !before.left_nodes.is_empty() {
        return Some(
            "The agent was started on another host, from its newest backup if it has one. What no backup holds is left \
            in its volume on the former host, until the agent is deleted",
        );
    }
    let has_moved = before.has_state();
    has_moved.then_some("The agent was started on another host, from its newest backup")
}

async fn launch_and_record(
    context: &mut JobContext<'_>,
    slot: &HostSlot,
    spec: &LaunchSpec<'_>,
) -> Result<(), StepError> {
    let container = launch::launch(context, slot, spec).await?;
    let agent = context.agent();
    let mut tx = context.pool.begin().await?;
    let locked = db::agents::lifecycle::agent_lock(&mut tx, agent).await?;
    let locked = locked.ok_or(StepError::Lost)?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let to = locked.status.after(AgentEvent::StartFinished)?;
    let change = StatusChange {
        from: locked.status,
        to,
    };
    if !db::agents::lifecycle::agent_change_status(&mut tx, agent, change, None, now).await? {
        return Err(StepError::Lost);
    }
    record_container(&mut tx, context, slot, spec, &container, now).await?;
    db::agents::moves::move_arrive(&mut tx, agent, &slot.host.node.node_id, now).await?;
    if let Some(source) = spec.copy_source {
        db::agents::placement::volume_copied(&mut tx, agent, source.node_id()).await?;
    }
    db::hosts::failed_starts::failed_starts_forgive_of_any_organization(
        &mut tx,
        &slot.host.node.node_id,
        now,
    )
    .await?;
    context
        .finish_step_in(&mut tx, StepName::MarkRunning, now)
        .await?;
    let mut details = Map::new();
    if let Some(notice) = move_notice(slot, spec.record, spec.copy_source) {
        let agent_id = context.agent_id;
        info!(
            agent.id = %agent_id, node.id = slot.host.node.node_id, former_node.id = spec.record.node_id,
            is_copied = spec.copy_source.is_some(), has_left_state = spec.record.has_unsaved_state,
            "agent {agent_id} is started on another host than before"
        );
        details.insert("notice".to_owned(), Value::from(notice));
    }
    context.complete(&mut tx, to, details, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Records the addresses at which the web proxy reaches the agent, and which version of its image it runs.
async fn record_container(
    conn: &mut Connection,
    context: &JobContext<'_>,
    slot: &HostSlot,
    spec: &LaunchSpec<'_>,
    container: &LaunchedContainer,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let hostname = &slot.host.node.hostname;
    // In a URL an IPv6 address stands in brackets.
    let hostname = if hostname.contains(':') {
        format!("[{hostname}]")
    } else {
        hostname.clone()
    };
    let bridge = format!("http://{hostname}:{}", container.ports.bridge);
    let web = format!("http://{hostname}:{}", container.ports.web);
    let agent = context.agent();
    let urls = StartedContainer {
        bridge_url: &bridge,
        health_url: &web,
        default_image: &context.hosts.images.default,
        image_digest: container
            .image_digest
            .as_deref()
            .or(spec.image_digest.as_deref()),
    };
    db::agents::placement::placement_record_urls(conn, agent, urls, now).await
}

/// Records on which host a start failed: the job's next attempt goes to another one, and a host that fails again and
/// again is set aside. If the database fails, nothing is known about the host.
async fn record_failed_start(context: &JobContext<'_>, slot: &HostSlot, error: &StepError) {
    let is_of_this_host = matches!(error, StepError::Failure(_)) && !error.is_former_hosts_fault();
    if !is_of_this_host || !error.is_retryable() {
        return;
    }
    let node_id = &slot.host.node.node_id;
    let is_hosts_fault = error.is_hosts_fault();
    let record = async {
        let mut conn = context.pool.statements();
        let now = db::clock::billing_clock(&mut conn).await?;
        db::hosts::failed_starts::failed_start_record(
            &mut conn,
            context.job.fence(),
            context.agent_id,
            node_id,
            is_hosts_fault,
            now,
        )
        .await
    };
    if let Err(error) = record.await {
        let error = db::error_class(&error);
        warn!(
            agent.id = %context.agent_id, job.id = %context.job.id, node.id = node_id, error,
            "failed start not recorded; the next attempt may go to the same host"
        );
    }
}

/// Removes what a failed start has created, as far as possible. What cannot be removed stays recorded, and the next
/// attempt begins with its cleanup.
async fn roll_back(
    context: &JobContext<'_>,
    slot: &HostSlot,
    before: &RuntimeRecord,
    start_error: &StepError,
) {
    let is_lost = matches!(start_error, StepError::Lost);
    if let Err(error) = try_roll_back(context, slot, before, is_lost).await {
        warn!(
            agent.id = %context.agent_id, job.id = %context.job.id, %error, cause = error.cause(),
            "rolling back a failed start of agent {} failed; the next attempt cleans up",
            context.agent_id
        );
    }
}

/// A worker that lost its job removes only the container that it created itself, and leaves the row to the worker that
/// has the job now. Nothing is removed if the start succeeded and only the answer to its commit was lost, or if that
/// cannot be known.
async fn try_roll_back(
    context: &JobContext<'_>,
    slot: &HostSlot,
    before: &RuntimeRecord,
    is_lost: bool,
) -> Result<(), StepError> {
    let fence = context.fence_state().await?;
    if fence == FenceState::Completed {
        info!(
            agent.id = %context.agent_id, job.id = %context.job.id,
            "the start of agent {} succeeded; only the answer to its commit was lost", context.agent_id
        );
        return Ok(());
    }
    let engine = &slot.host.engine;
    let name = container::name(context.agent_id);
    let is_from_this_attempt = |container: &ContainerObservation| {
        container.attempt == Some(context.job.attempt)
            && container.label == Some(context.agent_id.to_string())
    };
    let container = engine.find(&name).await?;
    if let Some(container) = container.filter(is_from_this_attempt) {
        engine.remove(&container.id).await?;
    }
    if is_lost || fence == FenceState::Lost {
        return Ok(());
    }
    if slot.is_new_host {
        // If this start created the volume, it holds no state from before.
        cleanup::remove_own_volume(context, engine).await?;
    }
    let agent = context.agent();
    let mut tx = context.pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    context.checkpoint(&mut tx, now).await?;
    if db::agents::placement::placement_clear(&mut tx, agent, now).await? {
        db::hosts::slots::slot_free(&mut tx, &slot.host.node.node_id).await?;
    }
    db::agents::placement::placement_revert(&mut tx, agent, before, now).await?;
    tx.commit().await?;
    Ok(())
}
