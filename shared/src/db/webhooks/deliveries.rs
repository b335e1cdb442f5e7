//! `webhook_deliveries`. Owns: that an event has one delivery for each webhook that is on.

use chrono::{DateTime, Utc};

use crate::db::mails::events::EventRef;
use crate::db::session::Connection;
use crate::domain::ids::{OrganizationId, WebhookDeliveryId};
use crate::domain::webhook::WebhookRef;

/// Opens a delivery for each webhook that is on and each event of these types since `since` that it did not have one for;
/// only of this organization, if there is one.
pub async fn deliveries_open_of_any_organization(
    conn: &mut Connection,
    organization_id: Option<OrganizationId>,
    types: &[String],
    since: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO cloud.webhook_deliveries (event_id, organization_id, kind, template, occurred_at)
        SELECT e.id, e.organization_id, w.kind, e.type, e.occurred_at
        FROM cloud.organization_webhooks w
        JOIN public.organizations o ON o.id = w.organization_id
        JOIN cloud.outbox_events e ON e.organization_id = w.organization_id AND e.type = ANY($2)
            AND e.occurred_at >= w.active_since AND e.occurred_at > $3
        WHERE w.switched_off_at IS NULL AND ($1::uuid IS NULL OR w.organization_id = $1)
            AND NOT EXISTS (SELECT FROM cloud.webhook_deliveries d WHERE d.event_id = e.id AND d.kind = w.kind)
        ON CONFLICT (event_id, kind) DO NOTHING",
        organization_id.map(OrganizationId::uuid),
        types,
        since
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An event that is pending for a webhook.
#[derive(Clone, Debug)]
pub struct PendingDelivery {
    pub id: WebhookDeliveryId,
    pub event_id: i64,
    pub organization_id: OrganizationId,
    /// The type of the event.
    pub template: String,
    pub occurred_at: DateTime<Utc>,
}

impl PendingDelivery {
    #[must_use]
    pub fn event(&self) -> EventRef {
        EventRef {
            organization_id: self.organization_id,
            id: self.event_id,
        }
    }
}

/// The oldest delivery of those that were attempted least, so that an event which its receiver refuses does not keep
/// others back.
pub async fn delivery_next(
    conn: &mut Connection,
    webhook: WebhookRef,
) -> sqlx::Result<Option<PendingDelivery>> {
    sqlx::query_as!(
        PendingDelivery,
        "SELECT id, event_id, organization_id, template, occurred_at FROM cloud.webhook_deliveries
        WHERE organization_id = $1 AND kind = $2 AND state = 'pending' ORDER BY attempts, event_id LIMIT 1",
        webhook.organization_id.uuid(),
        webhook.kind.as_str()
    )
    .fetch_optional(conn)
    .await
}

/// Ends a delivery: it is in this state from now on.
pub async fn delivery_end(
    conn: &mut Connection,
    webhook: WebhookRef,
    id: WebhookDeliveryId,
    state: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.webhook_deliveries SET state = $3 WHERE id = $1 AND organization_id = $2 AND state = 'pending'",
        id.uuid(),
        webhook.organization_id.uuid(),
        state
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives up what is pending for a webhook.
pub async fn deliveries_give_up(conn: &mut Connection, webhook: WebhookRef) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE cloud.webhook_deliveries SET state = 'failed'
        WHERE organization_id = $1 AND kind = $2 AND state = 'pending'",
        webhook.organization_id.uuid(),
        webhook.kind.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes deliveries of events before `before`, at most a thousand.
pub async fn old_deliveries_delete_of_any_organization(
    conn: &mut Connection,
    before: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM cloud.webhook_deliveries WHERE id IN (
            SELECT id FROM cloud.webhook_deliveries WHERE occurred_at < $1 ORDER BY occurred_at, id LIMIT 1000)",
        before
    )
    .execute(conn)
    .await?;
    Ok(())
}
