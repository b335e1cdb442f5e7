//! `jobs`, apart from the worker's part. Owns: enqueueing, reading and superseding. A partial unique index allows one
//! active job of each class (start, stop) per agent. A job's user is kept in `data`, not in `user_id`: that column
//! references `users`, and in an existing deployment it would prevent a user from being deleted. Does not own: what a
//! worker writes (`worker`).

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::{Value, json};

use crate::db::page::PagePosition;
use crate::db::session::Connection;
use crate::domain::credit_gate::Clearance;
use crate::domain::ids::{AgentId, AgentRef, BackupId, JobId, OrganizationId, UserId};
use crate::domain::job::{
    EXPECTED_START_DURATION, JobClass, JobKind, JobStatus, StepName, StepStatus,
};
use crate::domain::redacted::debug_without_secrets;

/// The reason of a stop that removes a container which runs although its agent is stopped.
pub const REMOVE_SURPLUS: &str = "surplus";

/// A job that stops an agent.
#[derive(Clone, Debug)]
pub struct StopJob {
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    pub agent_id: AgentId,
    pub agent_name: Option<String>,
    /// `billing`, `owner`, `operator`, `drain` for an agent that moves to another host or is restarted with another image, `cleanup` for
    /// what a failed start has left, or [`REMOVE_SURPLUS`].
    pub reason: &'static str,
}

impl StopJob {
    /// The job's data in the form of the older web app.
    fn data(&self) -> Value {
        json!({
            "agentId": self.agent_id, "organizationId": self.organization_id,
            "userId": self.user_id, "agentName": self.agent_name, "reason": self.reason,
        })
    }
}

/// Enqueues the stop of each agent, a job of kind suspend, except for agents that have an active stop job.
pub async fn stops_enqueue(
    conn: &mut Connection,
    stops: &[StopJob],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let organization_ids: Vec<OrganizationId> =
        stops.iter().map(|stop| stop.organization_id).collect();
    let agent_ids: Vec<AgentId> = stops.iter().map(|stop| stop.agent_id).collect();
    let data: Vec<Value> = stops.iter().map(StopJob::data).collect();
    let kind = JobKind::Suspend;
    sql!(query!(
        "INSERT INTO public.jobs (type, class, organization_id, agent_id, data, scheduled_for,
            created_at, updated_at)
        SELECT $5, $6, s.organization_id, s.agent_id, s.data, $4, $4, $4
        FROM UNNEST($1::uuid[], $2::uuid[], $3::jsonb[]) AS s (organization_id, agent_id, data) "
            + UNLESS_ONE_IS_ACTIVE,
        &organization_ids as &[OrganizationId],
        &agent_ids as &[AgentId],
        &data,
        now.naive_utc(),
        kind.as_str(),
        kind.class().as_str()
    ))
    .execute(conn)
    .await?;
    Ok(())
}

/// A job that starts an agent.
#[derive(Clone)]
pub struct StartJob<'a> {
    /// A kind that starts an agent.
    pub kind: JobKind,
    pub user_id: UserId,
    pub agent_name: Option<&'a str>,
    /// The backup to restore; `None` for the newest one.
    pub backup_id: Option<BackupId>,
    /// Where the owner's server is told that the job has ended.
    pub webhook_url: Option<&'a str>,
}

