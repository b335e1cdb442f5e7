//! Sending one body to a webhook. Owns: where the address and the key come from, by the webhook's kind.

use chrono::{DateTime, Utc};

use super::WebhookDeps;
use crate::app::stored_secrets::organization_webhook_location;
use crate::db::webhooks::registered::WebhookTarget;
use crate::domain::webhook::{WebhookKind, WebhookRef};
use crate::failure::{Failure, with_reason};
use crate::webhook_client::{self, CallErrorReason, Message};

pub(super) type SendError = Failure<SendErrorReason>;

/// Why an event did not arrive. The texts are shown to the organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SendErrorReason {
    #[error("the stored secret cannot be decrypted")]
    Secret,
    #[error("this version does not know the event")]
    UnknownEvent,
    #[error(transparent)]
    Call(CallErrorReason),
}

impl SendErrorReason {
    /// What the receiver answered, if it did.
    pub(super) fn status(self) -> Option<u16> {
        match self {
            Self::Call(CallErrorReason::Status(status)) => Some(status),
            _ => None,
        }
    }
}

/// Returns the status of the answer, which is one of success.
pub(super) async fn send(
    deps: WebhookDeps<'_>,
    webhook: WebhookRef,
    target: &WebhookTarget,
    body: &str,
    at: DateTime<Utc>,
) -> Result<u16, SendError> {
    let location = organization_webhook_location(webhook);
    let secret = deps.keys.decrypt_text(&target.secret, &location);
    let secret = secret.map_err(with_reason(SendErrorReason::Secret))?;
    let (url, secret) = match webhook.kind {
        WebhookKind::Webhook => (target.url.as_str(), Some(secret.as_str())),
        WebhookKind::Slack => (secret.as_str(), None),
    };
    let message = Message {
        url,
        secret,
        body,
        at,
    };
    let called = webhook_client::call(deps.address_policy, message).await;
    called.map_err(|error| error.map_reason(SendErrorReason::Call))
}
