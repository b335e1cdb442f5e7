//! Telling the rest of the system. Owns: which events are sent when. A job's own row is the record
//! that it is due, so `job.due` needs no other: it is sent after the commit, and each minute by the
//! sweep for every job that is due.

use chrono::SecondsFormat;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::db;
use crate::events::{BATCH, Event, Publisher};

/// Says that these jobs are due. Answers how many were told of.
pub async fn jobs_due(publisher: &Publisher, job_ids: &[Uuid]) -> usize {
    let events: Vec<Event> = job_ids
        .iter()
        .map(|id| Event {
            kind: "job.due".to_owned(),
            detail: json!({"jobId": id}),
        })
        .collect();
    let sent = publisher.publish(&events).await;
    sent.taken.into_iter().filter(|taken| *taken).count()
}

/// Publishes what the outbox holds, oldest first. Answers how many were taken and how many were not.
///
/// # Errors
/// Database errors. Events that were taken and could not be marked are sent again.
pub async fn outbox(pool: &PgPool, publisher: &Publisher) -> sqlx::Result<(usize, usize)> {
    let mut conn = pool.acquire().await?;
    let waiting = db::requests::outbox::outbox_unpublished(&mut conn).await?;
    let events: Vec<Event> = waiting
        .iter()
        .map(|row| {
            let mut detail = json!({
                "id": row.id, "organizationId": row.organization_id,
                "occurredAt": row.occurred_at.to_rfc3339_opts(SecondsFormat::Millis, true),
            });
            if let (Some(detail), Some(payload)) = (detail.as_object_mut(), row.payload.as_object())
            {
                detail.extend(payload.clone());
            }
            Event {
                kind: row.kind.clone(),
                detail,
            }
        })
        .collect();
    let mut sent = 0;
    for (rows, events) in waiting.chunks(BATCH).zip(events.chunks(BATCH)) {
        let answer = publisher.publish(events).await;
        let ids: Vec<i64> = rows
            .iter()
            .zip(&answer.taken)
            .filter_map(|(row, taken)| taken.then_some(row.id))
            .collect();
        // Marked batch by batch: what was taken is not sent again should the time be over soon.
        db::requests::outbox::outbox_mark_published(&mut conn, &ids).await?;
        sent += ids.len();
        if answer.away {
            break;
        }
    }
    Ok((sent, waiting.len() - sent))
}
