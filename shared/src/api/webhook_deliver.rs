//! Webhooks of organizations: the events of the outbox that lead to mails, and a sweep every minute.

use serde::Serialize;
use serde_json::Value;

use crate::app::webhook::WebhookDeps;
use crate::app::webhook::deliver::webhooks_deliver;
use crate::db;
use crate::db::Database;
use crate::domain::address::AddressPolicy;
use crate::domain::ids::OrganizationId;
use crate::encryption::EncryptionKeys;

#[derive(Debug)]
pub struct Deps {
    pub pool: Database,
    pub keys: EncryptionKeys,
    /// Which addresses a webhook may lead to.
    pub address_policy: AddressPolicy,
    /// The address of the dashboard, without a slash at its end.
    pub app_url: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DeliverResult {
    delivered: usize,
    failed: usize,
}

/// What is left to do is in the database: the next sweep does it.
#[derive(Debug, thiserror::Error)]
#[error("the database request failed ({})", db::error_class(.0))]
pub struct DeliverError(#[from] sqlx::Error);

/// An event of the outbox has the webhooks of its organization called now, any other event all that are due. A repeated
/// event sends nothing twice.
pub async fn handle(deps: &Deps, event: Value) -> Result<DeliverResult, DeliverError> {
    let organization_id = event["detail"]["organizationId"].as_str();
    let organization_id = organization_id.and_then(|text| text.parse::<OrganizationId>().ok());
    let webhook_deps = WebhookDeps {
        pool: &deps.pool,
        keys: &deps.keys,
        address_policy: deps.address_policy,
    };
    let report = webhooks_deliver(webhook_deps, &deps.app_url, organization_id);
    let report = Box::pin(report).await?;
    Ok(DeliverResult {
        delivered: report.delivered,
        failed: report.failed,
    })
}
