//! Sending events to the webhooks of organizations. Owns: that no event is forgotten, and that no organization's receiver
//! delays another's. What is due is read from the database, so repeated and lost invocations do no harm.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::join_all;

use super::WebhookDeps;
use super::attempt::{Attempted, attempt};
use crate::db;
use crate::domain::ids::OrganizationId;
use crate::domain::mail::MailTemplate;
use crate::domain::webhook::GIVE_UP_AFTER;

/// No attempt begins later: a call takes ten seconds at most.
const DELIVER_TIME: Duration = Duration::from_secs(40);
/// Webhooks that are called at the same time. Receivers that hang are left alone for up to an hour, so they take these
/// places seldom.
const MAX_CONCURRENT_CALLS: i64 = 32;
/// Longer than events may wait, so that none is sent again.
const KEPT_FOR: TimeDelta = TimeDelta::days(7);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryReport {
    /// Events that a receiver took.
    pub delivered: usize,
    /// Attempts that failed.
    pub failed: usize,
}

/// Sends what is due, as far as there is time. With an organization, only its events, and at most one to each of its webhooks.
///
/// # Errors
/// The first error of the database, after everything else that is due was sent: a row that the database refuses keeps no
/// other organization's events back.
pub async fn webhooks_deliver(
    deps: WebhookDeps<'_>,
    app_url: &str,
    organization_id: Option<OrganizationId>,
) -> sqlx::Result<DeliveryReport> {
    let started = Instant::now();
    let mut conn = deps.pool.statements();
    let now = db::clock::billing_clock(&mut conn).await?;
    if organization_id.is_none() {
        db::webhooks::registered::webhooks_forget_of_any_organization(&mut conn).await?;
    }
    let types = MailTemplate::ALL.iter();
    let types: Vec<String> = types.map(|kind| kind.as_str().to_owned()).collect();
    db::webhooks::deliveries::deliveries_open_of_any_organization(
        &mut conn,
        organization_id,
        &types,
        now - GIVE_UP_AFTER,
    )
    .await?;
    if organization_id.is_none() {
        db::webhooks::deliveries::old_deliveries_delete_of_any_organization(
            &mut conn,
            now - KEPT_FOR,
        )
        .await?;
    }
    let (mut report, mut first_error) = (DeliveryReport::default(), None);
    loop {
        let now = db::clock::billing_clock(&mut conn).await?;
        // A webhook that took an event waits behind the others for its next one.
        let due = db::webhooks::registered::webhooks_due_of_any_organization(
            &mut conn,
            organization_id,
            now,
            MAX_CONCURRENT_CALLS,
        )
        .await?;
        let attempts = due.iter().map(|webhook| attempt(deps, app_url, *webhook));
        let before = report;
        for outcome in join_all(attempts).await {
            match outcome {
                Ok(Attempted::Delivered) => report.delivered += 1,
                Ok(Attempted::Failed) => report.failed += 1,
                Ok(Attempted::NotDue) => {}
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        let is_idle = report == before;
        if is_idle || organization_id.is_some() || started.elapsed() > DELIVER_TIME {
            return first_error.map_or(Ok(report), Err);
        }
    }
}
