//! `organization_webhooks`. Owns: that an organization has at most one webhook of each kind, and that one worker at a time
//! is at a webhook: a worker whose attempt is not the last one any more changes nothing.

use chrono::{DateTime, Utc};

use crate::db::session::Connection;
use crate::domain::ids::{OrganizationId, UserId, WebhookDeliveryId};
use crate::domain::redacted::debug_without_secrets;
use crate::domain::webhook::{FailureSeries, WebhookKind, WebhookRef};

/// A webhook as the settings show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredWebhook {
    pub kind: String,
    /// What may be shown of it.
    pub url: String,
    /// Since when every attempt has failed; `None` if the last one succeeded.
    pub failing_since: Option<DateTime<Utc>>,
    pub reason: Option<String>,
    pub switched_off_at: Option<DateTime<Utc>>,
}

/// The webhooks of an organization.
pub async fn webhooks_of(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> sqlx::Result<Vec<RegisteredWebhook>> {
    sqlx::query_as!(
        RegisteredWebhook,
        "SELECT kind, url, failing_since, reason, switched_off_at FROM cloud.organization_webhooks
        WHERE organization_id = $1 ORDER BY kind",
        organization_id.uuid()
    )
    .fetch_all(conn)
    .await
}

/// What a webhook is called with.
#[derive(Clone)]
pub struct WebhookTarget {
    /// As [`RegisteredWebhook::url`].
    pub url: String,
    /// As it is stored: see `EncryptionKeys::decrypt_text`.
    pub secret: String,
}

debug_without_secrets!(WebhookTarget: url);

pub async fn webhook_find(
    conn: &mut Connection,
    webhook: WebhookRef,
) -> sqlx::Result<Option<WebhookTarget>> {
    sqlx::query_as!(
        WebhookTarget,
        "SELECT url, secret FROM cloud.organization_webhooks WHERE organization_id = $1 AND kind = $2",
        webhook.organization_id.uuid(),
        webhook.kind.as_str()
    )
    .fetch_optional(conn)
    .await
}

/// Registers a webhook, or replaces what it is called with. It is switched on, and an attempt that is under way records
/// nothing. Events from before are not sent, except those that are pending.
pub async fn webhook_set(
    conn: &mut Connection,
    webhook: WebhookRef,
    target: &WebhookTarget,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.organization_webhooks AS w
            (organization_id, kind, url, secret, due_at, active_since, updated_by)
        VALUES ($1, $2, $3, $4, $6, $6, $5)
        ON CONFLICT (organization_id, kind) DO UPDATE SET url = excluded.url, secret = excluded.secret,
            attempts = w.attempts + 1, failures = 0, failing_since = NULL, reason = NULL,
            due_at = excluded.due_at,
            active_since = CASE WHEN w.switched_off_at IS NULL THEN w.active_since ELSE excluded.active_since END,
            switched_off_at = NULL, updated_by = excluded.updated_by",
        webhook.organization_id.uuid(),
        webhook.kind.as_str(),
        target.url,
        target.secret,
        user_id.uuid(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes a webhook, with what is pending for it.
pub async fn webhook_remove(conn: &mut Connection, webhook: WebhookRef) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH pending AS (
            DELETE FROM cloud.webhook_deliveries
            WHERE organization_id = $1 AND kind = $2 AND state = 'pending')
        DELETE FROM cloud.organization_webhooks WHERE organization_id = $1 AND kind = $2",
        webhook.organization_id.uuid(),
        webhook.kind.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes the webhooks of organizations that are gone, with their secrets.
pub async fn webhooks_forget_of_any_organization(conn: &mut Connection) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.organization_webhooks w
        WHERE NOT EXISTS (SELECT FROM public.organizations o WHERE o.id = w.organization_id)"
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Webhooks for which something is pending and which may be called now, those that have waited longest first; only of
/// this organization, if there is one.
pub async fn webhooks_due_of_any_organization(
    conn: &mut Connection,
    organization_id: Option<OrganizationId>,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<WebhookRef>> {
    let rows = sqlx::query!(
        "SELECT w.organization_id, w.kind FROM cloud.organization_webhooks w
        WHERE w.switched_off_at IS NULL AND w.due_at <= $2 AND ($1::uuid IS NULL OR w.organization_id = $1)
            AND EXISTS (SELECT FROM cloud.webhook_deliveries d
                WHERE d.organization_id = w.organization_id AND d.kind = w.kind AND d.state = 'pending')
        ORDER BY w.due_at, w.organization_id, w.kind LIMIT $3",
        organization_id.map(OrganizationId::uuid),
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    let webhooks = rows.into_iter().filter_map(|row| {
        Some(WebhookRef {
            organization_id: row.organization_id,
            kind: WebhookKind::parse(&row.kind)?,
        })
    });
    Ok(webhooks.collect())
}

/// A webhook that may be called now, and that the caller has locked.
#[derive(Clone)]
pub struct DueWebhook {
    pub url: String,
    /// As it is stored: see `EncryptionKeys::decrypt_text`.
    pub secret: String,
    pub attempts: i32,
    pub failures: i32,
    pub failing_since: Option<DateTime<Utc>>,
}

debug_without_secrets!(DueWebhook: url, attempts, failures, failing_since);

/// Locks a webhook that may be called now. `None` also if another worker holds the lock.
pub async fn webhook_lock_due(
    conn: &mut Connection,
    webhook: WebhookRef,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DueWebhook>> {
    sqlx::query_as!(
        DueWebhook,
        "SELECT url, secret, attempts, failures, failing_since FROM cloud.organization_webhooks
        WHERE organization_id = $1 AND kind = $2 AND switched_off_at IS NULL AND due_at <= $3
        FOR NO KEY UPDATE SKIP LOCKED",
        webhook.organization_id.uuid(),
        webhook.kind.as_str(),
        now
    )
    .fetch_optional(conn)
    .await
}

/// Begins an attempt: of the webhook, which the caller has locked, and of a delivery. Nobody else calls the webhook before
/// `again_at`.
pub async fn attempt_begin(
    conn: &mut Connection,
    webhook: WebhookRef,
    id: WebhookDeliveryId,
    again_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH delivery AS (
            UPDATE cloud.webhook_deliveries SET attempts = attempts + 1 WHERE id = $3 AND organization_id = $1)
        UPDATE cloud.organization_webhooks SET attempts = attempts + 1, due_at = $4
        WHERE organization_id = $1 AND kind = $2",
        webhook.organization_id.uuid(),
        webhook.kind.as_str(),
        id.uuid(),
        again_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that an attempt succeeded. Returns whether it is still the last one.
pub async fn attempt_succeeded(
    conn: &mut Connection,
    webhook: WebhookRef,
    attempt: i32,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE cloud.organization_webhooks
        SET failures = 0, failing_since = NULL, reason = NULL, due_at = $4
        WHERE organization_id = $1 AND kind = $2 AND attempts = $3",
        webhook.organization_id.uuid(),
        webhook.kind.as_str(),
        attempt,
        now
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// Records that an attempt failed, and switches the webhook off if the series says so. Returns whether it is still the last
/// one.
pub async fn attempt_failed(
    conn: &mut Connection,
    webhook: WebhookRef,
    attempt: i32,
    series: FailureSeries,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE cloud.organization_webhooks
        SET failures = $4, failing_since = $5, due_at = $6, reason = $7,
            switched_off_at = CASE WHEN $8 THEN $9::timestamptz END
        WHERE organization_id = $1 AND kind = $2 AND attempts = $3 AND switched_off_at IS NULL",
        webhook.organization_id.uuid(),
        webhook.kind.as_str(),
        attempt,
        series.failures,
        series.since,
        series.due_at,
        reason,
        series.switches_off,
        now
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// Begins a test of a webhook, unless there was one after `since`. Returns the identifier of its message.
pub async fn test_begin(
    conn: &mut Connection,
    webhook: WebhookRef,
    now: DateTime<Utc>,
    since: DateTime<Utc>,
) -> sqlx::Result<Option<WebhookDeliveryId>> {
    sqlx::query_scalar!(
        r#"UPDATE cloud.organization_webhooks SET tested_at = $3
        WHERE organization_id = $1 AND kind = $2 AND (tested_at IS NULL OR tested_at <= $4)
        RETURNING pg_catalog.gen_random_uuid() AS "id!: WebhookDeliveryId""#,
        webhook.organization_id.uuid(),
        webhook.kind.as_str(),
        now,
        since
    )
    .fetch_optional(conn)
    .await
}

/// Switches a webhook on and ends its failures, after a test that succeeded. What became pending while it was on is sent.
pub async fn webhook_switch_on(
    conn: &mut Connection,
    webhook: WebhookRef,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.organization_webhooks SET failures = 0, failing_since = NULL, reason = NULL,
            due_at = CASE WHEN failures > 0 THEN $3 ELSE due_at END,
            active_since = CASE WHEN switched_off_at IS NULL THEN active_since ELSE $3 END, switched_off_at = NULL
        WHERE organization_id = $1 AND kind = $2",
        webhook.organization_id.uuid(),
        webhook.kind.as_str(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
