//! The settings on the wire.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::schema::TimeZone;
use crate::db::identity::settings::OrganizationSettings;
use crate::domain::access::Role;
use crate::domain::mail::masked_address;
use crate::domain::money::Money;
use crate::domain::timestamp::Timestamp;

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
}

impl SettingsJson {
    pub(super) fn new(
        settings: OrganizationSettings,
        undeliverable_since: Option<DateTime<Utc>>,
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
        }
    }
}
