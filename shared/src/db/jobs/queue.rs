//! `jobs`, as far as the rows are ours (`milady_*`), as requests see them. Owns: enqueueing, reading
//! and superseding. A partial unique index keeps it to one start and one stop job per agent. Does not
//! own: what a worker writes (`job_work`).

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::credit_gate::Clearance;
use crate::domain::job::{JobKind, USUAL_START};

/// A stop job for an agent that billing suspends.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Who pays.
    pub organization_id: Uuid,
    /// Whose agent it is.
    pub user_id: Uuid,
    /// What is to be stopped.
    pub agent_id: Uuid,
    /// Its name.
    pub agent_name: Option<String>,
    /// Why: `billing`, `owner`, or `cleanup` for what a failed start has left.
    pub reason: &'static str,
}

/// Enqueues one `milady_suspend` job per agent, unless a stop job is under way for it.
///
/// # Errors
/// Database errors.
pub async fn stops_enqueue(
    conn: &mut PgConnection,
    stops: &[Stop],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let organization_ids: Vec<Uuid> = stops.iter().map(|stop| stop.organization_id).collect();
    let user_ids: Vec<Uuid> = stops.iter().map(|stop| stop.user_id).collect();
    let agent_ids: Vec<Uuid> = stops.iter().map(|stop| stop.agent_id).collect();
    let data: Vec<Value> = stops
        .iter()
        .map(|stop| {
            serde_json::json!({
                "agentId": stop.agent_id, "organizationId": stop.organization_id,
                "userId": stop.user_id, "agentName": stop.agent_name, "reason": stop.reason,
            })
        })
        .collect();
    sqlx::query!(
        "INSERT INTO jobs (type, organization_id, user_id, agent_id, data, scheduled_for,
            created_at, updated_at)
        SELECT 'milady_suspend', s.organization_id, s.user_id, s.agent_id, s.data, $5, $5, $5
        FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::jsonb[])
            AS s (organization_id, user_id, agent_id, data)
        ON CONFLICT (agent_id) WHERE agent_id IS NOT NULL AND status IN ('pending', 'in_progress')
            AND type IN ('milady_suspend', 'milady_delete') DO NOTHING",
        &organization_ids,
        &user_ids,
        &agent_ids,
        &data,
        now.naive_utc()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A start that is asked for.
#[derive(Clone, Debug)]
pub struct NewStart<'a> {
    /// [`JobKind::Provision`] or [`JobKind::Restore`].
    pub kind: JobKind,
    /// Whose agent.
    pub user_id: Uuid,
    /// The agent's name.
    pub agent_name: Option<&'a str>,
    /// The state to give it, for a restore.
    pub backup_id: Option<Uuid>,
    /// Whom to tell of its end: URL and signing secret.
    pub webhook: Option<(&'a str, &'a str)>,
}

/// Enqueues the job that starts an agent: the only way to start compute, and it takes the gate's
/// clearance. Answers none if a start job is under way for the agent.
///
/// Without having asked the gate there is nothing to call it with (F09):
///
/// ```compile_fail,E0308
/// # use shared::db::jobs::queue::{NewStart, start_enqueue};
/// # async fn forgot_the_gate(conn: &mut sqlx::PgConnection, start: NewStart<'_>) {
/// let now = chrono::DateTime::UNIX_EPOCH;
/// let agent = (uuid::Uuid::nil(), uuid::Uuid::nil());
/// let job = start_enqueue(conn, &agent, &start, now).await;
/// # }
/// ```
///
/// # Errors
/// Database errors.
pub async fn start_enqueue(
    conn: &mut PgConnection,
    clearance: &Clearance,
    start: &NewStart<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Uuid>> {
    let (organization_id, agent_id) = (clearance.organization_id(), clearance.agent_id());
    let mut data = serde_json::json!({
        "agentId": agent_id, "organizationId": organization_id, "userId": start.user_id,
        "agentName": start.agent_name,
    });
    if let Some(backup) = start.backup_id {
        data["backupId"] = serde_json::json!(backup);
    }
    sqlx::query_scalar!(
        "INSERT INTO jobs (type, organization_id, user_id, agent_id, data, webhook_url,
            webhook_secret, webhook_status, max_attempts, estimated_completion_at, scheduled_for,
            created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $6::text IS NOT NULL THEN 'pending' END, $8,
            $9, $10, $10, $10)
        ON CONFLICT (agent_id) WHERE agent_id IS NOT NULL AND status IN ('pending', 'in_progress')
            AND type IN ('milady_provision', 'milady_restore') DO NOTHING
        RETURNING id",
        start.kind.as_str(),
        organization_id,
        start.user_id,
        agent_id,
        data,
        start.webhook.map(|(url, _)| url),
        start.webhook.map(|(_, secret)| secret),
        crate::domain::job::START_ATTEMPTS,
        (now + USUAL_START).naive_utc(),
        now.naive_utc()
    )
    .fetch_optional(conn)
    .await
}

