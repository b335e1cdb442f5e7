//! `PATCH /api/v1/settings`: an owner changes the settings of the organization.

use lambda_http::{Body, Request, Response};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::view::SettingsJson;
use crate::api::body::{self, Fields};
use crate::api::deps::DatabaseDeps;
use crate::api::problem::Problem;
use crate::api::response::{self, Data};
use crate::api::route::{CallerKind, RequestBody, ResponseKind, Route, Tag};
use crate::api::schema::{MailAddress, Number, TimeZone};
use crate::app::settings::{Change, SettingsChange, settings_update};
use crate::db::mails::events::undeliverable_since;
use crate::domain::mail::is_mail_address;
use crate::domain::money::Money;

const MAX_MARK: i64 = 1_000_000;
const MAX_TIME_ZONE_CHARS: usize = 64;

pub const ROUTE: Route = Route {
    description: "What the body does not name stays as it is.",
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
}

const SETTINGS: [&str; 4] = [
    "lowCreditMark",
    "billingEmail",
    "timeZone",
    "automaticResume",
];

fn one_setting() -> Value {
    let required = SETTINGS.iter().map(|name| json!({"required": [name]}));
    required.collect()
}

/// # Errors
/// 400, 401, 403, 404, 415, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let change = read(body::object(&request)?)?;
    let settings =
        settings_update(&deps.pool, caller.organization_id, caller.user_id, change).await?;
    let since = undeliverable_since(&mut deps.pool.statements(), caller.organization_id).await?;
    response::ok(SettingsJson::new(settings, since, caller.role))
}

fn read(mut fields: Fields) -> Result<SettingsChange, Problem> {
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
