//! One delivery of a mail as super admins see it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::db::mails::deliveries::DeliveryRecord;
use crate::domain::ids::{DeliveryId, OrganizationId};
use crate::domain::mail::{DeliveryState, MailTemplate, masked_address};
use crate::domain::timestamp::Timestamp;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Mail")]
pub(super) struct MailJson {
    id: DeliveryId,
    organization_id: OrganizationId,
    /// The type of the event that the mail tells of.
    #[schemars(with = "MailTemplate")]
    template: String,
    /// Shortened. Null if there was nobody to address.
    recipient: Option<String>,
    #[schemars(with = "DeliveryState")]
    state: String,
    attempts: i32,
    /// When something is done next; null if nothing is.
    due_at: Option<Timestamp>,
    /// Why the last attempt failed.
    reason: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<DeliveryRecord> for MailJson {
    fn from(row: DeliveryRecord) -> Self {
        Self {
            id: row.id,
            organization_id: row.organization_id,
            template: row.template,
            recipient: row.recipient.as_deref().map(masked_address),
            state: row.state,
            attempts: row.attempts,
            due_at: row.due_at.map(Timestamp),
            reason: row.reason,
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
        }
    }
}
