//! One attempt to hand a mail over. Owns: that the attempt is recorded before anything is sent, and what follows from each
//! outcome. No transaction is open while the provider is asked.
//!
//! Crash before the provider has the mail, and crash after: the delivery stays `sending`, and after
//! [`OUTCOME_TIMEOUT`] the sweep treats its outcome as unknown, unless feedback came. Twice at the same time: one worker
//! claims the attempt, the other finds nothing due. Provider down: the delivery is due again later.

use chrono::{DateTime, Utc};
use tracing::{error, warn};

use super::MailDeps;
use super::chain::address_next;
use super::compose::compose;
use super::render::render;
use crate::db;
use crate::db::Transaction;
use crate::db::mails::deliveries::{AttemptEnd, ClaimedDelivery};
use crate::db::mails::events::{EventRef, MailEvent, MailFacts};
use crate::domain::ids::DeliveryId;
use crate::domain::mail::{DeliveryState, MailTemplate, OUTCOME_TIMEOUT, retry_delay};
use crate::mail::{Mail, SendError};

/// What an attempt led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempted {
    /// It was not due, or another worker has it.
    NotDue,
    HandedOver,
    /// It is attempted again later, or its outcome is not known.
    Open,
    /// Nobody has the mail from this delivery. The next recipient's delivery is due, if there is one.
    Ended(Option<DeliveryId>),
}

