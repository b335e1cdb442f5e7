//! An operator suspends an agent, also one that is charged. Owns: the audit entry, and that the owner is told why. Does not
//! own: what the stop does (`suspend`), and when the owner may start the agent again: whenever the credit gate allows it.

use serde_json::json;

use super::stop_request::StopDeps;
use super::suspend::{Suspended, Suspension, suspend};
use crate::app::error::RequestError;
use crate::app::idempotency::{IdempotencyKey, run_once};
use crate::app::publish::publish_due_jobs;
use crate::db;
use crate::db::Connection;
use crate::db::requests::audit_log::AuditEntry;
use crate::db::requests::outbox::NewEvents;
use crate::domain::agent::{StopCause, StopReason};
use crate::domain::ids::{AgentId, AgentRef, UserId};
use crate::domain::job::{DueJob, JobClass};
use crate::domain::mail::MailTemplate;
use crate::domain::timestamp::Timestamp;

#[derive(Clone, Debug)]
pub struct SuspensionRequest {
    pub admin_id: UserId,
    pub agent_id: AgentId,
    /// The agent's owner reads it.
    pub reason: String,
}

/// Requests the stop, and does not wait for its job: an operator may suspend many agents.
///
/// # Errors
/// [`RequestError::NotFound`]; [`RequestError::StatusConflict`] if the agent is being started or deleted.
pub async fn agent_operator_suspend(
    deps: StopDeps<'_>,
    request: &SuspensionRequest,
    key: IdempotencyKey,
) -> Result<Suspended, RequestError> {
    run_once(deps.pool, key, async |guard| {
        let mut tx = deps.pool.begin().await?;
        let agent_id = request.agent_id;
        let found = db::agents::operator::agent_of_any_organization(&mut tx, agent_id).await?;
        let organization_id = found.ok_or(RequestError::AGENT_NOT_FOUND)?.organization_id;
        let agent = AgentRef {
            organization_id,
            agent_id,
        };
        let cause = StopCause {
            reason: StopReason::Operator,
            note: Some(&request.reason),
        };
        let suspension = suspend(&mut tx, agent, cause).await?;
        record(&mut tx, agent, request, &suspension).await?;
        let suspended = suspension.suspended;
        guard.complete(&mut tx, &suspended).await?;
        tx.commit().await?;
        if let Suspended::Enqueued { job_id, .. } = &suspended {
            // If the event is not accepted, the sweep announces the job.
            let due = DueJob {
                id: *job_id,
                lane: JobClass::Stop,
            };
            publish_due_jobs(deps.publisher, &[due]).await;
        }
        Ok(suspended)
    })
    .await
}

async fn record(
    conn: &mut Connection,
    agent: AgentRef,
    request: &SuspensionRequest,
    suspension: &Suspension,
) -> sqlx::Result<()> {
    let now = suspension.now;
    let action = AuditEntry {
        user_id: request.admin_id,
        action: "agent.suspend",
        subject: &agent.agent_id.to_string(),
        details: json!({"organizationId": agent.organization_id, "reason": request.reason}),
        result: match &suspension.suspended {
            Suspended::AlreadyStopped => "already stopped",
            Suspended::WithoutJob { .. } | Suspended::Stopped { .. } => "stopped",
            Suspended::Enqueued { .. } => "accepted",
        },
    };
    db::requests::audit_log::audit_append(conn, &action, now).await?;
    if !suspension.is_cause {
        return Ok(());
    }
    let kind = MailTemplate::StoppedByOperator.as_str();
    let event = NewEvents {
        keys: vec![format!("{kind}:{}:{}", agent.agent_id, Timestamp(now))],
        types: vec![kind.to_owned()],
        organization_ids: vec![agent.organization_id],
        payloads: vec![json!({
            "agents": [{"id": agent.agent_id, "name": suspension.agent_name}], "agentCount": 1,
            "reason": request.reason,
        })],
    };
    db::requests::outbox::outbox_append(conn, &event, now).await
}
