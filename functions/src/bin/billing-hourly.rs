//! The hourly billing run, started by the schedule.

use shared::api::billing::hourly::handle;
use shared::api::deps::BillingDeps;
use shared::lambda::{self, Workload, config};

#[tokio::main]
async fn main() -> Result<(), lambda::Error> {
    lambda::init().await?;
    let deps = &BillingDeps {
        pool: lambda::database(Workload::BillingRun)?,
        prices: config::prices()?,
    };
    lambda::serve_events("billing-hourly", |event, invocation| {
        handle(deps, event, invocation)
    })
    .await
}
