//! `outbox_events`. Owns: writing events with the change that causes them, which events are not published yet, and
//! what became of shutdown warnings.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::db::session::Connection;
use crate::domain::billing::WarningDelivery;
use crate::domain::ids::OrganizationId;
use crate::domain::money::Money;

/// New events as columns of equal length.
#[derive(Debug, Default)]
pub struct NewEvents {
    /// `<type>:<organization>:<period end>`. An event whose key exists is not written again.
    pub keys: Vec<String>,
    pub types: Vec<String>,
    pub organization_ids: Vec<OrganizationId>,
    pub payloads: Vec<Value>,
}

pub async fn outbox_append(
    conn: &mut Connection,
    events: &NewEvents,
    occurred_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.outbox_events (key, type, organization_id, payload, occurred_at)
        SELECT e.key, e.type, e.organization_id, e.payload, $5
        FROM UNNEST($1::text[], $2::text[], $3::uuid[], $4::jsonb[])
            AS e (key, type, organization_id, payload)
        ON CONFLICT (key) DO NOTHING",
        &events.keys,
        &events.types,
        &events.organization_ids as &[OrganizationId],
        &events.payloads,
        occurred_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A shutdown warning and what became of it. An agent's row refers to its warning by `occurred_at`.
#[derive(Clone, Copy, Debug)]
pub struct ShutdownWarning {
    pub organization_id: OrganizationId,
    pub occurred_at: DateTime<Utc>,
    pub delivery: WarningDelivery,
    /// `None` if the warning names no debt ceiling.
    pub debt_ceiling: Option<Money>,
}

/// The shutdown warnings of these organizations that were written at or after `since`.
pub async fn shutdown_warnings(
    conn: &mut Connection,
    organization_ids: &[OrganizationId],
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<ShutdownWarning>> {
    let rows = sqlx::query!(
        "SELECT organization_id, occurred_at, handed_over_at, undeliverable_at,
            (payload ->> 'debtCeiling')::numeric AS debt_ceiling
        FROM cloud.outbox_events
        WHERE type = 'agent.shutdown_scheduled' AND organization_id = ANY($1) AND occurred_at >= $2",
        organization_ids as &[OrganizationId],
        since
    )
    .fetch_all(conn)
    .await?;
    let warnings = rows.into_iter().map(|row| ShutdownWarning {
        organization_id: row.organization_id,
        occurred_at: row.occurred_at,
        delivery: match (row.handed_over_at, row.undeliverable_at) {
            (Some(at), _) => WarningDelivery::HandedOver(at),
            (None, Some(_)) => WarningDelivery::Undeliverable,
            (None, None) => WarningDelivery::Pending,
        },
        debt_ceiling: row.debt_ceiling.map(Money::rounded),
    });
    Ok(warnings.collect())
}

#[derive(Clone, Debug)]
pub struct UnpublishedEvent {
    pub id: i64,
    pub kind: String,
    pub organization_id: OrganizationId,
    pub payload: Value,
    pub occurred_at: DateTime<Utc>,
}

/// Events that `EventBridge` has not accepted yet, the oldest first, at most a thousand.
pub async fn outbox_unpublished_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<Vec<UnpublishedEvent>> {
    sqlx::query_as!(
        UnpublishedEvent,
        "SELECT id, type AS kind, organization_id, payload, occurred_at FROM cloud.outbox_events
        WHERE published_at IS NULL ORDER BY id LIMIT 1000"
    )
    .fetch_all(conn)
    .await
}

/// Records that `EventBridge` has accepted these events.
pub async fn outbox_mark_published_of_any_organization(
    conn: &mut Connection,
    ids: &[i64],
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.outbox_events SET published_at = cloud.billing_clock() WHERE id = ANY($1)",
        ids
    )
    .execute(conn)
    .await?;
    Ok(())
}
