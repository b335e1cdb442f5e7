//! Publishing events. Owns: which events are published when. A job's row is itself the record that the job is due, so
//! `job.due` is not in the outbox: it is published after the commit, and by the sweep for due jobs that no worker has.
//! `tombstone.due` is not in the outbox either: only the sweep publishes it. Events for product analytics wait in batches of
//! their own, so that those of many organizations delay no mail.

use chrono::TimeDelta;
use serde_json::json;
use tracing::error;

use crate::db;
use crate::db::Database;
use crate::db::requests::outbox::UnpublishedEvent;
use crate::db::requests::product_events::{
    product_batches_delete_of_any_organization, product_batches_expire_of_any_organization,
    product_batches_of_any_organization,
};
use crate::domain::ids::AgentId;
use crate::domain::job::{DueJob, JobClass};
use crate::domain::timestamp::Timestamp;
use crate::events::{Event, MAX_BATCH, Publisher};

/// Batches of product events that were not accepted for so long are given up: analytics has no use for them.
const PRODUCT_EVENTS_KEPT_FOR: TimeDelta = TimeDelta::days(2);

/// Publishes that these jobs are due, each in its lane. Returns whether each event was accepted.
pub async fn publish_due_jobs(publisher: &Publisher, jobs: &[DueJob]) -> Vec<bool> {
    let events = jobs.iter().map(|job| Event {
        kind: "job.due".to_owned(),
        detail: json!({"jobId": job.id, "lane": job.lane}),
    });
    let events: Vec<Event> = events.collect();
    publisher.publish(&events).await.accepted
}

/// Publishes that the tombstones of these agents are due, in the lane of stops. Returns for how many the event was
/// accepted.
pub async fn publish_due_tombstones(publisher: &Publisher, agent_ids: &[AgentId]) -> usize {
    let events = agent_ids.iter().map(|id| Event {
        kind: "tombstone.due".to_owned(),
        detail: json!({"agentId": id, "lane": JobClass::Stop}),
    });
    let events: Vec<Event> = events.collect();
    let accepted = publisher.publish(&events).await.accepted;
    accepted
        .into_iter()
        .filter(|is_accepted| *is_accepted)
        .count()
}

/// How many rows of the outbox, or of the product events, were published, and how many stay there because they were not
/// accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxReport {
    pub published: usize,
    pub unpublished: usize,
}

/// Publishes the events in the outbox, oldest first.
///
/// # Errors
/// The database fails. An accepted event that could not be marked as published is published again.
pub async fn publish_outbox(pool: &Database, publisher: &Publisher) -> sqlx::Result<OutboxReport> {
    let mut conn = pool.statements();
    let rows = db::requests::outbox::outbox_unpublished_of_any_organization(&mut conn).await?;
    let mut sent_count = 0;
    for batch in rows.chunks(MAX_BATCH) {
        let events: Vec<Event> = batch.iter().map(event).collect();
        let outcome = publisher.publish(&events).await;
        let accepted_ids: Vec<i64> = batch
            .iter()
            .zip(&outcome.accepted)
            .filter_map(|(row, is_accepted)| is_accepted.then_some(row.id))
            .collect();
        // Marked after each batch: if the function runs out of time, only the current batch is published twice.
        db::requests::outbox::outbox_mark_published_of_any_organization(&mut conn, &accepted_ids)
            .await?;
        sent_count += accepted_ids.len();
        if outcome.is_unreachable {
            break;
        }
    }
    Ok(OutboxReport {
        published: sent_count,
        unpublished: rows.len() - sent_count,
    })
}

/// Publishes events for product analytics, oldest first. A batch that could not be deleted is published again: PostHog
/// drops events that come twice.
///
/// # Errors
/// The database fails.
pub async fn publish_product_events(
    pool: &Database,
    publisher: &Publisher,
) -> sqlx::Result<OutboxReport> {
    let mut conn = pool.statements();
    let before = db::clock::billing_clock(&mut conn).await? - PRODUCT_EVENTS_KEPT_FOR;
    let expired = product_batches_expire_of_any_organization(&mut conn, before).await?;
    if expired > 0 {
        error!(
            batches = expired,
            "{expired} batches of product events were not accepted for two days and are given up"
        );
    }
    let rows = product_batches_of_any_organization(&mut conn).await?;
    let row_count = rows.len();
    let (ids, events): (Vec<i64>, Vec<Event>) = rows
        .into_iter()
        .map(|row| {
            let event = Event {
                kind: "product.events".to_owned(),
                detail: json!({"batch": row.batch}),
            };
            (row.id, event)
        })
        .unzip();
    let outcome = publisher.publish(&events).await;
    let accepted: Vec<i64> = ids
        .iter()
        .zip(&outcome.accepted)
        .filter_map(|(id, is_accepted)| is_accepted.then_some(*id))
        .collect();
    if !accepted.is_empty() {
        product_batches_delete_of_any_organization(&mut conn, &accepted).await?;
    }
    Ok(OutboxReport {
        published: accepted.len(),
        unpublished: row_count - accepted.len(),
    })
}

fn event(row: &UnpublishedEvent) -> Event {
    let mut detail = json!({
        "id": row.id, "organizationId": row.organization_id,
        "occurredAt": Timestamp(row.occurred_at),
    });
    if let (Some(detail), Some(payload)) = (detail.as_object_mut(), row.payload.as_object()) {
        detail.extend(payload.clone());
    }
    Event {
        kind: row.kind.clone(),
        detail,
    }
}