/// Why a mail was not handed over.
enum Failed {
    Send(SendError),
    /// No attempt is worth anything: for no recipient.
    Useless(&'static str),
}

/// Attempts a delivery, and then those of the next recipients, until one takes the mail or has to wait. Returns whether one
/// took it.
pub(super) async fn attempt_chain(deps: MailDeps<'_>, id: DeliveryId) -> sqlx::Result<Attempted> {
    let mut outcome = attempt(deps, id).await?;
    while let Attempted::Ended(Some(next)) = outcome {
        outcome = attempt(deps, next).await?;
    }
    Ok(outcome)
}

async fn attempt(deps: MailDeps<'_>, id: DeliveryId) -> sqlx::Result<Attempted> {
    let mut conn = deps.pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    let claimed = db::mails::deliveries::delivery_claim_of_any_organization(
        &mut conn,
        id,
        now,
        now + OUTCOME_TIMEOUT,
    )
    .await?;
    let Some(claimed) = claimed else {
        return Ok(Attempted::NotDue);
    };
    let facts = db::mails::events::mail_facts(&mut conn, claimed.event()).await?;
    let mail = match facts {
        Some(facts) => write(deps, id, &claimed, facts, now).await?,
        None => Err(Failed::Useless("the event is gone")),
    };
    let sent = match mail {
        Ok(mail) => deps.mailer.send(&mail).await.map_err(Failed::Send),
        Err(failed) => Err(failed),
    };
    record(deps, id, &claimed, sent).await
}

/// The mail of a delivery, or why none is sent.
async fn write(
    deps: MailDeps<'_>,
    id: DeliveryId,
    claimed: &ClaimedDelivery,
    facts: MailFacts,
    now: DateTime<Utc>,
) -> sqlx::Result<Result<Mail, Failed>> {
    let Some(template) = MailTemplate::parse(&claimed.template) else {
        return Ok(Err(Failed::Useless("this version does not know the mail")));
    };
    // An operator who retries knows how old it is.
    if claimed.has_failed && now > facts.occurred_at + template.max_age() {
        return Ok(Err(Failed::Useless("the mail is too old")));
    }
    if facts.organization_name.is_none() {
        return Ok(Err(Failed::Useless("the organization is deleted")));
    }
    // The mail may have waited for days. Dunning reads no warning that no agent refers to.
    if template == MailTemplate::ShutdownScheduled && !is_shutdown_scheduled(deps, claimed).await? {
        return Ok(Err(Failed::Useless("the shutdown is no longer scheduled")));
    }
    let Some(to) = claimed.recipient.clone() else {
        return Ok(Err(Failed::Useless("there is no recipient")));
    };
    if claimed.is_suppressed {
        let reason = "the address is suppressed".to_owned();
        return Ok(Err(Failed::Send(SendError::Refused { reason })));
    }
    // From the first mail on, if another recipient or an earlier attempt has it: dunning counts from that one, too.
    let noticed_at = facts.handed_over_at.unwrap_or(now);
    let content = compose(deps.pool, template, facts, deps.app_url, Some(noticed_at)).await?;
    let Some(content) = content else {
        return Ok(Err(Failed::Useless("the event has another form")));
    };
    let Ok(rendered) = render(&content) else {
        return Ok(Err(Failed::Useless("the mail cannot be written")));
    };
    Ok(Ok(Mail {
        id,
        to,
        subject: content.subject,
        text: rendered.text,
        html: rendered.html,
    }))
}

async fn is_shutdown_scheduled(
    deps: MailDeps<'_>,
    claimed: &ClaimedDelivery,
) -> sqlx::Result<bool> {
    let mut conn = deps.pool.statements();
    db::mails::events::shutdown_is_scheduled(&mut conn, claimed.event()).await
}

async fn record(
    deps: MailDeps<'_>,
    id: DeliveryId,
    claimed: &ClaimedDelivery,
    sent: Result<Option<String>, Failed>,
) -> sqlx::Result<Attempted> {
    let mut tx = deps.pool.begin().await?;
    let event =
        db::mails::events::event_lock_of_any_organization(&mut tx, claimed.event_id).await?;
    let Some(event) = event else {
        return Ok(Attempted::Ended(None));
    };
    let now = db::clock::billing_clock(&mut tx).await?;
    let attempts = claimed.attempts;
    let end = |state: DeliveryState| AttemptEnd {
        state: state.as_str(),
        due_at: None,
        reason: None,
        provider_id: None,
    };
    let outcome = match &sent {
        Ok(provider_id) => {
            let provider_id = provider_id.as_deref();
            record_handed_over(&mut tx, event.event, id, provider_id, now).await?;
            Attempted::HandedOver
        }
        Err(Failed::Send(SendError::Unknown { reason })) => {
            warn!(delivery.id = %id, reason, "the outcome of a mail is unknown; waiting for feedback");
            db::mails::deliveries::attempt_unknown(&mut tx, event.event, id, attempts, reason, now)
                .await?;
            Attempted::Open
        }
        Err(Failed::Send(SendError::Temporary { reason })) => {
            let due_at = next_attempt(claimed, &event, now);
            let state = if due_at.is_some() {
                warn!(delivery.id = %id, attempts, reason, "a mail was not handed over; it is attempted again");
                DeliveryState::Pending
            } else {
                error!(delivery.id = %id, reason, "a mail is given up; an operator can retry it");
                DeliveryState::Failed
            };
            let end = AttemptEnd {
                due_at,
                reason: Some(reason),
                ..end(state)
            };
            db::mails::deliveries::attempt_end(&mut tx, event.event, id, attempts, end, now)
                .await?;
            if due_at.is_some() {
                Attempted::Open
            } else {
                Attempted::Ended(None)
            }
        }
        Err(Failed::Send(SendError::Refused { reason })) => {
            warn!(delivery.id = %id, reason, "a mail was refused; the next recipient is addressed");
            let end = AttemptEnd {
                reason: Some(reason),
                ..end(DeliveryState::Failed)
            };
            let ended =
                db::mails::deliveries::attempt_end(&mut tx, event.event, id, attempts, end, now)
                    .await?;
            let next = if ended {
                address_next(&mut tx, &event, now).await?
            } else {
                None
            };
            Attempted::Ended(next)
        }
        Err(Failed::Useless(reason)) => {
            warn!(delivery.id = %id, reason, "a mail is not sent");
            let end = AttemptEnd {
                reason: Some(reason),
                ..end(DeliveryState::Failed)
            };
            db::mails::deliveries::attempt_end(&mut tx, event.event, id, attempts, end, now)
                .await?;
            Attempted::Ended(None)
        }
    };
    tx.commit().await?;
    Ok(outcome)
}

/// Whatever the delivery waits for by now, the provider has the mail. Feedback that came first says more.
async fn record_handed_over(
    tx: &mut Transaction,
    event: EventRef,
    id: DeliveryId,
    provider_id: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let from = states(&[
        DeliveryState::Pending,
        DeliveryState::Sending,
        DeliveryState::Unknown,
    ]);
    let end = AttemptEnd {
        state: DeliveryState::HandedOver.as_str(),
        due_at: None,
        reason: None,
        provider_id,
    };
    let changed = db::mails::deliveries::delivery_set_state(tx, event, id, &from, end, now).await?;
    if changed {
        db::mails::events::event_handed_over(tx, event, now).await?;
    }
    Ok(())
}

/// When to attempt again what failed for now; `None` if the mail will be too old by then.
fn next_attempt(
    claimed: &ClaimedDelivery,
    event: &MailEvent,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let template = MailTemplate::parse(&claimed.template)?;
    let due_at = now + retry_delay(claimed.attempts);
    (due_at <= event.occurred_at + template.max_age()).then_some(due_at)
}

/// The names of states, for a query.
pub(super) fn states(states: &[DeliveryState]) -> Vec<String> {
    let names = states.iter().map(|state| state.as_str().to_owned());
    names.collect()
}
