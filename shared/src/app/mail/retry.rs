//! An operator has a mail sent again. Owns: that the audit log says so, in the same transaction. The next sweep sends it.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::attempt::states;
use super::chain::address_next;
use crate::app::error::RequestError;
use crate::db;
use crate::db::mails::deliveries::{AttemptEnd, DeliveryRecord};
use crate::db::mails::events::MailEvent;
use crate::db::requests::audit_log::AuditEntry;
use crate::db::{Connection, Database};
use crate::domain::agent::StatusConflict;
use crate::domain::ids::{DeliveryId, UserId};
use crate::domain::mail::{DeliveryState, MailTemplate};

const NOT_FOUND: RequestError = RequestError::NotFound("Mail not found");
const UNDER_WAY: StatusConflict =
    StatusConflict("The mail is under way, or its recipient has it already");
const OUTDATED: StatusConflict =
    StatusConflict("The shutdown that the mail announces is not scheduled any more");
const NOBODY: StatusConflict =
    StatusConflict("There is still nobody to address; the owner has to set an address first");

/// Makes a delivery due again. Its address is not suppressed for the organization any more. For an event that reached
/// nobody, the chain is looked at again. Returns the delivery that is due.
///
/// # Errors
/// [`RequestError::NotFound`]; [`RequestError::StatusConflict`] if the mail is under way or was handed over, if it would
/// announce a shutdown that is off, or if there is still nobody to address.
pub async fn mail_retry(
    pool: &Database,
    admin_id: UserId,
    id: DeliveryId,
) -> Result<DeliveryRecord, RequestError> {
    let mut conn = pool.statements();
    let found = db::mails::deliveries::delivery_find_of_any_organization(&mut conn, id).await?;
    let event_id = found.ok_or(NOT_FOUND)?.event_id;
    let mut tx = pool.begin().await?;
    let event = db::mails::events::event_lock_of_any_organization(&mut tx, event_id).await?;
    let event = event.ok_or(NOT_FOUND)?;
    // Read again under the lock.
    let found = db::mails::deliveries::delivery_find_of_any_organization(&mut tx, id).await?;
    let delivery = found.ok_or(NOT_FOUND)?;
    let now = db::clock::billing_clock(&mut tx).await?;
    let due_id = make_due(&mut tx, &event, &delivery, now).await?;
    let action = AuditEntry {
        user_id: admin_id,
        action: "mail.retry",
        subject: &id.to_string(),
        details: json!({
            "organizationId": delivery.organization_id, "template": delivery.template, "state": delivery.state,
        }),
        result: "due",
    };
    db::requests::audit_log::audit_append(&mut tx, &action, now).await?;
    let due = db::mails::deliveries::delivery_find_of_any_organization(&mut tx, due_id).await?;
    tx.commit().await?;
    due.ok_or(NOT_FOUND)
}

async fn make_due(
    conn: &mut Connection,
    event: &MailEvent,
    delivery: &DeliveryRecord,
    now: DateTime<Utc>,
) -> Result<DeliveryId, RequestError> {
    let state = DeliveryState::parse(&delivery.state);
    let is_settled = delivery.due_at.is_none();
    if !is_settled || !state.is_some_and(DeliveryState::allows_retry) {
        return Err(UNDER_WAY.into());
    }
    if MailTemplate::parse(&delivery.template) == Some(MailTemplate::ShutdownScheduled)
        && !db::mails::events::shutdown_is_scheduled(conn, event.event).await?
    {
        return Err(OUTDATED.into());
    }
    db::mails::deliveries::undeliverable_delete(conn, event.event).await?;
    db::mails::events::event_not_handed_over(conn, event.event).await?;
    let Some(recipient) = &delivery.recipient else {
        let next = address_next(conn, event, now).await?;
        return Ok(next.ok_or(NOBODY)?);
    };
    db::mails::recipients::address_allow(conn, event.event.organization_id, recipient).await?;
    let end = AttemptEnd {
        state: DeliveryState::Pending.as_str(),
        due_at: Some(now),
        reason: None,
        provider_id: None,
    };
    let from = states(&[
        DeliveryState::Bounced,
        DeliveryState::Complained,
        DeliveryState::Unknown,
        DeliveryState::Failed,
    ]);
    db::mails::deliveries::delivery_set_state(conn, event.event, delivery.id, &from, end, now)
        .await?;
    Ok(delivery.id)
}
