//! The webhook columns of `jobs`. Owns: claiming a due webhook, the lock and the count that decide whether there is room for
//! one more call, and recording each attempt. Does not own: which due webhooks are announced (`lanes`).

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::db::session::Connection;
use crate::domain::ids::{JobId, OrganizationId};
use crate::domain::redacted::debug_without_secrets;

/// A webhook to be called now, and what it tells of its job.
#[derive(Clone)]
pub struct DueWebhook {
    pub url: String,
    /// As it is stored: see `EncryptionKeys::decrypt_text`.
    pub secret: Option<String>,
    pub attempt: i32,
    pub kind: String,
    pub status: String,
    pub result: Option<Value>,
    pub completed_at: Option<DateTime<Utc>>,
}

debug_without_secrets!(DueWebhook: attempt, kind, status, completed_at);

/// Stores the secret that a job's webhook is signed with. It is encrypted for the job, so the job comes first.
pub async fn webhook_secret_set(
    conn: &mut Connection,
    organization_id: OrganizationId,
    job_id: JobId,
    encrypted_secret: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.jobs SET webhook_secret = $3 WHERE organization_id = $1 AND id = $2",
        organization_id.uuid(),
        job_id.uuid(),
        encrypted_secret
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The organization of a job whose webhook is due.
pub async fn webhook_due_of_any_organization(
    conn: &mut Connection,
    job_id: JobId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<OrganizationId>> {
    sqlx::query_scalar!(
        "SELECT organization_id FROM public.jobs WHERE id = $1 AND webhook_due_at <= $2",
        job_id.uuid(),
        now
    )
    .fetch_optional(conn)
    .await
}

/// Waits for other workers that claim a webhook of the organization's jobs. The lock ends with the transaction.
pub async fn webhook_calls_lock(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))")
        .bind(format!("webhook calls of {organization_id}"))
        .execute(conn)
        .await?;
    Ok(())
}

/// How many webhooks of the organization's jobs are being called.
pub async fn webhook_calls_count(
    conn: &mut Connection,
    organization_id: OrganizationId,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    // A webhook that is being called is due again later. That condition is for the index: many webhooks may be due now.
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM public.jobs
        WHERE organization_id = $1 AND webhook_due_at > $2 AND webhook_called_until > $2"#,
        organization_id.uuid(),
        now
    )
    .fetch_one(conn)
    .await
}

/// Records that there was no room to call a webhook. It stays due.
pub async fn webhook_turn_away(
    conn: &mut Connection,
    organization_id: OrganizationId,
    job_id: JobId,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.jobs SET announced_at = NULL
        WHERE organization_id = $1 AND id = $2 AND webhook_due_at IS NOT NULL",
        organization_id.uuid(),
        job_id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Claims a job's webhook that is due. It counts as being called until `again_at`, and becomes due again then, in case the
/// caller dies.
pub async fn webhook_claim(
    conn: &mut Connection,
    organization_id: OrganizationId,
    job_id: JobId,
    now: DateTime<Utc>,
    again_at: DateTime<Utc>,
) -> sqlx::Result<Option<DueWebhook>> {
    sqlx::query_as!(
        DueWebhook,
        r#"UPDATE public.jobs SET webhook_attempts = coalesce(webhook_attempts, 0) + 1, webhook_due_at = $4,
            webhook_called_until = $4, announced_at = NULL
        WHERE id = (SELECT id FROM public.jobs WHERE organization_id = $1 AND id = $2 AND webhook_due_at <= $3
            FOR UPDATE SKIP LOCKED)
        RETURNING webhook_url AS "url!", webhook_secret AS secret,
            webhook_attempts AS "attempt!", type AS kind, status, result,
            completed_at AT TIME ZONE 'UTC' AS completed_at"#,
        organization_id.uuid(),
        job_id.uuid(),
        now,
        again_at
    )
    .fetch_optional(conn)
    .await
}

/// Records how an attempt to call a webhook ended. The secret is deleted after the last attempt.
pub async fn webhook_record_result_of_any_organization(
    conn: &mut Connection,
    job_id: JobId,
    attempt: i32,
    status: &str,
    again_at: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE public.jobs SET webhook_status = $3, webhook_due_at = $4, webhook_called_until = NULL,
            webhook_secret = CASE WHEN $4::timestamptz IS NOT NULL THEN webhook_secret END
        WHERE id = $1 AND webhook_attempts = $2",
        job_id.uuid(),
        attempt,
        status,
        again_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives up webhooks that have been due since `before`, at most a thousand. Returns how many.
pub async fn webhooks_give_up_of_any_organization(
    conn: &mut Connection,
    before: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "UPDATE public.jobs SET webhook_status = 'failed', webhook_due_at = NULL, webhook_called_until = NULL,
            webhook_secret = NULL
        WHERE id IN (SELECT id FROM public.jobs WHERE webhook_due_at <= $1
            ORDER BY webhook_due_at, id LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED)",
        before
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}
