//! `GET /api/v1/credits/series`: the balance over time.

use chrono::TimeDelta;
use lambda_http::{Body, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::csv::Columns;
use crate::api::deps::DatabaseDeps;
use crate::api::filter::{FROM, TO, recent_period};
use crate::api::list;
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{Parameter, ResponseKind, Route, Tag};
use crate::api::schema::StepLengthText;
use crate::api::table;
use crate::db::billing::history::series::{balance_by_day, balance_by_hour};
use crate::domain::history::{SeriesStep, StepLength, series};
use crate::domain::money::Money;
use crate::domain::timestamp::Timestamp;

pub const ROUTE: Route = Route {
    description: "One row per hour or day in UTC, up to the present one, and from the first whose balance is known. \
        `from` is rounded down to a whole step, `to` up. The period is at most 31 days for hours and 400 days for days; \
        without `from` it is 30 days long, without `to` it ends now. Hours are known for 25 months, days for ever. A \
        change by another application shows at the latest when something is charged next.",
    parameters: &[
        Parameter::query::<StepLengthText>("step", "The length of a step.").example(r#""day""#),
        FROM,
        TO,
    ],
    responses: &[ResponseKind::json::<Data<SeriesRows>>(200, "The steps.")
        .with_etag()
        .or_csv()],
    refusals: &[400, 404],
    ..Route::get(
        "credit-series",
        "/api/v1/credits/series",
        Tag::Credits,
        "Get the balance over time",
    )
};

const MAX_DAYS_BY_HOUR: i64 = 31;
const MAX_DAYS: i64 = 400;
/// The hours of 31 days, which may begin within an hour.
const MAX_STEPS: i64 = 745;

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct SeriesRows(#[schemars(length(max = MAX_STEPS))] Vec<SeriesStepJson>);

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SeriesStep")]
struct SeriesStepJson {
    /// The start of the step.
    at: Timestamp,
    /// At the end of the step; of the present one, now.
    balance: Money,
    /// For agents.
    charged: Money,
    /// What came in otherwise; negative if other applications took more. The balance is that of the step before, less
    /// `charged`, plus `added`.
    added: Money,
}

impl Columns for SeriesStepJson {
    const COLUMNS: &'static [&'static str] = &["at", "balance", "charged", "added"];
}

impl From<SeriesStep> for SeriesStepJson {
    fn from(step: SeriesStep) -> Self {
        Self {
            at: Timestamp(step.at),
            balance: step.balance,
            charged: step.charged,
            added: step.added,
        }
    }
}

/// # Errors
/// 400 if a parameter is not valid, 401, 403, 404, 503.
pub async fn handle(deps: &DatabaseDeps, request: Request) -> Result<Response<Body>, Problem> {
    let caller = deps.auth.caller(&deps.pool, &request, ROUTE.caller).await?;
    let length = length(&request)?;
    let period = recent_period(&request, &deps.pool).await?;
    let (max_days, message) = match length {
        StepLength::Hour => (
            MAX_DAYS_BY_HOUR,
            "must be at most 31 days after `from` if a step is an hour",
        ),
        StepLength::Day => (MAX_DAYS, "must be at most 400 days after `from`"),
    };
    if period.length() > TimeDelta::days(max_days) {
        return Err(Problem::field("to", message));
    }
    let period = length.around(period);
    let history = match length {
        StepLength::Hour => {
            let mut conn = deps.pool.statements_planned_for_values();
            balance_by_hour(&mut conn, caller.organization_id, period).await?
        }
        StepLength::Day => {
            let mut conn = deps.pool.statements();
            balance_by_day(&mut conn, caller.organization_id, period).await?
        }
    };
    let history = history.ok_or_else(|| Problem::not_found("Organization not found"))?;
    let steps = series(&history, period, length);
    let rows = steps.into_iter().map(SeriesStepJson::from).collect();
    table::respond(&request, rows, |rows| Data::new(SeriesRows(rows)))
}

fn length(request: &Request) -> Result<StepLength, Problem> {
    let Some(word) = list::parameter(request, "step") else {
        return Ok(StepLength::Day);
    };
    let length = StepLength::parse(&word);
    length.ok_or_else(|| Problem::field("step", "must be hour or day"))
}