debug_without_secrets!(StartJob<'_>: kind, user_id, backup_id);

/// Enqueues the job that starts an agent. This is the only way to start compute, and it takes the gate's clearance.
/// Returns `None` if the agent has an active start job.
///
/// Code that does not ask the gate does not compile (F09):
///
/// ```compile_fail,E0308
/// # use shared::db::jobs::queue::{StartJob, start_enqueue};
/// # async fn forgot_the_gate(conn: &mut shared::db::Connection, start: StartJob<'_>) {
/// let now = chrono::DateTime::UNIX_EPOCH;
/// let agent = shared::domain::ids::AgentRef {
///     organization_id: shared::domain::ids::OrganizationId::new(uuid::Uuid::nil()),
///     agent_id: shared::domain::ids::AgentId::new(uuid::Uuid::nil()),
/// };
/// let job = start_enqueue(conn, &agent, &start, now).await;
/// # }
/// ```
pub async fn start_enqueue(
    conn: &mut Connection,
    clearance: &Clearance,
    start: &StartJob<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<JobId>> {
    let (organization_id, agent_id) = (clearance.organization_id(), clearance.agent_id());
    let mut data = json!({
        "agentId": agent_id, "organizationId": organization_id, "userId": start.user_id,
        "agentName": start.agent_name,
    });
    if let Some(backup_id) = start.backup_id {
        data["backupId"] = json!(backup_id);
    }
    sql!(query_scalar!(
        "INSERT INTO public.jobs (type, class, organization_id, agent_id, data, webhook_url,
            webhook_status, estimated_completion_at, scheduled_for, created_at, updated_at)
        VALUES ($1, $8, $2, $3, $4, $5,
            CASE WHEN $5::text IS NOT NULL THEN 'pending' END, $6, $7, $7, $7) "
            + UNLESS_ONE_IS_ACTIVE
            + " RETURNING id",
        start.kind.as_str(),
        organization_id.uuid(),
        agent_id.uuid(),
        data,
        start.webhook_url,
        (now + EXPECTED_START_DURATION).naive_utc(),
        now.naive_utc(),
        start.kind.class().as_str()
    ))
    .fetch_optional(conn)
    .await
}

/// The error of a stop that a start cancelled.
pub const SUPERSEDED_BY_A_START: &str = "Superseded by a start";
/// The error of a start that a stop ended.
pub const SUPERSEDED_BY_A_STOP: &str = "Superseded by a stop";

/// When the agent's starts and restores since `since` were requested, the newest first, and the stops that a start
/// cancelled. The time of a job is there once for each of its attempts, and once if it has had none yet.
pub async fn starts_since(
    conn: &mut Connection,
    agent: AgentRef,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<DateTime<Utc>>> {
    let times = sqlx::query_scalar!(
        r#"SELECT created_at AS "created_at!" FROM public.jobs,
            generate_series(1, CASE class WHEN 'start' THEN greatest(attempts, 1) ELSE 1 END)
        WHERE organization_id = $1 AND agent_id = $2 AND created_at > $3
            AND (class = 'start' OR class = 'stop' AND status = 'failed' AND error = $4)
        ORDER BY created_at DESC"#,
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        since.naive_utc(),
        SUPERSEDED_BY_A_START
    )
    .fetch_all(conn)
    .await?;
    Ok(times.into_iter().map(|at| at.and_utc()).collect())
}

/// When the starts and restores of an organization since `since` were requested, the newest first, also those of agents
/// that are deleted.
pub async fn starts_of_organization_since(
    conn: &mut Connection,
    organization_id: OrganizationId,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<DateTime<Utc>>> {
    let times = sqlx::query_scalar!(
        "SELECT created_at FROM public.jobs WHERE organization_id = $1 AND class = 'start' AND created_at > $2
        ORDER BY created_at DESC",
        organization_id.uuid(),
        since.naive_utc()
    )
    .fetch_all(conn)
    .await?;
    Ok(times.into_iter().map(|at| at.and_utc()).collect())
}

/// How many attempts of the starts and restores that were requested since `since` the agent has that has most of an
/// organization's, counted as in [`starts_since`].
pub async fn starts_of_busiest_agent(
    conn: &mut Connection,
    organization_id: OrganizationId,
    since: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT coalesce(max(n), 0) AS "n!" FROM (
            SELECT sum(CASE j.class WHEN 'start' THEN greatest(j.attempts, 1) ELSE 1 END) AS n
            FROM public.milady_sandboxes a
            JOIN public.jobs j ON j.agent_id = a.id AND j.organization_id = a.organization_id
            WHERE a.organization_id = $1 AND j.created_at > $2
                AND (j.class = 'start' OR j.class = 'stop' AND j.status = 'failed' AND j.error = $3)
            GROUP BY a.id) AS of_agents"#,
        organization_id.uuid(),
        since.naive_utc(),
        SUPERSEDED_BY_A_START
    )
    .fetch_one(conn)
    .await
}

/// The starts and restores of an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartCounts {
    /// Those that wait or run.
    pub active: i64,
    /// Those that a worker has begun.
    pub running: i64,
}

pub async fn starts_count(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> sqlx::Result<StartCounts> {
    sql!(query_as!(
        StartCounts,
        r#"SELECT count(*) AS "active!", count(*) FILTER (WHERE status = 'in_progress') AS "running!"
        FROM public.jobs WHERE organization_id = $1 AND type = ANY($2) AND type"#
            + HAS_KIND_PREFIX
            + " AND status IN "
            + ACTIVE_STATUSES,
        organization_id.uuid(),
        &JobClass::Start.kind_names() as &[&str]
    ))
    .fetch_one(conn)
    .await
}

/// Enqueues the job that stops or deletes an agent for its owner. Returns `None` if the agent has an active stop job.
pub async fn stop_enqueue(
    conn: &mut Connection,
    kind: JobKind,
    stop: &StopJob,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<JobId>> {
    sql!(query_scalar!(
        "INSERT INTO public.jobs (type, class, organization_id, agent_id, data, scheduled_for,
            created_at, updated_at)
        VALUES ($1, $6, $2, $3, $4, $5, $5, $5) "
            + UNLESS_ONE_IS_ACTIVE
            + " RETURNING id",
        kind.as_str(),
        stop.organization_id.uuid(),
        stop.agent_id.uuid(),
        stop.data(),
        now.naive_utc(),
        kind.class().as_str()
    ))
    .fetch_optional(conn)
    .await
}

/// A job that waits or runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveJob {
    pub id: JobId,
    pub kind: JobKind,
    /// Whether the job waits for a worker, for the first time or again.
    pub is_waiting: bool,
    /// Whether no worker has ever claimed the job: it has had no effect yet.
    pub is_unattempted: bool,
    /// When the job is expected to end.
    pub estimated_completion_at: Option<DateTime<Utc>>,
}

/// The active jobs of an agent, including those of an older web app. If the caller holds the agent's lock, the result
/// stays true until the transaction ends.
pub async fn jobs_active(conn: &mut Connection, agent: AgentRef) -> sqlx::Result<Vec<ActiveJob>> {
    let rows = sql!(query!(
        r#"SELECT id, type AS kind, status = 'pending' AS "is_waiting!",
            status = 'pending' AND attempts = 0 AS "is_unclaimed!", estimated_completion_at
        FROM public.jobs
        WHERE organization_id = $1 AND status IN "#
            + ACTIVE_STATUSES
            + " AND type"
            + HAS_KIND_PREFIX
            + "
            AND (agent_id = $2 OR lower(data ->> 'agentId') = $2::text)
        ORDER BY created_at",
        agent.organization_id.uuid(),
        agent.agent_id.uuid()
    ))
    .fetch_all(conn)
    .await?;
    let jobs = rows.into_iter().filter_map(|row| {
        Some(ActiveJob {
            id: row.id,
            kind: JobKind::parse(&row.kind)?,
            is_waiting: row.is_waiting,
            is_unattempted: row.is_unclaimed,
            estimated_completion_at: row.estimated_completion_at.map(|at| at.and_utc()),
        })
    });
    Ok(jobs.collect())
}

/// When [`job_supersede`] ends a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SupersedeIf {
    /// The job waits or runs.
    Active,
    /// No worker has ever claimed the job.
    Unattempted,
}

