//! The events of the outbox that lead to mails. Owns: the lock under which the deliveries of an event change, and what the
//! event says of them: dunning reads it.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::Value;

use crate::db::session::Connection;
use crate::domain::ids::OrganizationId;

/// An event of one organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRef {
    pub organization_id: OrganizationId,
    pub id: i64,
}

/// An event as it was written, and what became of its mail.
#[derive(Clone, Debug)]
pub struct MailEvent {
    pub event: EventRef,
    pub kind: String,
    pub occurred_at: DateTime<Utc>,
    /// Whether its mail was handed over, or nobody can be addressed.
    pub is_settled: bool,
}

/// Locks an event. Every transaction that changes its deliveries holds this lock.
pub async fn event_lock_of_any_organization(
    conn: &mut Connection,
    id: i64,
) -> sqlx::Result<Option<MailEvent>> {
    let row = sqlx::query!(
        r#"SELECT organization_id, type AS kind, occurred_at,
            (handed_over_at IS NOT NULL OR undeliverable_at IS NOT NULL) AS "is_settled!"
        FROM cloud.outbox_events WHERE id = $1 FOR NO KEY UPDATE"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| MailEvent {
        event: EventRef {
            organization_id: row.organization_id,
            id,
        },
        kind: row.kind,
        occurred_at: row.occurred_at,
        is_settled: row.is_settled,
    }))
}

/// The events of these types since `since` that nobody was addressed for, the oldest first, at most a hundred.
pub async fn events_without_delivery_of_any_organization(
    conn: &mut Connection,
    kinds: &[String],
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "SELECT e.id FROM cloud.outbox_events e
        WHERE e.handed_over_at IS NULL AND e.undeliverable_at IS NULL AND e.occurred_at > $2 AND e.type = ANY($1)
            AND NOT EXISTS (SELECT FROM cloud.mail_deliveries d WHERE d.event_id = e.id)
        ORDER BY e.occurred_at, e.id LIMIT 100",
        kinds,
        since
    )
    .fetch_all(conn)
    .await
}

/// Records that the mail provider took the event's mail. The first time counts.
pub async fn event_handed_over(
    conn: &mut Connection,
    event: EventRef,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.outbox_events SET handed_over_at = coalesce(handed_over_at, $3), undeliverable_at = NULL
        WHERE id = $1 AND organization_id = $2",
        event.id,
        event.organization_id.uuid(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that nobody has the event's mail, unless another recipient has it: what was handed over came back.
pub async fn event_not_handed_over(conn: &mut Connection, event: EventRef) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.outbox_events SET handed_over_at = NULL, undeliverable_at = NULL
        WHERE id = $1 AND organization_id = $2 AND NOT EXISTS (
            SELECT FROM cloud.mail_deliveries d
            WHERE d.event_id = $1 AND d.state IN ('handed_over', 'delivered', 'complained'))",
        event.id,
        event.organization_id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that nobody can be addressed.
pub async fn event_undeliverable(
    conn: &mut Connection,
    event: EventRef,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.outbox_events SET undeliverable_at = $3
        WHERE id = $1 AND organization_id = $2 AND handed_over_at IS NULL",
        event.id,
        event.organization_id.uuid(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a mail says.
#[derive(Clone, Debug)]
pub struct MailFacts {
    pub payload: Value,
    pub occurred_at: DateTime<Utc>,
    /// Since when a recipient has had the event's mail. `None` if nobody has it.
    pub handed_over_at: Option<DateTime<Utc>>,
    /// `None` if the organization is deleted.
    pub organization_name: Option<String>,
    /// The owner's.
    pub time_zone: String,
}

pub async fn mail_facts(conn: &mut Connection, event: EventRef) -> sqlx::Result<Option<MailFacts>> {
    sqlx::query_as!(
        MailFacts,
        r#"SELECT e.payload, e.occurred_at, e.handed_over_at, o.name AS "organization_name?",
            coalesce(s.time_zone, 'UTC') AS "time_zone!"
        FROM cloud.outbox_events e
        LEFT JOIN public.organizations o ON o.id = e.organization_id
        LEFT JOIN cloud.organization_settings s ON s.organization_id = e.organization_id
        WHERE e.id = $1 AND e.organization_id = $2"#,
        event.id,
        event.organization_id.uuid()
    )
    .fetch_optional(conn)
    .await
}

/// Whether the shutdown that the event announces is still to come for an agent of the organization. The agent's row
/// refers to its warning by the time.
pub async fn shutdown_is_scheduled(conn: &mut Connection, event: EventRef) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
            SELECT FROM cloud.outbox_events e
            JOIN public.milady_sandboxes a ON a.organization_id = e.organization_id
                AND a.shutdown_warning_sent_at = e.occurred_at
            WHERE e.id = $1 AND e.organization_id = $2 AND a.billing_status = 'shutdown_pending') AS "scheduled!""#,
        event.id,
        event.organization_id.uuid()
    )
    .fetch_one(conn)
    .await
}

/// A point in time as clocks in a time zone show it. `None` if the server does not know the zone any more.
pub async fn local_time(
    conn: &mut Connection,
    at: DateTime<Utc>,
    time_zone: &str,
) -> sqlx::Result<Option<NaiveDateTime>> {
    sqlx::query_scalar!(
        r#"SELECT pg_catalog.timezone(name, $1::timestamptz) AS "local!"
        FROM pg_catalog.pg_timezone_names WHERE name = $2"#,
        at,
        time_zone
    )
    .fetch_optional(conn)
    .await
}

/// Since when nobody of the organization can be addressed. `None` if the mail of its newest settled event was handed over,
/// or if there is none.
pub async fn undeliverable_since(
    conn: &mut Connection,
    organization_id: OrganizationId,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let since = sqlx::query_scalar!(
        "SELECT undeliverable_at FROM cloud.outbox_events
        WHERE organization_id = $1 AND (handed_over_at IS NOT NULL OR undeliverable_at IS NOT NULL)
        ORDER BY occurred_at DESC, id DESC LIMIT 1",
        organization_id.uuid()
    )
    .fetch_optional(conn)
    .await?;
    Ok(since.flatten())
}
