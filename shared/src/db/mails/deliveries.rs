//! `mail_deliveries`. Owns: that an event addresses a recipient once, that an attempt is claimed by one worker, and that a
//! worker with an older attempt changes nothing. Callers hold the lock of the event, except to claim an attempt and to
//! settle lost ones.

use chrono::{DateTime, Utc};

use super::events::EventRef;
use crate::db::page::PagePosition;
use crate::db::session::Connection;
use crate::domain::ids::{DeliveryId, OrganizationId};

/// A delivery as it is stored.
#[derive(Clone, Debug)]
pub struct DeliveryRecord {
    pub id: DeliveryId,
    pub event_id: i64,
    pub organization_id: OrganizationId,
    pub template: String,
    /// `None` if there was nobody to address.
    pub recipient: Option<String>,
    pub state: String,
    pub attempts: i32,
    pub due_at: Option<DateTime<Utc>>,
    pub reason: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl DeliveryRecord {
    #[must_use]
    pub fn event(&self) -> EventRef {
        EventRef {
            organization_id: self.organization_id,
            id: self.event_id,
        }
    }

    #[must_use]
    pub fn position(&self) -> PagePosition {
        PagePosition {
            created_at: self.created_at,
            id: self.id.uuid(),
        }
    }
}

/// Opens a delivery that is due now, or, without a recipient, records that nobody is left. `None` if the recipient was
/// addressed before.
pub async fn delivery_insert(
    conn: &mut Connection,
    event: EventRef,
    template: &str,
    recipient: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DeliveryId>> {
    sqlx::query_scalar!(
        "INSERT INTO cloud.mail_deliveries
            (event_id, organization_id, template, recipient, state, due_at, created_at, updated_at)
        VALUES ($1, $2, $3, $4, CASE WHEN $4::text IS NULL THEN 'undeliverable' ELSE 'pending' END,
            CASE WHEN $4::text IS NOT NULL THEN $5::timestamptz END, $5, $5)
        ON CONFLICT (event_id, template, recipient) DO NOTHING RETURNING id",
        event.id,
        event.organization_id.uuid(),
        template,
        recipient,
        now
    )
    .fetch_optional(conn)
    .await
}

/// The deliveries of an event, oldest first.
pub async fn deliveries_of_event(
    conn: &mut Connection,
    event: EventRef,
) -> sqlx::Result<Vec<DeliveryRecord>> {
    sql!(query_as!(
        DeliveryRecord,
        "SELECT "
            + DELIVERY_COLUMNS
            + " FROM cloud.mail_deliveries WHERE event_id = $1 AND organization_id = $2 ORDER BY created_at, id",
        event.id,
        event.organization_id.uuid()
    ))
    .fetch_all(conn)
    .await
}

/// The deliveries of these events, oldest first.
pub async fn deliveries_of_events(
    conn: &mut Connection,
    organization_id: OrganizationId,
    event_ids: &[i64],
) -> sqlx::Result<Vec<DeliveryRecord>> {
    sql!(query_as!(
        DeliveryRecord,
        "SELECT "
            + DELIVERY_COLUMNS
            + " FROM cloud.mail_deliveries WHERE event_id = ANY($1) AND organization_id = $2 ORDER BY created_at, id",
        event_ids,
        organization_id.uuid()
    ))
    .fetch_all(conn)
    .await
}

pub async fn delivery_find_of_any_organization(
    conn: &mut Connection,
    id: DeliveryId,
) -> sqlx::Result<Option<DeliveryRecord>> {
    sql!(query_as!(
        DeliveryRecord,
        "SELECT " + DELIVERY_COLUMNS + " FROM cloud.mail_deliveries WHERE id = $1",
        id.uuid()
    ))
    .fetch_optional(conn)
    .await
}

/// Pending deliveries that are due, the oldest first, at most a hundred.
pub async fn deliveries_due_of_any_organization(
    conn: &mut Connection,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<DeliveryId>> {
    sqlx::query_scalar!(
        "SELECT id FROM cloud.mail_deliveries WHERE state = 'pending' AND due_at <= $1 ORDER BY due_at, id LIMIT 100",
        now
    )
    .fetch_all(conn)
    .await
}

/// A delivery that this worker alone attempts.
#[derive(Clone, Debug)]
pub struct ClaimedDelivery {
    pub event_id: i64,
    pub organization_id: OrganizationId,
    pub template: String,
    pub recipient: Option<String>,
    /// The fence.
    pub attempts: i32,
    /// Whether an attempt has failed before. Not so after an operator's retry.
    pub has_failed: bool,
    /// Whether the recipient's address was suppressed for the organization since the delivery was opened.
    pub is_suppressed: bool,
}

impl ClaimedDelivery {
    #[must_use]
    pub fn event(&self) -> EventRef {
        EventRef {
            organization_id: self.organization_id,
            id: self.event_id,
        }
    }
}

/// Begins an attempt of a pending delivery that is due. `outcome_due_at` is when its outcome counts as lost, also if the
/// worker dies. `None` if the delivery is not due, or another worker has it.
pub async fn delivery_claim_of_any_organization(
    conn: &mut Connection,
    id: DeliveryId,
    now: DateTime<Utc>,
    outcome_due_at: DateTime<Utc>,
) -> sqlx::Result<Option<ClaimedDelivery>> {
    sqlx::query_as!(
        ClaimedDelivery,
        r#"UPDATE cloud.mail_deliveries d
        SET state = 'sending', attempts = d.attempts + 1, due_at = $3, updated_at = $2
        WHERE d.id = $1 AND d.state = 'pending' AND d.due_at <= $2
        RETURNING d.event_id, d.organization_id, d.template, d.recipient, d.attempts,
            d.reason IS NOT NULL AS "has_failed!",
            EXISTS (SELECT FROM cloud.suppressed_addresses s
                WHERE s.organization_id = d.organization_id AND s.address = lower(d.recipient)) AS "is_suppressed!""#,
        id.uuid(),
        now,
        outcome_due_at
    )
    .fetch_optional(conn)
    .await
}

/// What an attempt changes.
#[derive(Clone, Copy, Debug)]
pub struct AttemptEnd<'a> {
    pub state: &'a str,
    pub due_at: Option<DateTime<Utc>>,
    pub reason: Option<&'a str>,
    pub provider_id: Option<&'a str>,
}

/// Ends an attempt. Returns whether the delivery still was in this attempt: feedback may have come first.
pub async fn attempt_end(
    conn: &mut Connection,
    event: EventRef,
    id: DeliveryId,
    attempts: i32,
    end: AttemptEnd<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE cloud.mail_deliveries
        SET state = $5, due_at = $6, reason = $7, provider_id = coalesce($8, provider_id), updated_at = $9
        WHERE id = $1 AND event_id = $2 AND organization_id = $3 AND attempts = $4 AND state = 'sending'",
        id.uuid(),
        event.id,
        event.organization_id.uuid(),
        attempts,
        end.state,
        end.due_at,
        end.reason,
        end.provider_id,
        now
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// Keeps an attempt whose outcome is not known until it is due. Returns nothing: feedback may have come first.
pub async fn attempt_unknown(
    conn: &mut Connection,
    event: EventRef,
    id: DeliveryId,
    attempts: i32,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.mail_deliveries SET state = 'unknown', reason = $5, updated_at = $6
        WHERE id = $1 AND event_id = $2 AND organization_id = $3 AND attempts = $4 AND state = 'sending'",
        id.uuid(),
        event.id,
        event.organization_id.uuid(),
        attempts,
        reason,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets the state that feedback or an operator gives a delivery that is in one of the states `from`. Returns whether it
/// was.
pub async fn delivery_set_state(
    conn: &mut Connection,
    event: EventRef,
    id: DeliveryId,
    from: &[String],
    end: AttemptEnd<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "UPDATE cloud.mail_deliveries
        SET state = $5, due_at = $6, reason = $7, provider_id = coalesce($8, provider_id), updated_at = $9
        WHERE id = $1 AND event_id = $2 AND organization_id = $3 AND state = ANY($4)",
        id.uuid(),
        event.id,
        event.organization_id.uuid(),
        from,
        end.state,
        end.due_at,
        end.reason,
        end.provider_id,
        now
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// Forgets that nobody was left, because the chain is looked at again.
pub async fn undeliverable_delete(conn: &mut Connection, event: EventRef) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.mail_deliveries WHERE event_id = $1 AND organization_id = $2 AND recipient IS NULL",
        event.id,
        event.organization_id.uuid()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Decides about attempts whose outcome stayed unknown, also because their worker died: mails of `sent_again` become due,
/// the others stay as they are for good. Returns how many there were.
pub async fn unknown_outcomes_settle_of_any_organization(
    conn: &mut Connection,
    sent_again: &[String],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "UPDATE cloud.mail_deliveries
        SET state = CASE WHEN template = ANY($1) THEN 'pending' ELSE 'unknown' END,
            due_at = CASE WHEN template = ANY($1) THEN $2::timestamptz END,
            reason = coalesce(reason, 'the worker stopped'), updated_at = $2
        WHERE state IN ('sending', 'unknown') AND due_at <= $2",
        sent_again,
        now
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// Deletes deliveries that ended before `before`, at most a thousand: they hold addresses.
pub async fn old_deliveries_delete_of_any_organization(
    conn: &mut Connection,
    before: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "DELETE FROM cloud.mail_deliveries WHERE id IN (
            SELECT id FROM cloud.mail_deliveries WHERE created_at < $1 AND due_at IS NULL
            ORDER BY created_at, id LIMIT 1000)",
        before
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// How many events since `since` nobody could be told of.
pub async fn undeliverable_count_of_any_organization(
    conn: &mut Connection,
    since: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM cloud.mail_deliveries
        WHERE state = 'undeliverable' AND created_at > $1"#,
        since
    )
    .fetch_one(conn)
    .await
}

/// When the oldest mail was written that is still to be sent, or whose outcome is still waited for.
pub async fn oldest_unsettled_delivery_of_any_organization(
    conn: &mut Connection,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT min(created_at) FROM cloud.mail_deliveries WHERE due_at IS NOT NULL"
    )
    .fetch_one(conn)
    .await
}

/// One page of deliveries, newest first, after a position; only those in `state`, if there is one.
pub async fn deliveries_page_of_any_organization(
    conn: &mut Connection,
    state: Option<&str>,
    after: Option<PagePosition>,
    limit: i64,
) -> sqlx::Result<Vec<DeliveryRecord>> {
    sql!(query_as!(
        DeliveryRecord,
        "SELECT "
            + DELIVERY_COLUMNS
            + " FROM cloud.mail_deliveries
        WHERE ($1::text IS NULL OR state = $1)
            AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))
        ORDER BY created_at DESC, id DESC LIMIT $4",
        state,
        after.map(|position| position.created_at),
        after.map(|position| position.id),
        limit
    ))
    .fetch_all(conn)
    .await
}
