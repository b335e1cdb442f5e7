//! Moving agents to other hosts, one at an operator's request or all of a host that is drained. Owns: the next step of
//! each move. Does not own: the jobs that carry the steps out (`app::job::run`).
//!
//! ```text
//! move -> stop job (snapshot, then stop) -> start job, on any host but the one that was left, with its volume -> moved
//!          |                                |-> refused: its data cannot be copied in time; it is started where it was
//!          |                                `-> not moved: five starts have failed; the agent is in error
//!          |-> not moved: no start would be admitted; the agent keeps running
//!          `-> waits: no other host has a free slot; or not moved, if some hosts hold older state of the agent
//! ```
//!
//! Every minute the sweep takes one step of each open move, as the agent's row says which. A step that was taken is not
//! taken twice: the row and the agent's jobs are read under the agent's lock.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tracing::{info, warn};

use super::stop_request::StopDeps;
use crate::app::billing::gate;
use crate::app::error::RequestError;
use crate::app::publish::publish_due_jobs;
use crate::db;
use crate::db::agents::lifecycle::LockedAgent;
use crate::db::agents::moves::{MoveAgain, OpenMove};
use crate::db::agents::placement::RuntimeRecord;
use crate::db::jobs::queue::{StartJob, StopJob};
use crate::db::requests::audit_log::AuditEntry;
use crate::db::requests::outbox::NewEvents;
use crate::db::{Connection, Database};
use crate::domain::agent::{AgentStatus, BillingStatus, StatusConflict, StopReason};
use crate::domain::credit_gate::Clearance;
use crate::domain::ids::{AgentId, AgentRef, JobId, UserId};
use crate::domain::job::{DueJob, JobClass, JobKind};
use crate::domain::mail::MailTemplate;
use crate::domain::timestamp::Timestamp;
use crate::domain::withdrawal::{
    MAX_MOVE_STARTS, MOVE_NOT_STARTED, RETURN_NOT_STARTED, WithdrawalKind, move_start_delay,
};

/// When a move that failed is attempted again.
const RETRY_AFTER: TimeDelta = TimeDelta::minutes(15);
/// No drain and no move is continued later in a sweep: its function ends after a minute, and it has other duties.
pub(super) const SWEEP_TIME: Duration = Duration::from_secs(10);
const NO_OTHER_SLOT: &str = "No other host has a free slot";

/// A move that was accepted.
#[derive(Clone, Debug)]
pub struct AcceptedMove {
    pub from_node: String,
    /// The job that stops the agent.
    pub job_id: JobId,
}

