//! `GET|POST /api/cron/milady-billing`: runs the billing of the current hour.

use shared::api::billing::trigger::{Deps, handle};
use shared::lambda::{self, Workload, config};

#[tokio::main]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &Deps {
        pool: lambda::database(Workload::BillingRun)?,
        prices: config::prices()?,
        cron_secret: config::cron_secret()?,
    };
    lambda::serve_http("billing-trigger", |request, invocation| {
        handle(deps, request, invocation)
    })
    .await
}
