//! `jobs` as workers see them. Owns: claiming, the fence (the number of the attempt: who holds an
//! older one writes nothing), and what is due, stale or to be told of.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::job::JobKind;

/// A job in a worker's hands.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Which.
    pub id: Uuid,
    /// What it does.
    pub kind: JobKind,
    /// For whom.
    pub organization_id: Uuid,
    /// To which agent; none where an older web app's row names none.
    pub agent_id: Option<Uuid>,
    /// The organization has this agent.
    pub agent_known: bool,
    /// The state to give it, for a restore.
    pub backup_id: Option<Uuid>,
    /// Only what a failed start has left is to be removed; the agent stays in error.
    pub cleanup: bool,
    /// The number of this try: the fence.
    pub attempt: i32,
}

/// Takes a job that is due, unless another worker has it or is taking it.
///
/// # Errors
/// Database errors.
pub async fn job_claim(
    conn: &mut PgConnection,
    job_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Claimed>> {
    let row = sqlx::query!(
        r#"UPDATE jobs SET status = 'in_progress', attempts = attempts + 1,
            started_at = coalesce(started_at, $2), updated_at = $2
        WHERE id = (
            SELECT id FROM jobs WHERE id = $1 AND status = 'pending' AND scheduled_for <= $2
                AND type IN
                    ('milady_provision', 'milady_restore', 'milady_suspend', 'milady_delete')
            FOR UPDATE SKIP LOCKED)
        RETURNING id, type AS kind, organization_id, agent_id, attempts,
            data ->> 'agentId' AS named_agent, data ->> 'backupId' AS backup,
            data ->> 'reason' AS reason,
            EXISTS (SELECT FROM milady_sandboxes a
                WHERE a.organization_id = jobs.organization_id
                    AND a.id::text = lower(coalesce(jobs.agent_id::text, jobs.data ->> 'agentId')))
                AS "agent_known!""#,
        job_id,
        now.naive_utc()
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let parsed = |text: Option<String>| text.and_then(|text| text.parse().ok());
    Ok(JobKind::parse(&row.kind).map(|kind| Claimed {
        id: row.id,
        kind,
        organization_id: row.organization_id,
        agent_id: row.agent_id.or_else(|| parsed(row.named_agent)),
        agent_known: row.agent_known,
        backup_id: parsed(row.backup),
        cleanup: row.reason.as_deref() == Some("cleanup"),
        attempt: row.attempts,
    }))
}

/// Notes the agent of a job that an older web app wrote, so that the one-start index covers it. False
/// if another start job is under way for the agent.
///
/// # Errors
/// Database errors.
pub async fn job_adopt(
    conn: &mut PgConnection,
    job_id: Uuid,
    agent_id: Uuid,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE jobs j SET agent_id = $2 WHERE j.id = $1 AND NOT EXISTS (
            SELECT FROM jobs other WHERE other.agent_id = $2 AND other.id <> $1
                AND other.status IN ('pending', 'in_progress')
                AND (other.type IN ('milady_provision', 'milady_restore'))
                    = (j.type IN ('milady_provision', 'milady_restore'))
                AND other.type IN
                    ('milady_provision', 'milady_restore', 'milady_suspend', 'milady_delete'))",
        job_id,
        agent_id
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What a worker writes of its job.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// `in_progress`, `pending` (to be tried again), `completed` or `failed`.
    pub status: &'static str,
    /// What was done; none = as it was.
    pub steps: Option<&'a Value>,
    /// What came of it.
    pub result: Option<&'a Value>,
    /// Why it failed; none = nothing failed.
    pub error: Option<&'a str>,
    /// When it is tried again.
    pub again_at: Option<DateTime<Utc>>,
}

/// Writes it, if the worker still holds the job. False if it does not: then nothing it does counts.
///
/// # Errors
/// Database errors.
pub async fn job_write(
    conn: &mut PgConnection,
    (job_id, fence): (Uuid, i32),
    progress: &Progress<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE jobs SET status = $3, steps = coalesce($4, steps), result = $5, error = $6,
            scheduled_for = coalesce($7, scheduled_for), updated_at = $8,
            completed_at = CASE WHEN $3 IN ('completed', 'failed') THEN $8::timestamp END,
            webhook_due_at = CASE WHEN $3 IN ('completed', 'failed') AND webhook_url IS NOT NULL
                THEN $8::timestamp AT TIME ZONE 'UTC' END
        WHERE id = $1 AND attempts = $2 AND status = 'in_progress'",
        job_id,
        fence,
        progress.status,
        progress.steps,
        progress.result,
        progress.error,
        progress.again_at.map(|at| at.naive_utc()),
        now.naive_utc()
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Jobs in some worker's hands that have shown no progress since `before`, the longest first.
///
/// # Errors
/// Database errors.
pub async fn jobs_stale(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
) -> sqlx::Result<Vec<Claimed>> {
    let rows = sqlx::query!(
        r#"SELECT id, type AS kind, organization_id, agent_id, attempts,
            data ->> 'agentId' AS named_agent
        FROM jobs WHERE status = 'in_progress' AND updated_at < $1
            AND type IN ('milady_provision', 'milady_restore', 'milady_suspend', 'milady_delete')
        ORDER BY updated_at LIMIT 200"#,
        before.naive_utc()
    )
    .fetch_all(conn)
    .await?;
    let jobs = rows.into_iter().filter_map(|row| {
        let named = row.named_agent.and_then(|text| text.parse().ok());
        Some(Claimed {
            id: row.id,
            kind: JobKind::parse(&row.kind)?,
            organization_id: row.organization_id,
            agent_id: row.agent_id.or(named),
            agent_known: true,
            backup_id: None,
            cleanup: false,
            attempt: row.attempts,
        })
    });
    Ok(jobs.collect())
}

/// Jobs that are due, and finished ones whose webhook is, the oldest first, a thousand at most.
///
/// # Errors
/// Database errors.
pub async fn jobs_due(conn: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"(SELECT id AS "id!" FROM jobs WHERE status = 'pending' AND scheduled_for <= $1
            AND type IN ('milady_provision', 'milady_restore', 'milady_suspend', 'milady_delete')
            ORDER BY scheduled_for LIMIT 800)
        UNION ALL
        (SELECT id FROM jobs WHERE webhook_due_at <= $2 ORDER BY webhook_due_at LIMIT 200)"#,
        now.naive_utc(),
        now
    )
    .fetch_all(conn)
    .await
}

/// A webhook that is to be called now.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct DueWebhook {
    pub url: String,
    pub secret: Option<String>,
    /// The number of this try.
    pub attempt: i32,
    pub kind: String,
    pub status: String,
    pub result: Option<Value>,
    pub completed_at: Option<DateTime<Utc>>,
}

