//! What suspending and deleting an agent share. Owns: that a start that a worker has begun is never interrupted, that one
//! that waits is ended, and the stop job.
//!
//! Metering ends when the request commits, however late the host answers.

use chrono::{DateTime, Utc};

use crate::app::error::RequestError;
use crate::db;
use crate::db::agents::lifecycle::LockedAgent;
use crate::db::jobs::queue::{ActiveJob, SUPERSEDED_BY_A_STOP, StopJob, SupersedeIf};
use crate::db::{Connection, Database};
use crate::domain::agent::{StatusConflict, StopCause, StopReason};
use crate::domain::ids::{AgentRef, JobId};
use crate::domain::job::JobKind;
use crate::events::Publisher;

#[derive(Clone, Copy, Debug)]
pub struct StopDeps<'a> {
    pub pool: &'a Database,
    /// Publishes the stop job.
    pub publisher: &'a Publisher,
}

/// An agent that may be stopped. Its lock is held until the transaction ends.
pub(super) struct StoppableAgent {
    pub(super) agent: AgentRef,
    pub(super) row: LockedAgent,
    /// Its suspend and delete jobs.
    pub(super) jobs: Vec<ActiveJob>,
    /// Whether a start or a restore waited for a worker. It has ended now.
    pub(super) has_ended_start: bool,
    pub(super) now: DateTime<Utc>,
}

/// Locks an agent that is to be stopped, and ends its start if no worker has begun it: it may wait for long. Fails while a
/// worker has a start job, or will attempt it again: such a job soon ends, and the owner can repeat the request then.
pub(super) async fn lock_for_stop(
    conn: &mut Connection,
    agent: AgentRef,
) -> Result<StoppableAgent, RequestError> {
    let row = db::agents::lifecycle::agent_lock(conn, agent)
        .await?
        .ok_or(RequestError::AGENT_NOT_FOUND)?;
    let now = db::clock::billing_clock(conn).await?;
    let jobs = db::jobs::queue::jobs_active(conn, agent).await?;
    let (starts, jobs): (Vec<ActiveJob>, Vec<ActiveJob>) =
        jobs.into_iter().partition(|job| job.kind.is_start());
    for start in &starts {
        let is_ended = db::jobs::queue::job_supersede(
            conn,
            agent.organization_id,
            start.id,
            SupersedeIf::Unattempted,
            SUPERSEDED_BY_A_STOP,
            now,
        )
        .await?;
        if !is_ended {
            return Err(StatusConflict("Agent provisioning is in progress").into());
        }
    }
    Ok(StoppableAgent {
        agent,
        row,
        jobs,
        has_ended_start: !starts.is_empty(),
        now,
    })
}

impl StoppableAgent {
    /// Whether there is, or may be, a container that a job has to stop.
    pub(super) fn expects_container(&self) -> bool {
        self.row.status.expects_container(self.row.names_container)
    }

    /// Accepts the stop: the agent is not charged for running from now on.
    pub(super) async fn end_metering(
        &self,
        conn: &mut Connection,
        cause: StopCause<'_>,
    ) -> sqlx::Result<()> {
        db::agents::lifecycle::agent_request_stop(conn, self.agent, cause, self.now).await
    }

    /// Makes this the cause why the agent stands still, whatever began its stop: then no top-up starts the agent again.
    pub(super) async fn take_over(
        &self,
        conn: &mut Connection,
        cause: StopCause<'_>,
    ) -> sqlx::Result<()> {
        db::agents::lifecycle::agent_stop_reason_set(conn, self.agent, cause, self.now).await
    }

    /// Enqueues the job that stops the container.
    pub(super) async fn enqueue(
        &self,
        conn: &mut Connection,
        kind: JobKind,
        reason: StopReason,
    ) -> Result<JobId, RequestError> {
        let stop = StopJob {
            organization_id: self.agent.organization_id,
            user_id: self.row.user_id,
            agent_id: self.agent.agent_id,
            agent_name: self.row.name.clone(),
            reason: reason.as_str(),
        };
        let job_id = db::jobs::queue::stop_enqueue(conn, kind, &stop, self.now).await?;
        // Only a writer that does not hold the agent's lock (an older web app) can have inserted one meanwhile.
        Ok(job_id.ok_or(StatusConflict("Agent is being stopped"))?)
    }
}
