//! Registering an organization's webhooks, in the transaction that changes its settings. Owns: that secrets are encrypted,
//! and when a webhook gets a new one. Each call switches the webhook on.

use chrono::{DateTime, Utc};

use crate::app::error::RequestError;
use crate::app::stored_secrets::organization_webhook_location;
use crate::db;
use crate::db::Connection;
use crate::db::webhooks::registered::WebhookTarget;
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::redacted::debug_without_secrets;
use crate::domain::webhook::{WebhookKind, WebhookRef, masked_url};
use crate::encryption::EncryptionKeys;

/// A webhook of the organization's own that an owner has named.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnWebhook {
    /// A URL that the webhook policy allows.
    pub url: String,
    /// The key that signs if the URL is another one than before.
    pub new_secret: String,
}

debug_without_secrets!(OwnWebhook:);

/// Registers the webhook of an organization's own, or removes it. Returns the key that signs if it is new.
pub(crate) async fn own_webhook_set(
    conn: &mut Connection,
    keys: &EncryptionKeys,
    organization_id: OrganizationId,
    own: Option<OwnWebhook>,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<Option<String>, RequestError> {
    let webhook = WebhookRef {
        organization_id,
        kind: WebhookKind::Webhook,
    };
    let Some(OwnWebhook { url, new_secret }) = own else {
        db::webhooks::registered::webhook_remove(conn, webhook).await?;
        return Ok(None);
    };
    let before = db::webhooks::registered::webhook_find(conn, webhook).await?;
    let (secret, shown) = if let Some(same) = before.filter(|before| before.url == url) {
        (same.secret, None)
    } else {
        let location = organization_webhook_location(webhook);
        let secret = keys.encrypt_to_text(&new_secret, &location)?;
        (secret, Some(new_secret))
    };
    let target = WebhookTarget { url, secret };
    db::webhooks::registered::webhook_set(conn, webhook, &target, user_id, now).await?;
    Ok(shown)
}

/// Registers Slack's webhook of an organization, or removes it. The URL is a secret as a whole.
pub(crate) async fn slack_set(
    conn: &mut Connection,
    keys: &EncryptionKeys,
    organization_id: OrganizationId,
    url: Option<String>,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<(), RequestError> {
    let webhook = WebhookRef {
        organization_id,
        kind: WebhookKind::Slack,
    };
    let Some(url) = url else {
        db::webhooks::registered::webhook_remove(conn, webhook).await?;
        return Ok(());
    };
    let target = WebhookTarget {
        url: masked_url(&url),
        secret: keys.encrypt_to_text(&url, &organization_webhook_location(webhook))?,
    };
    db::webhooks::registered::webhook_set(conn, webhook, &target, user_id, now).await?;
    Ok(())
}
