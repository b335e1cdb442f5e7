//! `GET|POST /api/cron/milady-billing`: runs the billing of the current hour.

use std::time::Instant;

use lambda_http::{Body, Request, Response};

use super::result::{MAX_CONCURRENT_BATCHES, RunResult, record};
use crate::api::problem::Problem;
use crate::api::response::Data;
use crate::api::route::{CallerKind, ResponseKind, Route, Tag};
use crate::api::{auth, response};
use crate::app::billing::run::{MAX_CHARGES, RunError, RunRequest, billing_run};
use crate::db::Database;
use crate::domain::pricing::Prices;
use crate::domain::redacted::debug_without_secrets;
use crate::invocation::Invocation;

pub(super) const ROUTES: &[Route] = &[
    Route {
        operation: "billing-trigger-get",
        description: "An hour that was charged is not charged again. The status is 409 until an existing deployment \
                      has been adopted.",
        caller: CallerKind::Scheduler,
        responses: RESPONSES,
        refusals: &[409],
        ..Route::get("billing-trigger", PATH, Tag::Cron, SUMMARY)
    },
    Route {
        operation: "billing-trigger-post",
        description: "Does the same as GET, for schedulers that send POST.",
        caller: CallerKind::Scheduler,
        responses: RESPONSES,
        refusals: &[409],
        ..Route::post("billing-trigger", PATH, Tag::Cron, SUMMARY)
    },
];

const PATH: &str = "/api/cron/milady-billing";
const SUMMARY: &str = "Run the billing of the current hour";
const RESPONSES: &[ResponseKind] = &[ResponseKind::json::<Data<RunResult>>(
    200,
    "The result of the run.",
)];

pub struct Deps {
    pub pool: Database,
    pub prices: Prices,
    /// The caller's bearer token. `None` if nobody may call.
    pub cron_secret: Option<String>,
}

debug_without_secrets!(Deps: pool, prices);

/// A run that did not finish in time, or in which organizations failed, responds `complete: false`; the next run charges
/// the rest.
///
/// # Errors
/// 401 without the secret, 409 before adoption, 503 if the database cannot be reached.
pub async fn handle(
    deps: &Deps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    auth::check_cron_secret(deps.cron_secret.as_deref(), &request)?;
    let started = Instant::now();
    let request = RunRequest {
        period_end: None,
        source: "trigger",
        deadline: invocation.deadline,
        concurrency: MAX_CONCURRENT_BATCHES,
        max_charges: MAX_CHARGES,
    };
    let report = match billing_run(&deps.pool, &deps.prices, &request).await {
        Ok(report) => report,
        Err(RunError::Incomplete(report)) => *report,
        Err(error) => return Err(error.into()),
    };
    let duration = started.elapsed();
    record(&report, duration);
    response::ok(RunResult::new(&report, duration))
}