/// Begins to move an agent that runs to another host.
///
/// # Errors
/// [`RequestError::NotFound`]; [`RequestError::StatusConflict`] if the agent does not run, if a job works on it, if it could
/// not be started again, or if no other host has room.
pub async fn agent_move(
    deps: StopDeps<'_>,
    admin_id: UserId,
    agent_id: AgentId,
) -> Result<AcceptedMove, RequestError> {
    let mut tx = deps.pool.begin().await?;
    let found = db::agents::operator::agent_of_any_organization(&mut tx, agent_id).await?;
    let organization_id = found.ok_or(RequestError::AGENT_NOT_FOUND)?.organization_id;
    let agent = AgentRef {
        organization_id,
        agent_id,
    };
    db::identity::organizations::organizations_lock(&mut tx, &[organization_id]).await?;
    let row = db::agents::lifecycle::agent_lock(&mut tx, agent)
        .await?
        .ok_or(RequestError::AGENT_NOT_FOUND)?;
    let record = db::agents::placement::runtime_record_find(&mut tx, agent)
        .await?
        .ok_or(RequestError::AGENT_NOT_FOUND)?;
    let jobs = db::jobs::queue::jobs_active(&mut tx, agent).await?;
    let from_node = match &record.node_id {
        Some(node_id) if row.status == AgentStatus::Running && !row.stop_requested => node_id,
        _ => return Err(StatusConflict("Agent is not running").into()),
    };
    let restart = db::agents::image_restarts::restart_find(&mut tx, agent).await?;
    if !jobs.is_empty() || restart.is_some() {
        return Err(StatusConflict("A job is under way for this agent").into());
    }
    gate::ask_for_move(&mut tx, agent, row.billing).await?;
    let left = &record.left_nodes;
    if !db::hosts::withdrawals::other_host_has_slot(&mut tx, from_node, left).await? {
        return Err(StatusConflict(NO_OTHER_SLOT).into());
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    db::agents::moves::move_begin(&mut tx, agent, from_node, admin_id, now).await?;
    let job_id = enqueue_stop(&mut tx, agent, &row, now).await?;
    let job_id = job_id.ok_or(StatusConflict("A job is under way for this agent"))?;
    let action = AuditEntry {
        user_id: admin_id,
        action: "agent.move",
        subject: &agent_id.to_string(),
        details: json!({"organizationId": organization_id, "fromNode": from_node}),
        result: "accepted",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    tx.commit().await?;
    // If the event is not accepted, the sweep announces the job.
    let due = DueJob {
        id: job_id,
        lane: JobClass::Stop,
    };
    publish_due_jobs(deps.publisher, &[due]).await;
    Ok(AcceptedMove {
        from_node: from_node.clone(),
        job_id,
    })
}

/// Enqueues the stop with which a move or a restart begins: the state is saved first, and the agent is started again.
pub(super) async fn enqueue_stop(
    conn: &mut Connection,
    agent: AgentRef,
    row: &LockedAgent,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<JobId>> {
    let stop = StopJob {
        organization_id: agent.organization_id,
        user_id: row.user_id,
        agent_id: agent.agent_id,
        agent_name: row.name.clone(),
        reason: "drain",
    };
    db::jobs::queue::stop_enqueue(conn, JobKind::Suspend, &stop, now).await
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoveReport {
    /// Moves that drains began.
    pub begun: usize,
    /// Stops and starts that were enqueued.
    pub enqueued: usize,
    /// Moves that ended.
    pub ended: usize,
}

/// Takes the next step of each drain and of each open move. Until an existing deployment is adopted, nothing is moved. A
/// move that fails does not keep the others from going on.
///
/// # Errors
/// The first error of the database, after every drain and move was attempted.
pub async fn moves_continue(pool: &Database) -> sqlx::Result<MoveReport> {
    let mut conn = pool.statements();
    if db::clock::readiness(&mut conn).await?.adoption_required {
        return Ok(MoveReport::default());
    }
    db::agents::moves::moves_forget_of_any_organization(&mut conn).await?;
    db::agents::moves::moves_transfer_of_any_organization(&mut conn).await?;
    let drains = db::hosts::withdrawals::withdrawn_hosts(&mut conn, WithdrawalKind::Drain).await?;
    drop(conn);
    let mut report = MoveReport::default();
    let mut first_error = None;
    let started = Instant::now();
    for node_id in &drains {
        if started.elapsed() > SWEEP_TIME {
            break;
        }
        match continue_drain(pool, node_id).await {
            Ok(begun) => report.begun += begun,
            Err(error) => note(&mut first_error, error, "a drain was not continued"),
        }
    }
    let mut conn = pool.statements();
    let agents = db::agents::moves::moves_open_of_any_organization(&mut conn).await?;
    drop(conn);
    for agent in agents {
        if started.elapsed() > SWEEP_TIME {
            warn!("not every move was continued; the next sweep goes on");
            break;
        }
        match continue_move(pool, agent).await {
            Ok(Some(MoveStep::Enqueued)) => report.enqueued += 1,
            Ok(Some(MoveStep::Ended)) => report.ended += 1,
            Ok(None) => {}
            Err(error) => note(&mut first_error, error, "a move was not continued"),
        }
    }
    first_error.map_or(Ok(report), Err)
}

pub(super) fn note(first_error: &mut Option<sqlx::Error>, error: sqlx::Error, event: &'static str) {
    warn!(
        error = db::error_class(&error),
        "{event}; the next sweep repeats it"
    );
    first_error.get_or_insert(error);
}

/// Begins moves of a host's agents, as many as may be under way, and records when the host is empty. Returns how many.
async fn continue_drain(pool: &Database, node_id: &str) -> sqlx::Result<usize> {
    let mut tx = pool.begin().await?;
    // Another sweep at the same moment waits, and then counts the moves that this one has begun.
    db::hosts::registry::host_lock(&mut tx, node_id).await?;
    let withdrawal = db::hosts::withdrawals::withdrawal_find(&mut tx, node_id).await?;
    let Some(drain) = withdrawal.filter(|found| found.is_drain() && found.done_at.is_none()) else {
        return Ok(0);
    };
    let now = db::clock::billing_clock(&mut tx).await?;
    let since = drain.requested_at;
    let moves = db::agents::moves::moves_count_of_any_organization(&mut tx, node_id, since).await?;
    let usage = db::hosts::registry::host_usage_of_any_organization(&mut tx, node_id).await?;
    if usage.active == 0 && moves.open == 0 {
        let kind = WithdrawalKind::Drain;
        db::hosts::withdrawals::withdrawal_finish(&mut tx, node_id, kind, now).await?;
        tx.commit().await?;
        info!(node.id = node_id, "host {node_id} is drained");
        return Ok(0);
    }
    let free = i64::from(drain.moves_at_once) - moves.open;
    if free <= 0 {
        return Ok(0);
    }
    let again = MoveAgain {
        failed_before: now - RETRY_AFTER,
        since,
    };
    let agents =
        db::agents::moves::agents_to_move_of_any_organization(&mut tx, node_id, again, free)
            .await?;
    let admin_id = drain.requested_by;
    for agent in &agents {
        db::agents::moves::move_begin(&mut tx, *agent, node_id, admin_id, now).await?;
    }
    tx.commit().await?;
    Ok(agents.len())
}

/// What was done for a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MoveStep {
    Enqueued,
    Ended,
}

/// Takes the next step of a move; `None` if there is none now.
async fn continue_move(pool: &Database, agent: AgentRef) -> sqlx::Result<Option<MoveStep>> {
    let mut tx = pool.begin().await?;
    db::identity::organizations::organizations_lock(&mut tx, &[agent.organization_id]).await?;
    let row = db::agents::lifecycle::agent_lock(&mut tx, agent).await?;
    let record = db::agents::placement::runtime_record_find(&mut tx, agent).await?;
    let open = db::agents::moves::move_find(&mut tx, agent).await?;
    let jobs = db::jobs::queue::jobs_active(&mut tx, agent).await?;
    let (Some(row), Some(record), Some(open)) = (row, record, open) else {
        return Ok(None);
    };
    if !jobs.is_empty() {
        return Ok(None);
    }
    let now = db::clock::billing_clock(&mut tx).await?;
    let step = match decide(&row, &record, &open, now) {
        Decision::Nothing => return Ok(None),
        Decision::End(error) => {
            end(&mut tx, agent, &row, &open, error.as_deref(), now).await?;
            Some(MoveStep::Ended)
        }
        Decision::Stop => stop(&mut tx, agent, &row, &record, &open, now).await?,
        Decision::Start => start(&mut tx, agent, &row, &open, now).await?,
    };
    tx.commit().await?;
    Ok(step)
}

enum Decision {
    /// It is not time for the next step.
    Nothing,
    Stop,
    Start,
    /// The move has ended; with a reason if the agent was not moved.
    End(Option<String>),
}

/// The agent has no active job.
fn decide(
    row: &LockedAgent,
    record: &RuntimeRecord,
    open: &OpenMove,
    now: DateTime<Utc>,
) -> Decision {
    let is_there = record.node_id.as_ref() == Some(&open.from_node);
    let not_moved = |reason: &str| Decision::End(Some(reason.to_owned()));
    match row.status {
        AgentStatus::Running if !is_there => Decision::End(None),
        AgentStatus::Running if row.stop_requested => Decision::Nothing,
        AgentStatus::Running if open.refusal.is_some() => Decision::End(open.refusal.clone()),
        AgentStatus::Running => Decision::Stop,
        // The sweep removes what a failed start left. Until then the row cannot be set back to the host that was left.
        AgentStatus::Error if record.container_name.is_some() && record.node_id.is_some() => {
            Decision::Nothing
        }
        // A directory of the host is not copied.
        AgentStatus::Stopped | AgentStatus::Error
            if is_there && record.has_unsaved_state && record.data_bind.is_some() =>
        {
            not_moved("The agent's only state is on its host")
        }
        AgentStatus::Stopped if row.stop_reason != Some(StopReason::Drain) => {
            not_moved("The agent was stopped meanwhile")
        }
        // In error, a start of the move has failed.
        AgentStatus::Stopped | AgentStatus::Error if open.starts >= MAX_MOVE_STARTS => {
            not_moved(if open.refusal.is_some() {
                RETURN_NOT_STARTED
            } else {
                MOVE_NOT_STARTED
            })
        }
        AgentStatus::Stopped | AgentStatus::Error if open.start_due_at <= now => Decision::Start,
        AgentStatus::Pending => not_moved("The agent was stopped meanwhile"),
        _ => Decision::Nothing,
    }
}

/// Ends a move; with an error if the agent was not moved.
async fn end(
    conn: &mut Connection,
    agent: AgentRef,
    row: &LockedAgent,
    open: &OpenMove,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    db::agents::moves::move_end(conn, agent, error, now).await?;
    if error.is_some() {
        set_back(conn, agent, open, now).await?;
    }
    leave_stopped(conn, agent, row, error, now).await
}

/// An attempt whose worker was killed has recorded another host, to which nothing is copied: what the agent has is where the
/// move began.
async fn set_back(
    conn: &mut Connection,
    agent: AgentRef,
    open: &OpenMove,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let record = db::agents::placement::runtime_record_find(conn, agent).await?;
    let is_elsewhere = record.is_some_and(|record| {
        let has_left = record.former_nodes.contains(&open.from_node);
        let node_id = record.node_id.as_ref();
        has_left
            && node_id
                .is_some_and(|node_id| *node_id != open.from_node && !record.has_state_on(node_id))
    });
    if is_elsewhere
        && !db::agents::placement::placement_return(conn, agent, &open.from_node, now).await?
    {
        warn!(
            agent.id = %agent.agent_id, node.id = open.from_node,
            "agent {} is not set back to host {}, which has its data, because its row names a container",
            agent.agent_id, open.from_node
        );
    }
    Ok(())
}

/// An agent that stands still when its move or restart ends would be forgotten, because nothing else starts what these have
/// stopped: if it is in debt, a top-up starts it from now on; else its owner reads that an operator has stopped it. The owner
/// of an agent that is in error gets a mail.
pub(super) async fn leave_stopped(
    conn: &mut Connection,
    agent: AgentRef,
    row: &LockedAgent,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if row.status == AgentStatus::Stopped && row.stop_reason == Some(StopReason::Drain) {
        let reason = if row.billing == Some(BillingStatus::Suspended) {
            StopReason::Billing
        } else {
            StopReason::Operator
        };
        db::agents::lifecycle::agent_stop_reason_set(conn, agent, reason.into(), now).await?;
    }
    match error {
        Some(error) if row.status == AgentStatus::Error => {
            warn!(agent.id = %agent.agent_id, error, "agent {} is not started again", agent.agent_id);
            tell_owner(conn, agent, row, error, now).await
        }
        _ => Ok(()),
    }
}

async fn tell_owner(
    conn: &mut Connection,
    agent: AgentRef,
    row: &LockedAgent,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let kind = MailTemplate::StartFailed.as_str();
    let event = NewEvents {
        keys: vec![format!("{kind}:{}:{}", agent.agent_id, Timestamp(now))],
        types: vec![kind.to_owned()],
        organization_ids: vec![agent.organization_id],
        payloads: vec![json!({
            "agents": [{"id": agent.agent_id, "name": row.name}], "agentCount": 1, "reason": reason,
        })],
    };
    db::requests::outbox::outbox_append(conn, &event, now).await
}

/// Asks the gate for the start that completes the move or the restart. The inner error says why it is refused.
pub(super) async fn ask_gate(
    conn: &mut Connection,
    agent: AgentRef,
    row: &LockedAgent,
) -> sqlx::Result<Result<Clearance, RequestError>> {
    match gate::ask_for_move(conn, agent, row.billing).await {
        Err(RequestError::Database(error)) => Err(error),
        answer => Ok(answer),
    }
}

/// Enqueues the stop, unless the agent could not be started anywhere else: then it keeps running until it can. If no start
/// would be admitted, the move ends. It also ends if the agent has state on further hosts, because it may never find a slot:
/// a drain has only so many open moves, and others could be moved instead.
async fn stop(
    conn: &mut Connection,
    agent: AgentRef,
    row: &LockedAgent,
    record: &RuntimeRecord,
    open: &OpenMove,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<MoveStep>> {
    if let Err(refusal) = ask_gate(conn, agent, row).await? {
        end(conn, agent, row, open, Some(&refusal.to_string()), now).await?;
        return Ok(Some(MoveStep::Ended));
    }
    let left = &record.left_nodes;
    if !db::hosts::withdrawals::other_host_has_slot(conn, &open.from_node, left).await? {
        if !left.is_empty() {
            end(conn, agent, row, open, Some(NO_OTHER_SLOT), now).await?;
            return Ok(Some(MoveStep::Ended));
        }
        db::agents::moves::move_wait(conn, agent, Some(NO_OTHER_SLOT)).await?;
        return Ok(None);
    }
    db::agents::moves::move_wait(conn, agent, None).await?;
    let job_id = enqueue_stop(conn, agent, row, now).await?;
    Ok(job_id.map(|_| MoveStep::Enqueued))
}

/// Enqueues the start on another host, or where the agent was if its move was refused.
async fn start(
    conn: &mut Connection,
    agent: AgentRef,
    row: &LockedAgent,
    open: &OpenMove,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<MoveStep>> {
    let clearance = match ask_gate(conn, agent, row).await? {
        Ok(clearance) => clearance,
        Err(refusal) => {
            end(conn, agent, row, open, Some(&refusal.to_string()), now).await?;
            return Ok(Some(MoveStep::Ended));
        }
    };
    let job_id = enqueue_start(conn, &clearance, row, now).await?;
    let again_at = now + move_start_delay(open.starts + 1);
    db::agents::moves::move_started(conn, agent, again_at).await?;
    Ok(job_id.map(|_| MoveStep::Enqueued))
}

/// Enqueues the start with which a move or a restart ends.
pub(super) async fn enqueue_start(
    conn: &mut Connection,
    clearance: &Clearance,
    row: &LockedAgent,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<JobId>> {
    let new = StartJob {
        kind: JobKind::Provision,
        user_id: row.user_id,
        agent_name: row.name.as_deref(),
        backup_id: None,
        webhook_url: None,
    };
    db::jobs::queue::start_enqueue(conn, clearance, &new, now).await
}
