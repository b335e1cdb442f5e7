//! `PATCH /api/v1/settings`: an owner changes the settings of the organization.

use lambda_http::{Body, Request, Response};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde_json::{Value, json};
use url::Url;

use super::view::SettingsJson;
use crate::api::body::{self, Fields};
use crate::api::deps::WebhookDeps;
use crate::api::problem::{Problem, log_internal};
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::{MailAddress, Number, SlackUrl, TimeZone, WebhookUrl};
use crate::app::settings::{Change, SettingsChange, settings_update};
use crate::app::webhook::register::OwnWebhook;
use crate::domain::address::AddressPolicy;
use crate::domain::mail::is_mail_address;
use crate::domain::money::Money;
use crate::domain::webhook;
use crate::random::random_bytes;

const MAX_MARK: i64 = 1_000_000;
const MAX_TIME_ZONE_CHARS: usize = 64;

pub const ROUTE: Route = Route {
    description: "What the body does not name stays as it is. The events that lead to mails are also sent to `webhookUrl` and \
                  to `slackUrl`. The body for the webhook is `{id, event, organizationId, occurredAt, data}`, signed in \
                  `X-Milady-Signature` as for jobs, with the `webhookSecret` of the response. An event may arrive more \
                  than once, always with the same `id`. Its receiver answers with a status of success within ten seconds. \
                  After three days of failures, or a 410, a webhook is switched off; naming its URL again switches it on.",
    caller: CallerKind::Owner,
    body: Some(RequestBody::required::<SettingsRequest>(
        r#"{"lowCreditMark": 20, "billingEmail": "billing@example.com", "timeZone": "Europe/Berlin"}"#,
    )),
    responses: &[ResponseKind::json::<Data<SettingsJson>>(
        200,
        "The settings from now on.",
    )],
    refusals: &[404],
    ..Route::patch(
        "settings-update",
        "/api/v1/settings",
        Tag::Credits,
        "Change the settings of the organization",
    )
};

/// At least one of the settings. One that is null is not changed, except where null has a meaning.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", extend("anyOf" = one_setting()))]
#[expect(dead_code, reason = "describes the body, which `Fields` reads")]
struct SettingsRequest {
    /// US dollars, with at most six decimals. Null brings back the default.
    #[schemars(extend("minimum" = 0, "maximum" = MAX_MARK))]
    low_credit_mark: Option<Number>,
    /// Null removes it.
    billing_email: Option<MailAddress>,
    /// A name of the IANA time zone database.
    time_zone: Option<TimeZone>,
    automatic_resume: Option<bool>,
    /// The server to which events are sent. Null removes it. Another URL than before makes a new secret.
    webhook_url: Option<WebhookUrl>,
    /// Slack's incoming webhook, to which events are sent. Null removes it. No response shows it.
    slack_url: Option<SlackUrl>,
}

const SETTINGS: [&str; 6] = [
    "lowCreditMark",
    "billingEmail",
    "timeZone",
    "automaticResume",
    "webhookUrl",
    "slackUrl",
];

fn one_setting() -> Value {
    let required = SETTINGS.iter().map(|name| json!({"required": [name]}));
    required.collect()
}

/// # Errors
/// 400, 401, 403, 404, 415, 503.
pub async fn handle(deps: &WebhookDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let secret: [u8; 32] = random_bytes().map_err(log_internal("webhook secret not made"))?;
    let new_secret = hex::encode(secret);
    let change = read(body::object(&request)?, deps.address_policy, new_secret)?;
    let organization_id = caller.organization_id;
    let updated = settings_update(
        &deps.pool,
        &deps.keys,
        organization_id,
        caller.user_id,
        change,
    )
    .await?;
    let mut conn = deps.pool.statements();
    let settings =
        SettingsJson::read(&mut conn, organization_id, updated.settings, caller.role).await?;
    response::ok(settings.with_webhook_secret(updated.webhook_secret))
}

/// `new_secret` is for a webhook that has none.
fn read(
    mut fields: Fields,
    address_policy: AddressPolicy,
    new_secret: String,
) -> Result<SettingsChange, Problem> {
    let names_null = SETTINGS.iter().copied().any(|name| fields.is_null(name));
    let change = SettingsChange {
        low_credit_mark: nullable(&mut fields, "lowCreditMark", |fields| {
            let mark = fields.optional_decimal("lowCreditMark")?;
            if (Decimal::ZERO..=Decimal::from(MAX_MARK)).contains(&mark)
                && mark.normalize().scale() <= Money::SCALE
            {
                return Some(Money::rounded(mark));
            }
            let rule = "must be 0 to 1000000, with at most six decimals";
            fields.refuse("lowCreditMark", rule);
            None
        }),
        billing_email: nullable(&mut fields, "billingEmail", |fields| {
            fields.optional_text("billingEmail", "must be a mail address", is_mail_address)
        }),
        time_zone: fields.optional_text(
            "timeZone",
            "must be the name of a time zone, such as Europe/Berlin",
            |name| !name.contains('\0') && name.chars().count() <= MAX_TIME_ZONE_CHARS,
        ),
        automatic_resume: fields.optional_flag("automaticResume"),
        webhook: nullable(&mut fields, "webhookUrl", |fields| {
            let url = optional_url(fields, "webhookUrl", |text| {
                webhook::parse(text, address_policy)
            })?;
            Some(OwnWebhook { url, new_secret })
        }),
        slack_url: nullable(&mut fields, "slackUrl", |fields| {
            optional_url(fields, "slackUrl", |text| {
                webhook::parse_slack(text, address_policy)
            })
        }),
    };
    fields.finish()?;
    if change == SettingsChange::default() && !names_null {
        return Err(Problem::field("body", "must name at least one setting"));
    }
    Ok(change)
}

/// A field that may be null. One that was refused is kept.
fn nullable<T>(
    fields: &mut Fields,
    name: &'static str,
    read: impl FnOnce(&mut Fields) -> Option<T>,
) -> Change<T> {
    if fields.is_null(name) {
        return Change::Set(None);
    }
    match read(fields) {
        Some(value) => Change::Set(Some(value)),
        None => Change::Keep,
    }
}

fn optional_url(
    fields: &mut Fields,
    name: &'static str,
    parse: impl Fn(&str) -> Result<Url, &'static str>,
) -> Option<String> {
    let text = fields.optional_text(name, "must be a URL", |_| true)?;
    match parse(&text) {
        Ok(url) => Some(url.into()),
        Err(rule) => {
            fields.refuse(name, rule);
            None
        }
    }
}