/// Enqueues the job that stops or deletes an agent for its owner. Answers none if a stop job is under
/// way for it.
///
/// # Errors
/// Database errors.
pub async fn stop_enqueue(
    conn: &mut PgConnection,
    kind: JobKind,
    stop: &Stop,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Uuid>> {
    let data = serde_json::json!({
        "agentId": stop.agent_id, "organizationId": stop.organization_id,
        "userId": stop.user_id, "agentName": stop.agent_name, "reason": stop.reason,
    });
    sqlx::query_scalar!(
        "INSERT INTO jobs (type, organization_id, user_id, agent_id, data, scheduled_for,
            created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $6, $6)
        ON CONFLICT (agent_id) WHERE agent_id IS NOT NULL AND status IN ('pending', 'in_progress')
            AND type IN ('milady_suspend', 'milady_delete') DO NOTHING
        RETURNING id",
        kind.as_str(),
        stop.organization_id,
        stop.user_id,
        stop.agent_id,
        data,
        now.naive_utc()
    )
    .fetch_optional(conn)
    .await
}

/// A job under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Active {
    /// Which.
    pub id: Uuid,
    /// What it does.
    pub kind: JobKind,
    /// It waits for a worker, for the first time or again.
    pub waiting: bool,
    /// No worker has ever taken it: nothing was done yet.
    pub untouched: bool,
    /// When it is expected to be done.
    pub estimated: Option<DateTime<Utc>>,
}

/// The jobs under way for one of an organization's agents, also those that an older web app wrote.
/// Read under the agent's lock, the answer holds until the transaction ends.
///
/// # Errors
/// Database errors.
pub async fn jobs_active(
    conn: &mut PgConnection,
    organization_id: Uuid,
    agent_id: Uuid,
) -> sqlx::Result<Vec<Active>> {
    let rows = sqlx::query!(
        r#"SELECT id, type AS kind, status = 'pending' AS "waiting!",
            status = 'pending' AND attempts = 0 AS "untouched!", estimated_completion_at
        FROM jobs
        WHERE organization_id = $1 AND status IN ('pending', 'in_progress')
            AND type IN ('milady_provision', 'milady_restore', 'milady_suspend', 'milady_delete')
            AND (agent_id = $2 OR lower(data ->> 'agentId') = $2::text)
        ORDER BY created_at"#,
        organization_id,
        agent_id
    )
    .fetch_all(conn)
    .await?;
    let jobs = rows.into_iter().filter_map(|row| {
        Some(Active {
            id: row.id,
            kind: JobKind::parse(&row.kind)?,
            waiting: row.waiting,
            untouched: row.untouched,
            estimated: row.estimated_completion_at.map(|at| at.and_utc()),
        })
    });
    Ok(jobs.collect())
}

/// Ends a job that something else takes the place of, and raises its fence: whatever its worker
/// writes from now on finds no row. With `untouched_only`, only if no worker has ever taken it. False
/// if it was not there to be ended.
///
/// # Errors
/// Database errors.
pub async fn job_supersede(
    conn: &mut PgConnection,
    job_id: Uuid,
    untouched_only: bool,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE jobs SET status = 'failed', error = $3, attempts = attempts + 1, completed_at = $4,
            updated_at = $4,
            webhook_due_at = CASE WHEN webhook_url IS NOT NULL THEN $4::timestamp AT TIME ZONE 'UTC' END
        WHERE id = $1 AND status IN ('pending', 'in_progress')
            AND (NOT $2 OR status = 'pending' AND attempts = 0)",
        job_id,
        untouched_only,
        reason,
        now.naive_utc()
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends the start jobs of these agents, which are to be stopped, and raises their fences.
///
/// # Errors
/// Database errors.
pub async fn starts_supersede(
    conn: &mut PgConnection,
    agent_ids: &[Uuid],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE jobs SET status = 'failed', error = 'Superseded by a stop', attempts = attempts + 1,
            completed_at = $2, updated_at = $2,
            webhook_due_at = CASE WHEN webhook_url IS NOT NULL THEN $2::timestamp AT TIME ZONE 'UTC' END
        WHERE agent_id = ANY($1) AND status IN ('pending', 'in_progress')
            AND type IN ('milady_provision', 'milady_restore')",
        agent_ids,
        now.naive_utc()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A job of ours, as clients see it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct Job {
    pub id: Uuid,
    pub kind: String,
    pub status: String,
    pub result: Option<Value>,
    pub error: Option<String>,
    pub attempts: i32,
    pub estimated_completion_at: Option<NaiveDateTime>,
    pub scheduled_for: NaiveDateTime,
    pub started_at: Option<NaiveDateTime>,
    pub completed_at: Option<NaiveDateTime>,
    pub created_at: NaiveDateTime,
    pub updated_at: NaiveDateTime,
    pub steps: Option<Value>,
}

/// One of an organization's jobs, if it is of a kind of ours.
///
/// # Errors
/// Database errors.
pub async fn job_find(
    conn: &mut PgConnection,
    organization_id: Uuid,
    job_id: Uuid,
) -> sqlx::Result<Option<Job>> {
    sqlx::query_as!(
        Job,
        "SELECT id, type AS kind, status, result, error, attempts, estimated_completion_at,
            scheduled_for, started_at, completed_at, created_at, updated_at, steps
        FROM jobs WHERE organization_id = $1 AND id = $2
            AND type IN ('milady_provision', 'milady_restore', 'milady_suspend', 'milady_delete')",
        organization_id,
        job_id
    )
    .fetch_optional(conn)
    .await
}
