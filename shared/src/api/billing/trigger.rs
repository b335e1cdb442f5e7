//! `GET|POST /api/cron/milady-billing`: the tick of the current hour, on request.

use std::time::Instant;

use lambda_http::{Body, Request, Response};
use serde_json::json;
use sqlx::PgPool;

use super::TickAnswer;
use crate::api::problem::Problem;
use crate::api::{auth, json};
use crate::app::billing::tick::{Tick, TickError, billing_tick};
use crate::domain::pricing::Prices;
use crate::lambda::{Invocation, metrics};

/// What the route needs.
#[derive(Debug)]
pub struct Deps {
    /// Four connections.
    pub pool: PgPool,
    /// The price list.
    pub prices: Prices,
    /// What the caller must know; none = nobody may call.
    pub cron_secret: Option<String>,
}

/// Runs the tick. One that was not finished in time answers `complete: false`; what is left is due at
/// the next one.
///
/// # Errors
/// 401 without the secret, 409 before adoption, 503 when the database is away.
pub async fn handle(
    deps: &Deps,
    request: Request,
    invocation: Invocation,
) -> Result<Response<Body>, Problem> {
    auth::cron(deps.cron_secret.as_deref(), &request)?;
    let started = Instant::now();
    let tick = Tick {
        period_end: None,
        source: "trigger",
        deadline: invocation.deadline,
        concurrency: super::PAGES_AT_A_TIME,
    };
    let report = match billing_tick(&deps.pool, &deps.prices, &tick).await {
        Ok(report) => report,
        Err(TickError::Incomplete(report)) => *report,
        Err(failure) => return Err(failure.into()),
    };
    if report.complete {
        metrics::complete_tick(report.finished_at);
    }
    let data = TickAnswer::new(&report, started.elapsed());
    json::ok(&json!({"success": true, "data": data}))
}
