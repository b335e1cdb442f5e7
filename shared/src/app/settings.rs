//! The settings of an organization, which its owner changes.

use crate::app::error::RequestError;
use crate::app::webhook::register::{OwnWebhook, own_webhook_set, slack_set};
use crate::db;
use crate::db::Database;
use crate::db::identity::settings::OrganizationSettings;
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::money::Money;
use crate::domain::redacted::debug_without_secrets;
use crate::encryption::EncryptionKeys;

/// What happens to a setting that need not have a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    #[default]
    Keep,
    Set(Option<T>),
}

impl<T> Change<T> {
    fn apply(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Set(after) => after,
        }
    }
}

/// What to change; `None` leaves a setting as it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SettingsChange {
    /// Without a value the default holds.
    pub low_credit_mark: Change<Money>,
    pub billing_email: Change<String>,
    pub time_zone: Option<String>,
    pub automatic_resume: Option<bool>,
    /// Naming the webhook that there is switches it on.
    pub webhook: Change<OwnWebhook>,
    /// Likewise: the URL of an incoming webhook of Slack.
    pub slack_url: Change<String>,
}

debug_without_secrets!(SettingsChange: low_credit_mark, time_zone, automatic_resume, webhook);

/// The settings after a change.
#[derive(Clone, PartialEq, Eq)]
pub struct UpdatedSettings {
    pub settings: OrganizationSettings,
    /// The key that signs the events for the webhook. Only the request that makes it gets it.
    pub webhook_secret: Option<String>,
}

debug_without_secrets!(UpdatedSettings: settings);

/// # Errors
/// [`RequestError::Invalid`] if there is no such time zone; [`RequestError::Encryption`] without a key for a webhook.
pub async fn settings_update(
    pool: &Database,
    keys: &EncryptionKeys,
    organization_id: OrganizationId,
    user_id: UserId,
    change: SettingsChange,
) -> Result<UpdatedSettings, RequestError> {
    let mut tx = pool.begin().await?;
    if let Some(name) = &change.time_zone
        && !db::identity::settings::time_zone_exists(&mut tx, name).await?
    {
        return Err(RequestError::Invalid {
            field: "timeZone",
            message: "must be the name of a time zone, such as Europe/Berlin",
        });
    }
    // One change after the other: each keeps what it does not name.
    let locked =
        db::identity::organizations::organizations_lock(&mut tx, &[organization_id]).await?;
    if locked.is_empty() {
        return Err(RequestError::ORGANIZATION_NOT_FOUND);
    }
    let before = db::identity::settings::settings_find(&mut tx, organization_id).await?;
    let after = OrganizationSettings {
        low_credit_mark: change.low_credit_mark.apply(before.low_credit_mark),
        billing_email: change.billing_email.apply(before.billing_email),
        time_zone: change.time_zone.unwrap_or(before.time_zone),
        automatic_resume: change.automatic_resume.unwrap_or(before.automatic_resume),
    };
    let now = db::clock::billing_clock(&mut tx).await?;
    db::identity::settings::settings_set(&mut tx, organization_id, &after, user_id, now).await?;
    let webhook_secret = match change.webhook {
        Change::Keep => None,
        Change::Set(own) => {
            own_webhook_set(&mut tx, keys, organization_id, own, user_id, now).await?
        }
    };
    if let Change::Set(url) = change.slack_url {
        slack_set(&mut tx, keys, organization_id, url, user_id, now).await?;
    }
    tx.commit().await?;
    Ok(UpdatedSettings {
        settings: after,
        webhook_secret,
    })
}
