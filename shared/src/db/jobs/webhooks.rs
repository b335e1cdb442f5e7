//! The webhook columns of `jobs`. Owns: claiming a due webhook, and recording each attempt to call it.

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

/// Claims a job's webhook that is due. It becomes due again at `again_at` in case the caller dies.
pub async fn webhook_claim_of_any_organization(
    conn: &mut Connection,
    job_id: JobId,
    now: DateTime<Utc>,
    again_at: DateTime<Utc>,
) -> sqlx::Result<Option<DueWebhook>> {
    sqlx::query_as!(
        DueWebhook,
        r#"UPDATE public.jobs SET webhook_attempts = coalesce(webhook_attempts, 0) + 1, webhook_due_at = $3
        WHERE id = (SELECT id FROM public.jobs WHERE id = $1 AND webhook_due_at <= $2
            FOR UPDATE SKIP LOCKED)
        RETURNING webhook_url AS "url!", webhook_secret AS secret,
            webhook_attempts AS "attempt!", type AS kind, status, result,
            completed_at AT TIME ZONE 'UTC' AS completed_at"#,
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
        "UPDATE public.jobs SET webhook_status = $3, webhook_due_at = $4,
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
