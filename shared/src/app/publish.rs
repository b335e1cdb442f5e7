//! Publishing events. Owns: which events are published when. A job's row is itself the record that the job is due, so
//! `job.due` is not in the outbox: it is published after the commit, and each minute by the sweep for every due job.
//! `tombstone.due` is not in the outbox either: only the sweep publishes it.

use serde_json::json;

use crate::db;
use crate::db::Database;
use crate::db::requests::outbox::UnpublishedEvent;
use crate::domain::ids::{AgentId, JobId};
use crate::domain::timestamp::Timestamp;
use crate::events::{Event, MAX_BATCH, Publisher};

/// Publishes that these jobs are due. Returns for how many the event was accepted.
pub async fn publish_due_jobs(publisher: &Publisher, job_ids: &[JobId]) -> usize {
    let events = job_ids.iter().map(|id| Event {
        kind: "job.due".to_owned(),
        detail: json!({"jobId": id}),
    });
    count_accepted(publisher, events.collect()).await
}

/// Publishes that the tombstones of these agents are due. Returns for how many the event was accepted.
pub async fn publish_due_tombstones(publisher: &Publisher, agent_ids: &[AgentId]) -> usize {
    let events = agent_ids.iter().map(|id| Event {
        kind: "tombstone.due".to_owned(),
        detail: json!({"agentId": id}),
    });
    count_accepted(publisher, events.collect()).await
}

async fn count_accepted(publisher: &Publisher, events: Vec<Event>) -> usize {
    let accepted = publisher.publish(&events).await.accepted;
    accepted
        .into_iter()
        .filter(|is_accepted| *is_accepted)
        .count()
}

/// How many events of the outbox were published, and how many stay there because they were not accepted.
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
