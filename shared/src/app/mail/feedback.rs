//! What SES reports about a mail that it took. Owns: which report changes which delivery, and what follows for the event
//! and its recipients. Reports come late, twice and in any order.
//!
//! Crash before the commit: the report's invocation fails and is repeated. Crash after, before the next recipient's
//! attempt: the sweep finds the delivery.

use super::MailDeps;
use super::attempt::{attempt_chain, states};
use super::chain::address_next;
use crate::db;
use crate::db::Transaction;
use crate::db::mails::deliveries::{AttemptEnd, DeliveryRecord};
use crate::db::mails::events::MailEvent;
use crate::domain::ids::DeliveryId;
use crate::domain::mail::DeliveryState;

/// A report about one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    pub delivery_id: DeliveryId,
    /// SES's own identifier of the mail.
    pub provider_id: Option<String>,
    pub kind: FeedbackKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedbackKind {
    /// SES has taken the mail.
    Sent,
    /// The recipient's server has taken the mail.
    Delivered,
    Bounced {
        /// Whether the address is dead. A full mailbox is not.
        is_permanent: bool,
    },
    /// The recipient has the mail and called it spam.
    Complained,
    /// SES has found something harmful in the mail after it had taken it.
    Rejected,
}

impl FeedbackKind {
    fn state(self) -> DeliveryState {
        match self {
            Self::Sent => DeliveryState::HandedOver,
            Self::Delivered => DeliveryState::Delivered,
            Self::Bounced { .. } => DeliveryState::Bounced,
            Self::Complained => DeliveryState::Complained,
            Self::Rejected => DeliveryState::Failed,
        }
    }

    /// The states that the report changes: a later one is never replaced by an earlier one.
    fn changes(self) -> Vec<String> {
        let mut from = vec![
            DeliveryState::Pending,
            DeliveryState::Sending,
            DeliveryState::Unknown,
        ];
        if self != Self::Sent {
            from.push(DeliveryState::HandedOver);
        }
        if matches!(self, Self::Bounced { .. } | Self::Complained) {
            from.push(DeliveryState::Delivered);
        }
        states(&from)
    }

    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Sent | Self::Delivered => None,
            Self::Bounced { is_permanent: true } => Some("bounced for good"),
            Self::Bounced {
                is_permanent: false,
            } => Some("bounced for now"),
            Self::Complained => Some("called spam"),
            Self::Rejected => Some("rejected by SES"),
        }
    }

    /// Whether nobody has the mail from this delivery.
    fn is_loss(self) -> bool {
        matches!(self, Self::Bounced { .. } | Self::Rejected)
    }

    fn suppresses(self) -> bool {
        matches!(
            self,
            Self::Bounced { is_permanent: true } | Self::Complained
        )
    }
}

/// Records a report, and addresses the next recipient if the mail is lost. Returns whether it changed anything: a report
/// about somebody else's mail does not.
pub async fn feedback_record(deps: MailDeps<'_>, feedback: &Feedback) -> sqlx::Result<bool> {
    let mut conn = deps.pool.statements();
    let found =
        db::mails::deliveries::delivery_find_of_any_organization(&mut conn, feedback.delivery_id)
            .await?;
    let Some(delivery) = found else {
        return Ok(false);
    };
    let mut tx = deps.pool.begin().await?;
    let event =
        db::mails::events::event_lock_of_any_organization(&mut tx, delivery.event_id).await?;
    let Some(event) = event else {
        return Ok(false);
    };
    let (changed, next) = apply(&mut tx, &event, &delivery, feedback).await?;
    tx.commit().await?;
    if let Some(next) = next {
        attempt_chain(deps, next).await?;
    }
    Ok(changed)
}

async fn apply(
    tx: &mut Transaction,
    event: &MailEvent,
    delivery: &DeliveryRecord,
    feedback: &Feedback,
) -> sqlx::Result<(bool, Option<DeliveryId>)> {
    let kind = feedback.kind;
    let now = db::clock::billing_clock(tx).await?;
    let end = AttemptEnd {
        state: kind.state().as_str(),
        due_at: None,
        reason: kind.reason(),
        provider_id: feedback.provider_id.as_deref(),
    };
    let changed = db::mails::deliveries::delivery_set_state(
        tx,
        event.event,
        delivery.id,
        &kind.changes(),
        end,
        now,
    )
    .await?;
    if !changed {
        return Ok((false, None));
    }
    if kind.suppresses()
        && let Some(recipient) = &delivery.recipient
    {
        let reason = end.reason.unwrap_or_default();
        let organization_id = event.event.organization_id;
        db::mails::recipients::address_suppress(tx, organization_id, recipient, reason, now)
            .await?;
    }
    if !kind.is_loss() {
        db::mails::events::event_handed_over(tx, event.event, now).await?;
        return Ok((true, None));
    }
    db::mails::events::event_not_handed_over(tx, event.event).await?;
    let next = address_next(tx, event, now).await?;
    Ok((true, next))
}
