//! The sweep of the mails, once a minute. Owns: that no event and no delivery is forgotten. Two at the same time do no harm:
//! an attempt is claimed.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tracing::warn;

use super::MailDeps;
use super::attempt::{Attempted, attempt_chain};
use super::notify::mail_event;
use crate::db;
use crate::domain::ids::DeliveryId;
use crate::domain::mail::{MailTemplate, UnknownOutcome};

/// No attempt begins later: the longest one takes as long as the provider may be silent, with the statements around it.
const SWEEP_TIME: Duration = Duration::from_secs(25);
/// After this many attempts in a row that were in vain, the provider is left alone until the next sweep.
const MAX_VAIN_ATTEMPTS: usize = 3;
/// Deliveries hold addresses, so they are not kept for ever.
const KEPT_FOR: TimeDelta = TimeDelta::days(90);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailSweep {
    /// Mails that the provider took.
    pub handed_over: usize,
    /// Attempts whose outcome stayed unknown for too long.
    pub settled: u64,
    /// Old deliveries that were deleted.
    pub deleted: u64,
    /// Events of the last day of which nobody could be told.
    pub undeliverable: usize,
    /// How long the oldest mail has waited that is not settled.
    pub oldest_wait: TimeDelta,
    /// Billing's clock.
    pub at: DateTime<Utc>,
}

/// Does all that is due, as far as there is time. What is left is due in the next sweep.
pub async fn mail_sweep(deps: MailDeps<'_>) -> sqlx::Result<MailSweep> {
    let started = Instant::now();
    let mut conn = deps.pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    db::mails::recipients::suppressed_addresses_forget_of_any_organization(&mut conn).await?;
    let sent_again = MailTemplate::sent_again();
    let mut report = MailSweep {
        settled: db::mails::deliveries::unknown_outcomes_settle_of_any_organization(
            &mut conn,
            &sent_again,
            now,
        )
        .await?,
        deleted: db::mails::deliveries::old_deliveries_delete_of_any_organization(
            &mut conn,
            now - KEPT_FOR,
        )
        .await?,
        handed_over: 0,
        undeliverable: 0,
        oldest_wait: TimeDelta::zero(),
        at: now,
    };
    for event_id in unaddressed_events(deps, now).await? {
        if started.elapsed() > SWEEP_TIME {
            break;
        }
        report.handed_over += usize::from(mail_event(deps, event_id).await?);
    }
    let due = db::mails::deliveries::deliveries_due_of_any_organization(&mut conn, now).await?;
    report.handed_over += attempt_all(deps, &due, started).await?;
    let since = now - TimeDelta::days(1);
    let undeliverable =
        db::mails::deliveries::undeliverable_count_of_any_organization(&mut conn, since).await?;
    report.undeliverable = usize::try_from(undeliverable).unwrap_or_default();
    let oldest =
        db::mails::deliveries::oldest_unsettled_delivery_of_any_organization(&mut conn).await?;
    report.oldest_wait = oldest.map_or(TimeDelta::zero(), |at| (now - at).max(TimeDelta::zero()));
    Ok(report)
}

/// Events of which nobody was told, and that are still worth a mail.
async fn unaddressed_events(deps: MailDeps<'_>, now: DateTime<Utc>) -> sqlx::Result<Vec<i64>> {
    let mut conn = deps.pool.statements();
    let mut ids = Vec::new();
    for rule in [UnknownOutcome::SendAgain, UnknownOutcome::LetGo] {
        let templates = MailTemplate::ALL.iter().copied();
        let templates: Vec<MailTemplate> = templates
            .filter(|template| template.unknown_outcome() == rule)
            .collect();
        let max_age = templates.iter().map(|template| template.max_age()).max();
        let since = now - max_age.unwrap_or_default();
        let kinds: Vec<String> = templates
            .iter()
            .map(|template| template.as_str().to_owned())
            .collect();
        ids.extend(
            db::mails::events::events_without_delivery_of_any_organization(
                &mut conn, &kinds, since,
            )
            .await?,
        );
    }
    Ok(ids)
}

async fn attempt_all(
    deps: MailDeps<'_>,
    due: &[DeliveryId],
    started: Instant,
) -> sqlx::Result<usize> {
    let (mut handed_over, mut in_vain) = (0, 0);
    for id in due {
        if started.elapsed() > SWEEP_TIME || in_vain == MAX_VAIN_ATTEMPTS {
            warn!("not every mail that is due was attempted; the next sweep goes on");
            break;
        }
        match attempt_chain(deps, *id).await? {
            Attempted::HandedOver => {
                handed_over += 1;
                in_vain = 0;
            }
            Attempted::Open => in_vain += 1,
            Attempted::NotDue | Attempted::Ended(_) => {}
        }
    }
    Ok(handed_over)
}
