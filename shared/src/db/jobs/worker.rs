//! `jobs` as workers see them. Owns: claiming, the fence, and which jobs are stale. Does not own: whether there is room
//! for a job (`lanes`), webhooks (`webhooks`).

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::queue::REMOVE_SURPLUS;
use crate::db::session::Connection;
use crate::domain::ids::{AgentId, AgentRef, BackupId, JobId, OrganizationId};
use crate::domain::job::{JobKind, JobStatus};

/// The right to write to a job. Each claim, and each superseding, raises the attempt: a worker with an older fence
/// writes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobFence {
    pub organization_id: OrganizationId,
    pub job_id: JobId,
    pub attempt: i32,
}

/// What a stop is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopPurpose {
    /// The agent stops. Also the purpose of jobs that are no stops.
    Stop,
    /// Only what a failed start left is to be removed. The agent stays in error.
    CleanUp,
    /// Only a container that runs although the agent is stopped is to be removed.
    RemoveSurplus,
    /// The stop begins a move of the agent to another host, or its restart with another image.
    Move,
}

impl StopPurpose {
    fn parse(reason: Option<&str>) -> Self {
        match reason {
            Some("cleanup") => Self::CleanUp,
            Some(REMOVE_SURPLUS) => Self::RemoveSurplus,
            Some("drain") => Self::Move,
            _ => Self::Stop,
        }
    }
}

/// A job that a worker has claimed.
#[derive(Clone, Debug)]
pub struct ClaimedJob {
    pub id: JobId,
    pub kind: JobKind,
    pub organization_id: OrganizationId,
    /// `None` if the row of an older web app names no agent.
    pub agent_id: Option<AgentId>,
    /// Whether the organization has this agent.
    pub agent_exists: bool,
    /// The backup to restore; `None` for the newest one.
    pub backup_id: Option<BackupId>,
    pub purpose: StopPurpose,
    pub attempt: i32,
    /// How many earlier attempts do not count against the limit of attempts.
    pub unspent_attempts: i32,
}

impl ClaimedJob {
    #[must_use]
    pub fn fence(&self) -> JobFence {
        JobFence {
            organization_id: self.organization_id,
            job_id: self.id,
            attempt: self.attempt,
        }
    }
}

struct ClaimedJobRow {
    id: JobId,
    kind: String,
    organization_id: OrganizationId,
    agent_id: Option<AgentId>,
    attempts: i32,
    unspent_attempts: i32,
    named_agent: Option<String>,
    named_backup: Option<String>,
    reason: Option<String>,
    agent_exists: bool,
}

impl ClaimedJobRow {
    /// `None` for a job of another application.
    fn into_job(self) -> Option<ClaimedJob> {
        let parse_agent = |text: String| text.parse().ok();
        Some(ClaimedJob {
            id: self.id,
            kind: JobKind::parse(&self.kind)?,
            organization_id: self.organization_id,
            agent_id: self.agent_id.or(self.named_agent.and_then(parse_agent)),
            agent_exists: self.agent_exists,
            backup_id: self.named_backup.and_then(|text| text.parse().ok()),
            purpose: StopPurpose::parse(self.reason.as_deref()),
            attempt: self.attempts,
            unspent_attempts: self.unspent_attempts,
        })
    }
}

/// Reads [`ClaimedJobRow`]s. The columns come between the two texts.
macro_rules! query_claimed_jobs {
    ([$($before:tt)+], [$($after:tt)+], $($arguments:tt)*) => {
        sql!(query_as!(
            ClaimedJobRow,
            $($before)+ + r#" id, type AS kind, organization_id, agent_id, attempts,
                unspent_attempts, data ->> 'agentId' AS named_agent, data ->> 'backupId' AS named_backup,
                data ->> 'reason' AS reason,
                EXISTS (SELECT FROM public.milady_sandboxes a
                    WHERE a.organization_id = jobs.organization_id AND a.id::text
                        = lower(coalesce(jobs.agent_id::text, jobs.data ->> 'agentId')))
                    AS "agent_exists!""# + $($after)+,
            $($arguments)*
        ))
    };
}

