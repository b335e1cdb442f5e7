//! One attempt to send an event to a webhook. Owns: that the attempt is recorded before anything is sent, and what follows
//! from its outcome. No transaction is open while the receiver is called.
//!
//! Crash before the call, and crash after: nobody calls the webhook for [`CLAIM_TIMEOUT`]; then the event is sent again, with
//! the same identifier. Twice at the same time: one worker has the webhook, the other finds that it is not due. Receiver down:
//! the webhook is left alone for a while.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tracing::warn;

use super::WebhookDeps;
use super::message::{event_body, slack_body};
use super::send::{SendError, SendErrorReason, send};
use crate::app::mail::compose::compose;
use crate::db;
use crate::db::requests::outbox::NewEvents;
use crate::db::webhooks::deliveries::PendingDelivery;
use crate::db::webhooks::registered::{DueWebhook, WebhookTarget};
use crate::db::{Connection, Database};
use crate::domain::mail::MailTemplate;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::{FailureSeries, GIVE_UP_AFTER, WebhookKind, WebhookRef};

/// How long a worker may take for an attempt: the call's ten seconds, with the statements around it.
const CLAIM_TIMEOUT: TimeDelta = TimeDelta::minutes(1);

/// What an attempt led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempted {
    /// There was nothing to send, or another worker has the webhook.
    NotDue,
    Delivered,
    /// It is attempted again later, unless the webhook is switched off.
    Failed,
}

/// An attempt of this worker.
struct Claimed {
    /// Its number, the fence.
    number: i32,
    webhook: DueWebhook,
    delivery: PendingDelivery,
    at: DateTime<Utc>,
}

/// Sends the next event to a webhook, if it may be called.
pub(super) async fn attempt(
    deps: WebhookDeps<'_>,
    app_url: &str,
    webhook: WebhookRef,
) -> sqlx::Result<Attempted> {
    let Some(claimed) = claim(deps.pool, webhook).await? else {
        return Ok(Attempted::NotDue);
    };
    let sent = match body(deps.pool, app_url, webhook, &claimed.delivery).await? {
        Some(body) => {
            let target = WebhookTarget {
                url: claimed.webhook.url.clone(),
                secret: claimed.webhook.secret.clone(),
            };
            send(deps, webhook, &target, &body, claimed.at).await
        }
        None => Err(SendErrorReason::UnknownEvent.into()),
    };
    record(deps.pool, webhook, &claimed, sent).await
}

async fn claim(pool: &Database, webhook: WebhookRef) -> sqlx::Result<Option<Claimed>> {
    let mut tx = pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let due = db::webhooks::registered::webhook_lock_due(&mut tx, webhook, now).await?;
    let Some(due) = due else {
        return Ok(None);
    };
    // Read under the lock: whoever had the webhook before may just have ended the delivery that was next.
    let Some(delivery) = db::webhooks::deliveries::delivery_next(&mut tx, webhook).await? else {
        return Ok(None);
    };
    let again_at = now + CLAIM_TIMEOUT;
    db::webhooks::registered::attempt_begin(&mut tx, webhook, delivery.id, again_at).await?;
    tx.commit().await?;
    Ok(Some(Claimed {
        number: due.attempts + 1,
        webhook: due,
        delivery,
        at: now,
    }))
}

/// What the webhook is sent; `None` if this version cannot write it.
async fn body(
    pool: &Database,
    app_url: &str,
    webhook: WebhookRef,
    delivery: &PendingDelivery,
) -> sqlx::Result<Option<String>> {
    let mut conn = pool.statements();
    let facts = db::mails::events::mail_facts(&mut conn, delivery.event()).await?;
    let (Some(facts), Some(template)) = (facts, MailTemplate::parse(&delivery.template)) else {
        return Ok(None);
    };
    match webhook.kind {
        WebhookKind::Webhook => Ok(Some(event_body(
            webhook,
            delivery.id,
            template.as_str(),
            facts.occurred_at,
            &facts.payload,
        ))),
        WebhookKind::Slack => {
            let content = compose(pool, template, facts, app_url, None).await?;
            Ok(content.as_ref().map(slack_body))
        }
    }
}

async fn record(
    pool: &Database,
    webhook: WebhookRef,
    claimed: &Claimed,
    sent: Result<u16, SendError>,
) -> sqlx::Result<Attempted> {
    let mut tx = pool.begin().await?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let outcome = match sent {
        Ok(_) => {
            let is_last =
                db::webhooks::registered::attempt_succeeded(&mut tx, webhook, claimed.number, now)
                    .await?;
            if !is_last {
                return Ok(Attempted::NotDue);
            }
            let id = claimed.delivery.id;
            db::webhooks::deliveries::delivery_end(&mut tx, webhook, id, "delivered").await?;
            Attempted::Delivered
        }
        Err(error) => {
            if !record_failure(&mut tx, webhook, claimed, &error, now).await? {
                return Ok(Attempted::NotDue);
            }
            Attempted::Failed
        }
    };
    tx.commit().await?;
    Ok(outcome)
}

/// Returns whether the attempt still is the last one.
async fn record_failure(
    conn: &mut Connection,
    webhook: WebhookRef,
    claimed: &Claimed,
    error: &SendError,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let before = &claimed.webhook;
    let status = error.reason().status();
    let series = FailureSeries::after_failure(before.failures, before.failing_since, status, now);
    let reason = error.to_string();
    let is_last = db::webhooks::registered::attempt_failed(
        conn,
        webhook,
        claimed.number,
        series,
        &reason,
        now,
    )
    .await?;
    if !is_last {
        return Ok(false);
    }
    let (organization_id, kind) = (webhook.organization_id, webhook.kind.as_str());
    let consequence = if series.switches_off {
        "it is switched off"
    } else {
        "it is called again later"
    };
    let cause = error.cause();
    warn!(
        organization.id = %organization_id, delivery.id = %claimed.delivery.id, kind, failures = series.failures,
        %error, cause, "a webhook of organization {organization_id} failed: {error}; {consequence}"
    );
    if series.switches_off {
        db::webhooks::deliveries::deliveries_give_up(conn, webhook).await?;
        tell_owner(conn, webhook, series, &reason, now).await?;
    } else if now >= claimed.delivery.occurred_at + GIVE_UP_AFTER {
        let id = claimed.delivery.id;
        db::webhooks::deliveries::delivery_end(conn, webhook, id, "failed").await?;
    }
    Ok(true)
}

/// Writes the event of which the owner is mailed.
async fn tell_owner(
    conn: &mut Connection,
    webhook: WebhookRef,
    series: FailureSeries,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let WebhookRef {
        organization_id,
        kind,
    } = webhook;
    let event_type = MailTemplate::WebhookSwitchedOff.as_str();
    let (kind, micros) = (kind.as_str(), now.timestamp_micros());
    let event = NewEvents {
        keys: vec![format!("{event_type}:{organization_id}:{kind}:{micros}")],
        types: vec![event_type.to_owned()],
        organization_ids: vec![organization_id],
        payloads: vec![json!({
            "webhook": kind, "failingSince": Timestamp(series.since), "reason": reason,
        })],
    };
    db::requests::outbox::outbox_append(conn, &event, now).await
}