/// Ends a job that something else replaces, and raises its fence: whatever its worker writes from now on changes no
/// row. Returns `false` if `condition` does not hold.
pub async fn job_supersede(
    conn: &mut Connection,
    organization_id: OrganizationId,
    job_id: JobId,
    condition: SupersedeIf,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sql!(query!(
        "UPDATE public.jobs SET status = 'failed', error = $3, attempts = attempts + 1, completed_at = $4,
            updated_at = $4,
            webhook_due_at = CASE WHEN webhook_url IS NOT NULL THEN $4::timestamp AT TIME ZONE 'UTC' END
        WHERE id = $1 AND organization_id = $5 AND status IN "
            + ACTIVE_STATUSES
            + "
            AND (NOT $2 OR status = 'pending' AND attempts = 0)",
        job_id.uuid(),
        condition == SupersedeIf::Unattempted,
        reason,
        now.naive_utc(),
        organization_id.uuid()
    ))
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Ends the start jobs of agents that billing is suspending, and raises the fences of those jobs.
pub async fn starts_supersede_of_any_organization(
    conn: &mut Connection,
    agent_ids: &[AgentId],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sql!(query!(
        "UPDATE public.jobs SET status = 'failed', error = $4, attempts = attempts + 1,
            completed_at = $2, updated_at = $2,
            webhook_due_at = CASE WHEN webhook_url IS NOT NULL THEN $2::timestamp AT TIME ZONE 'UTC' END
        WHERE agent_id = ANY($1) AND type = ANY($3) AND status IN "
            + ACTIVE_STATUSES,
        agent_ids as &[AgentId],
        now.naive_utc(),
        &JobClass::Start.kind_names() as &[&str],
        SUPERSEDED_BY_A_STOP
    ))
    .execute(conn)
    .await?;
    Ok(())
}

/// A job as clients see it.
#[derive(Clone, Debug)]
pub struct JobRecord {
    pub id: JobId,
    pub kind: JobKind,
    pub status: JobStatus,
    pub result: Option<Value>,
    pub error: Option<String>,
    pub attempts: i32,
    /// How many of them do not count against the limit.
    pub unspent_attempts: i32,
    pub estimated_completion_at: Option<NaiveDateTime>,
    pub scheduled_for: NaiveDateTime,
    pub started_at: Option<NaiveDateTime>,
    pub completed_at: Option<NaiveDateTime>,
    pub created_at: NaiveDateTime,
    pub updated_at: NaiveDateTime,
    /// An array of [`Step`](crate::domain::job::Step)s.
    pub steps: Option<Value>,
}

impl JobRecord {
    /// `None` if the job has not begun this step.
    #[must_use]
    pub fn step_status(&self, name: StepName) -> Option<StepStatus> {
        let steps = self.steps.as_ref()?.as_array()?;
        let step = steps
            .iter()
            .find(|step| step["name"].as_str().and_then(StepName::parse) == Some(name))?;
        StepStatus::parse(step["status"].as_str()?)
    }
}

/// Selects [`JobRow`]s. The literal is the rest of the query; its arguments follow.
macro_rules! select_job_rows {
    ($rest:tt, $($arguments:tt)*) => {
        sqlx::query_as!(
            JobRow,
            "SELECT id, type AS kind, status, result, error, attempts, unspent_attempts,
                estimated_completion_at, scheduled_for, started_at, completed_at, created_at, updated_at, steps
            FROM public.jobs " + $rest,
            $($arguments)*
        )
    };
}

/// A job's row, of any application.
struct JobRow {
    id: JobId,
    kind: String,
    status: String,
    result: Option<Value>,
    error: Option<String>,
    attempts: i32,
    unspent_attempts: i32,
    estimated_completion_at: Option<NaiveDateTime>,
    scheduled_for: NaiveDateTime,
    started_at: Option<NaiveDateTime>,
    completed_at: Option<NaiveDateTime>,
    created_at: NaiveDateTime,
    updated_at: NaiveDateTime,
    steps: Option<Value>,
}

impl JobRow {
    /// `None` if the job's kind is not one of this product's.
    fn record(self) -> Option<JobRecord> {
        Some(JobRecord {
            id: self.id,
            kind: JobKind::parse(&self.kind)?,
            // A status that this version does not know: none of its workers will finish the job, so clients are told
            // that it failed, and stop asking.
            status: JobStatus::parse(&self.status).unwrap_or(JobStatus::Failed),
            result: self.result,
            error: self.error,
            attempts: self.attempts,
            unspent_attempts: self.unspent_attempts,
            estimated_completion_at: self.estimated_completion_at,
            scheduled_for: self.scheduled_for,
            started_at: self.started_at,
            completed_at: self.completed_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
            steps: self.steps,
        })
    }
}

/// One of an organization's jobs, if it is of one of this product's kinds.
pub async fn job_find(
    conn: &mut Connection,
    organization_id: OrganizationId,
    job_id: JobId,
) -> sqlx::Result<Option<JobRecord>> {
    let row = select_job_rows!(
        "WHERE organization_id = $1 AND id = $2",
        organization_id.uuid(),
        job_id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.and_then(JobRow::record))
}

/// One page of an agent's jobs of this product's kinds, newest first, after a position.
pub async fn jobs_page(
    conn: &mut Connection,
    agent: AgentRef,
    after: Option<PagePosition>,
    limit: i64,
) -> sqlx::Result<Vec<JobRecord>> {
    let rows = select_job_rows!(
        "WHERE organization_id = $1 AND agent_id = $2 AND class IS NOT NULL AND type = ANY($3)
            AND ($4::timestamp IS NULL OR (created_at, id) < ($4, $5))
        ORDER BY created_at DESC, id DESC LIMIT $6",
        agent.organization_id.uuid(),
        agent.agent_id.uuid(),
        &JobKind::names() as &[&str],
        after.map(|position| position.created_at.naive_utc()),
        after.map(|position| position.id),
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(JobRow::record).collect())
}