/// Claims a job that is due, unless another worker has claimed it or is claiming it.
pub async fn job_claim_of_any_organization(
    conn: &mut Connection,
    job_id: JobId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<ClaimedJob>> {
    let row = query_claimed_jobs!(
        [
            "UPDATE public.jobs SET status = 'in_progress', attempts = attempts + 1,
            started_at = coalesce(started_at, $2), updated_at = $2, announced_at = NULL,
            turned_away_at = NULL
        WHERE id = (
            SELECT id FROM public.jobs WHERE id = $1 AND status = 'pending' AND scheduled_for <= $2
                AND type = ANY($3)
            FOR UPDATE SKIP LOCKED)
        RETURNING"
        ],
        [""],
        job_id.uuid(),
        now.naive_utc(),
        &JobKind::names() as &[&str]
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.and_then(ClaimedJobRow::into_job))
}

/// Fills in the agent and the class of a job that an older web app wrote, so that the unique index covers the job.
/// Returns `false` if the agent has another active job of the same class.
pub async fn job_assign_agent(
    conn: &mut Connection,
    job: &ClaimedJob,
    agent: AgentRef,
) -> sqlx::Result<bool> {
    let class = job.kind.class();
    let result = sql!(query!(
        "UPDATE public.jobs j SET agent_id = $2, class = $4
        WHERE j.id = $1 AND j.organization_id = $3 AND NOT EXISTS (
            SELECT FROM public.jobs other WHERE other.agent_id = $2 AND other.id <> $1
                AND other.type = ANY($5) AND other.status IN "
            + ACTIVE_STATUSES
            + ")",
        job.id.uuid(),
        agent.agent_id.uuid(),
        agent.organization_id.uuid(),
        class.as_str(),
        &class.kind_names() as &[&str]
    ))
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// What a worker writes of its job.
#[derive(Clone, Debug)]
pub struct JobProgress<'a> {
    pub status: JobStatus,
    /// `None` leaves the steps as they are.
    pub steps: Option<&'a Value>,
    pub result: Option<&'a Value>,
    pub error: Option<&'a str>,
    /// When the next attempt is due.
    pub again_at: Option<DateTime<Utc>>,
}

/// Writes progress under the fence. Returns `false` if the worker has lost the job: then it must stop.
pub async fn job_write(
    conn: &mut Connection,
    fence: JobFence,
    progress: &JobProgress<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE public.jobs SET status = $3, steps = coalesce($4, steps), result = $5, error = $6,
            scheduled_for = coalesce($7, scheduled_for), updated_at = $8,
            completed_at = CASE WHEN $3 IN ('completed', 'failed') THEN $8::timestamp END,
            webhook_due_at = CASE WHEN $3 IN ('completed', 'failed') AND webhook_url IS NOT NULL
                THEN $8::timestamp AT TIME ZONE 'UTC' END
        WHERE id = $1 AND organization_id = $9 AND attempts = $2 AND status = 'in_progress'",
        fence.job_id.uuid(),
        fence.attempt,
        progress.status.as_str(),
        progress.steps,
        progress.result,
        progress.error,
        progress.again_at.map(|at| at.naive_utc()),
        now.naive_utc(),
        fence.organization_id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Records that the attempt of this fence does not count against the job's limit of attempts.
pub async fn attempt_keep_unspent(conn: &mut Connection, fence: JobFence) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.jobs SET unspent_attempts = unspent_attempts + 1
        WHERE id = $1 AND organization_id = $2 AND attempts = $3 AND status = 'in_progress'",
        fence.job_id.uuid(),
        fence.organization_id.uuid(),
        fence.attempt
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a worker's fence is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceState {
    /// The worker has the job.
    Held,
    /// The worker has completed the job. It may not know: the answer to its last commit can be lost.
    Completed,
    /// Another worker has the job, or something else took its place.
    Lost,
}

/// Asks for a fence. Waits for a transaction of the same worker whose commit is still under way.
pub async fn fence_state(conn: &mut Connection, fence: JobFence) -> sqlx::Result<FenceState> {
    let status = sqlx::query_scalar!(
        "SELECT status FROM public.jobs WHERE id = $1 AND organization_id = $2 AND attempts = $3
        FOR NO KEY UPDATE",
        fence.job_id.uuid(),
        fence.organization_id.uuid(),
        fence.attempt
    )
    .fetch_optional(conn)
    .await?;
    Ok(match status.as_deref().and_then(JobStatus::parse) {
        Some(JobStatus::InProgress) => FenceState::Held,
        Some(JobStatus::Completed) => FenceState::Completed,
        _ => FenceState::Lost,
    })
}

/// Claimed jobs that have shown no progress since `before`, the oldest progress first, at most 200.
pub async fn jobs_stale_of_any_organization(
    conn: &mut Connection,
    before: DateTime<Utc>,
) -> sqlx::Result<Vec<ClaimedJob>> {
    let rows = query_claimed_jobs!(
        ["SELECT"],
        [
            " FROM public.jobs WHERE status = 'in_progress' AND updated_at < $1
            AND type = ANY($2) AND type"
                + HAS_KIND_PREFIX
                + "
        ORDER BY updated_at LIMIT 200"
        ],
        before.naive_utc(),
        &JobKind::names() as &[&str]
    )
    .fetch_all(conn)
    .await?;
    let jobs = rows.into_iter().filter_map(ClaimedJobRow::into_job);
    Ok(jobs.collect())
}
