//! An event that leads to a mail. Owns: that its first recipient is addressed once, however often the event arrives.
//!
//! Crash before the delivery is committed: the sweep finds the event without one. Crash after: the sweep finds the delivery.
//! Twice: the second finds the delivery. Database down: the event's invocation fails and is repeated, and the sweep follows.

use super::MailDeps;
use super::attempt::{Attempted, attempt_chain};
use super::chain::address_next;
use crate::db;
use crate::domain::ids::DeliveryId;
use crate::domain::mail::{DeliveryState, MailTemplate};

/// Addresses the recipients of an event's mail. Returns whether one of them got it now.
pub async fn mail_event(deps: MailDeps<'_>, event_id: i64) -> sqlx::Result<bool> {
    let Some(id) = open_delivery(deps, event_id).await? else {
        return Ok(false);
    };
    Ok(attempt_chain(deps, id).await? == Attempted::HandedOver)
}

/// The delivery to attempt, opened now or earlier; `None` if the event leads to no mail, or if its mail is settled.
async fn open_delivery(deps: MailDeps<'_>, event_id: i64) -> sqlx::Result<Option<DeliveryId>> {
    let mut tx = deps.pool.begin().await?;
    let event = db::mails::events::event_lock_of_any_organization(&mut tx, event_id).await?;
    let Some(event) = event.filter(|event| !event.is_settled) else {
        return Ok(None);
    };
    if MailTemplate::parse(&event.kind).is_none() {
        return Ok(None);
    }
    let deliveries = db::mails::deliveries::deliveries_of_event(&mut tx, event.event).await?;
    let id = if deliveries.is_empty() {
        let now = db::clock::billing_clock(&mut tx).await?;
        address_next(&mut tx, &event, now).await?
    } else {
        // Its attempt finds out whether it is due.
        let mut pending = deliveries.iter();
        pending
            .find(|delivery| delivery.state == DeliveryState::Pending.as_str())
            .map(|delivery| delivery.id)
    };
    tx.commit().await?;
    Ok(id)
}
