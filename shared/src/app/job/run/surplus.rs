//! Removing a container that runs although its agent is stopped or in error (F78), as a job of kind suspend. Owns: that
//! nothing is done to an agent that was started meanwhile, and that the audit log says how it ended.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::context::JobContext;
use super::stop::StoppingAgent;
use crate::db;
use crate::db::Connection;
use crate::db::jobs::worker::StopPurpose;
use crate::db::requests::audit_log::SURPLUS_CONTAINER;
use crate::domain::agent::AgentStatus;

/// Whether the agent's host must be visited before the suspend job can end.
pub(super) fn may_have_container(context: &JobContext<'_>, agent: &StoppingAgent) -> bool {
    if context.job.purpose == StopPurpose::RemoveSurplus {
        matches!(
            agent.locked.status,
            AgentStatus::Stopped | AgentStatus::Error
        )
    } else {
        agent.may_have_container()
    }
}

/// Records how the removal ended, if the job is one.
pub(super) async fn record_end(
    context: &JobContext<'_>,
    conn: &mut Connection,
    result: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if context.job.purpose != StopPurpose::RemoveSurplus {
        return Ok(());
    }
    let subject = context.agent_id.to_string();
    let details = json!({"endedAt": now});
    db::requests::audit_log::audit_finish_subject(
        conn,
        SURPLUS_CONTAINER,
        &subject,
        result,
        &details,
    )
    .await
}
