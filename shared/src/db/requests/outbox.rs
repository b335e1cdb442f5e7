//! `outbox_events`. Owns: writing events with the change they tell of, what is not published yet, and
//! what became of warnings.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::billing::Handover;

/// Events to be written: columns of one length.
#[derive(Debug, Default)]
pub struct Events {
    /// `<type>:<organization>:<T>`: an event is written once.
    pub keys: Vec<String>,
    /// What happened.
    pub types: Vec<String>,
    /// To whom.
    pub organization_ids: Vec<Uuid>,
    /// The details.
    pub payloads: Vec<Value>,
}

/// Writes events.
///
/// # Errors
/// Database errors.
pub async fn outbox_append(
    conn: &mut PgConnection,
    events: &Events,
    occurred_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO outbox_events (key, type, organization_id, payload, occurred_at)
        SELECT e.key, e.type, e.organization_id, e.payload, $5
        FROM UNNEST($1::text[], $2::text[], $3::uuid[], $4::jsonb[])
            AS e (key, type, organization_id, payload)
        ON CONFLICT (key) DO NOTHING",
        &events.keys,
        &events.types,
        &events.organization_ids,
        &events.payloads,
        occurred_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A shutdown warning and its fate. Agents name theirs by the moment it was written.
#[derive(Clone, Copy, Debug)]
pub struct Warning {
    /// To whom.
    pub organization_id: Uuid,
    /// When it was written.
    pub occurred_at: DateTime<Utc>,
    /// What became of it.
    pub handover: Handover,
}

/// The shutdown warnings of these organizations written at or after `since`.
///
/// # Errors
/// Database errors.
pub async fn shutdown_warnings(
    conn: &mut PgConnection,
    organization_ids: &[Uuid],
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<Warning>> {
    let rows = sqlx::query!(
        "SELECT organization_id, occurred_at, handed_over_at, undeliverable_at FROM outbox_events
        WHERE type = 'agent.shutdown_scheduled' AND organization_id = ANY($1) AND occurred_at >= $2",
        organization_ids,
        since
    )
    .fetch_all(conn)
    .await?;
    let warnings = rows.into_iter().map(|row| Warning {
        organization_id: row.organization_id,
        occurred_at: row.occurred_at,
        handover: match (row.handed_over_at, row.undeliverable_at) {
            (Some(at), _) => Handover::HandedOver(at),
            (None, Some(_)) => Handover::Undeliverable,
            (None, None) => Handover::Pending,
        },
    });
    Ok(warnings.collect())
}

/// An event that is to be published.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns as they are")]
pub struct Unpublished {
    pub id: i64,
    pub kind: String,
    pub organization_id: Uuid,
    pub payload: Value,
    pub occurred_at: DateTime<Utc>,
}

/// Events that `EventBridge` has not taken, the oldest first, a thousand at most.
///
/// # Errors
/// Database errors.
pub async fn outbox_unpublished(conn: &mut PgConnection) -> sqlx::Result<Vec<Unpublished>> {
    sqlx::query_as!(
        Unpublished,
        "SELECT id, type AS kind, organization_id, payload, occurred_at FROM outbox_events
        WHERE published_at IS NULL ORDER BY id LIMIT 1000"
    )
    .fetch_all(conn)
    .await
}

/// Records that `EventBridge` took these.
///
/// # Errors
/// Database errors.
pub async fn outbox_mark_published(conn: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE outbox_events SET published_at = billing_clock() WHERE id = ANY($1)",
        ids
    )
    .execute(conn)
    .await?;
    Ok(())
}
