//! The settings on the wire.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::schema::TimeZone;
use crate::db::Connection;
use crate::db::identity::settings::OrganizationSettings;
use crate::db::mails::events::undeliverable_since;
use crate::db::webhooks::registered::{RegisteredWebhook, webhooks_of};
use crate::domain::access::Role;
use crate::domain::ids::OrganizationId;
use crate::domain::mail::masked_address;
use crate::domain::money::Money;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::{WebhookKind, masked_url};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OrganizationSettings")]
pub(super) struct SettingsJson {
    /// The balance below which the owner is warned. Null for the default: the price list's, or what the agents cost in 72
    /// hours if that is more.
    low_credit_mark: Option<Money>,
    /// Where mails go first, shortened for everybody but owners. Null: to the address for invoices, or to the owners.
    billing_email: Option<String>,
    #[schemars(with = "TimeZone")]
    time_zone: String,
    /// Whether agents that were suspended because of debt start again when it is paid.
    automatic_resume: bool,
    /// Since when nobody of the organization could be mailed: every address is missing, refused or suppressed. Null if the
    /// last mail was handed over.
    undeliverable_since: Option<Timestamp>,
    /// The server to which events are sent beside mails. Null if there is none.
    webhook: Option<WebhookJson>,
    /// Slack's incoming webhook, to which events are sent beside mails. Null if there is none.
    slack: Option<WebhookJson>,
    /// The secret that signs the events for the webhook. Present only in the response to the request that named another
    /// URL than before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1))]
    webhook_secret: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OrganizationWebhook")]
struct WebhookJson {
    /// Only its beginning for everybody but owners, and always of Slack's.
    url: String,
    /// Since when every attempt has failed. Null if the last one succeeded, or if there was none.
    failing_since: Option<Timestamp>,
    /// Why the last attempt failed. Null if it did not.
    reason: Option<String>,
    /// Since when nothing is sent there. Null if it is on.
    switched_off_at: Option<Timestamp>,
}

impl WebhookJson {
    fn new(webhook: RegisteredWebhook, role: Role) -> Self {
        Self {
            url: match role {
                Role::Owner => webhook.url,
                Role::Member | Role::Viewer => masked_url(&webhook.url),
            },
            failing_since: webhook.failing_since.map(Timestamp),
            reason: webhook.reason,
            switched_off_at: webhook.switched_off_at.map(Timestamp),
        }
    }
}

impl SettingsJson {
    /// Reads what the answer says beside the settings themselves.
    pub(super) async fn read(
        conn: &mut Connection,
        organization_id: OrganizationId,
        settings: OrganizationSettings,
        role: Role,
    ) -> sqlx::Result<Self> {
        let since = undeliverable_since(conn, organization_id).await?;
        let webhooks = webhooks_of(conn, organization_id).await?;
        Ok(Self::new(settings, since, webhooks, role))
    }

    #[must_use]
    pub(super) fn with_webhook_secret(mut self, secret: Option<String>) -> Self {
        self.webhook_secret = secret;
        self
    }

    fn new(
        settings: OrganizationSettings,
        undeliverable_since: Option<DateTime<Utc>>,
        mut webhooks: Vec<RegisteredWebhook>,
        role: Role,
    ) -> Self {
        let shown = |address: String| match role {
            Role::Owner => address,
            Role::Member | Role::Viewer => masked_address(&address),
        };
        Self {
            low_credit_mark: settings.low_credit_mark,
            billing_email: settings.billing_email.map(shown),
            time_zone: settings.time_zone,
            automatic_resume: settings.automatic_resume,
            undeliverable_since: undeliverable_since.map(Timestamp),
            webhook: take(&mut webhooks, WebhookKind::Webhook, role),
            slack: take(&mut webhooks, WebhookKind::Slack, role),
            webhook_secret: None,
        }
    }
}

fn take(
    webhooks: &mut Vec<RegisteredWebhook>,
    kind: WebhookKind,
    role: Role,
) -> Option<WebhookJson> {
    let index = webhooks
        .iter()
        .position(|webhook| webhook.kind == kind.as_str())?;
    Some(WebhookJson::new(webhooks.swap_remove(index), role))
}