/// Takes a job's webhook that is due, and sets it due again at `again_at` should its caller die.
///
/// # Errors
/// Database errors.
pub async fn webhook_claim(
    conn: &mut PgConnection,
    job_id: Uuid,
    now: DateTime<Utc>,
    again_at: DateTime<Utc>,
) -> sqlx::Result<Option<DueWebhook>> {
    sqlx::query_as!(
        DueWebhook,
        r#"UPDATE jobs SET webhook_attempts = coalesce(webhook_attempts, 0) + 1, webhook_due_at = $3
        WHERE id = (SELECT id FROM jobs WHERE id = $1 AND webhook_due_at <= $2
            FOR UPDATE SKIP LOCKED)
        RETURNING webhook_url AS "url!", webhook_secret AS secret,
            webhook_attempts AS "attempt!", type AS kind, status, result,
            completed_at AT TIME ZONE 'UTC' AS completed_at"#,
        job_id,
        now,
        again_at
    )
    .fetch_optional(conn)
    .await
}

/// Records how a try to call a webhook ended. Afterwards nobody needs its secret.
///
/// # Errors
/// Database errors.
pub async fn webhook_settle(
    conn: &mut PgConnection,
    job_id: Uuid,
    attempt: i32,
    status: &str,
    again_at: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE jobs SET webhook_status = $3, webhook_due_at = $4,
            webhook_secret = CASE WHEN $4::timestamptz IS NOT NULL THEN webhook_secret END
        WHERE id = $1 AND webhook_attempts = $2",
        job_id,
        attempt,
        status,
        again_at
    )
    .execute(conn)
    .await?;
    Ok(())
}
