//! Moving agents to other hosts, one at an operator's request or all of a host that is drained. Owns: the next step of
//! each move. Does not own: the jobs that carry the steps out (`app::job::run`).
//!
//! ```text
//! move -> stop job (snapshot, then stop) -> start job, on any host but the one that was left -> moved
//!          |-> not moved: the state cannot be saved, or no start would be admitted; the agent keeps running
//!          `-> waits: no other host has a free slot
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
use crate::db::agents::moves::OpenMove;
use crate::db::agents::placement::RuntimeRecord;
use crate::db::jobs::queue::{StartJob, StopJob};
use crate::db::requests::audit_log::AuditEntry;
use crate::db::{Connection, Database};
use crate::domain::agent::{AgentStatus, BillingStatus, StatusConflict, StopReason};
use crate::domain::credit_gate::Clearance;
use crate::domain::ids::{AgentId, AgentRef, JobId, UserId};
use crate::domain::job::{DueJob, JobClass, JobKind};
use crate::domain::withdrawal::WithdrawalKind;

/// When a start that failed, or a move that failed, is attempted again.
const RETRY_AFTER: TimeDelta = TimeDelta::minutes(15);
/// No drain and no move is continued later in a sweep: its function ends after a minute, and it has other duties.
const SWEEP_TIME: Duration = Duration::from_secs(10);
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
    if !jobs.is_empty() {
        return Err(StatusConflict("A job is under way for this agent").into());
    }
    gate::ask_for_move(&mut tx, agent, row.billing).await?;
    if !db::hosts::withdrawals::other_host_has_slot(&mut tx, from_node).await? {
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

async fn enqueue_stop(
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

fn note(first_error: &mut Option<sqlx::Error>, error: sqlx::Error, event: &'static str) {
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
    let is_draining = |kind| kind == Some(WithdrawalKind::Drain);
    let Some(drain) = withdrawal.filter(|found| is_draining(found.kind) && found.done_at.is_none())
    else {
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
    let failed_before = now - RETRY_AFTER;
    let agents = db::agents::moves::agents_to_move_of_any_organization(
        &mut tx,
        node_id,
        failed_before,
        free,
    )
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
            end(&mut tx, agent, &row, error, now).await?;
            Some(MoveStep::Ended)
        }
        Decision::Stop => stop(&mut tx, agent, &row, &open, now).await?,
        Decision::Start => start(&mut tx, agent, &row, now).await?,
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
    End(Option<&'static str>),
}

/// The agent has no active job.
fn decide(
    row: &LockedAgent,
    record: &RuntimeRecord,
    open: &OpenMove,
    now: DateTime<Utc>,
) -> Decision {
    let is_there = record.node_id.as_ref() == Some(&open.from_node);
    match row.status {
        AgentStatus::Running if !is_there => Decision::End(None),
        AgentStatus::Running if !row.stop_requested => Decision::Stop,
        AgentStatus::Stopped | AgentStatus::Error if record.has_unsaved_state && is_there => {
            Decision::End(Some("The agent's only state is on its host"))
        }
        AgentStatus::Stopped if row.stop_reason != Some(StopReason::Drain) => {
            Decision::End(Some("The agent was stopped meanwhile"))
        }
        // In error, a start of the move has failed.
        AgentStatus::Stopped | AgentStatus::Error if open.start_due_at <= now => Decision::Start,
        AgentStatus::Pending => Decision::End(Some("The agent was stopped meanwhile")),
        _ => Decision::Nothing,
    }
}

/// Ends a move. An agent that stands still for it would be forgotten, because nothing else starts what a move has stopped:
/// if it is in debt, a top-up starts it from now on; else its owner reads that an operator has stopped it.
async fn end(
    conn: &mut Connection,
    agent: AgentRef,
    row: &LockedAgent,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    db::agents::moves::move_end(conn, agent, error, now).await?;
    if row.status == AgentStatus::Stopped && row.stop_reason == Some(StopReason::Drain) {
        let reason = if row.billing == Some(BillingStatus::Suspended) {
            StopReason::Billing
        } else {
            StopReason::Operator
        };
        db::agents::lifecycle::agent_stop_reason_set(conn, agent, reason, now).await?;
    }
    Ok(())
}

/// Asks the gate for the start that completes the move. The inner error says why it is refused.
async fn ask_gate(
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
/// would be admitted, the move ends.
async fn stop(
    conn: &mut Connection,
    agent: AgentRef,
    row: &LockedAgent,
    open: &OpenMove,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<MoveStep>> {
    if let Err(refusal) = ask_gate(conn, agent, row).await? {
        end(conn, agent, row, Some(&refusal.to_string()), now).await?;
        return Ok(Some(MoveStep::Ended));
    }
    if !db::hosts::withdrawals::other_host_has_slot(conn, &open.from_node).await? {
        db::agents::moves::move_wait(conn, agent, Some(NO_OTHER_SLOT)).await?;
        return Ok(None);
    }
    db::agents::moves::move_wait(conn, agent, None).await?;
    let job_id = enqueue_stop(conn, agent, row, now).await?;
    Ok(job_id.map(|_| MoveStep::Enqueued))
}

/// Enqueues the start on another host.
async fn start(
    conn: &mut Connection,
    agent: AgentRef,
    row: &LockedAgent,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<MoveStep>> {
    let clearance = match ask_gate(conn, agent, row).await? {
        Ok(clearance) => clearance,
        Err(refusal) => {
            end(conn, agent, row, Some(&refusal.to_string()), now).await?;
            return Ok(Some(MoveStep::Ended));
        }
    };
    let new = StartJob {
        kind: JobKind::Provision,
        user_id: row.user_id,
        agent_name: row.name.as_deref(),
        backup_id: None,
        webhook_url: None,
    };
    let job_id = db::jobs::queue::start_enqueue(conn, &clearance, &new, now).await?;
    db::agents::moves::move_started(conn, agent, now + RETRY_AFTER).await?;
    Ok(job_id.map(|_| MoveStep::Enqueued))
}
